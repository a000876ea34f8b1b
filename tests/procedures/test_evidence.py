"""The evidence of a release: in every store that takes it, once, and of a release that is over."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.commands import run
from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.steps.evidence import changes_key, find, keep_changes, keep_evidence, key_of, page_key, put
from onlyvips.wiring import evidence as wired
from tests.core.decisions import PLAN, RECORD
from tests.procedures.theatre_blue_green import GOOD, Colours
from tests.simulators.clock import SimClock
from tests.simulators.objects import SimulatedStore

RECORD = replace(RECORD, phase="evidence", result="promoted")


def without_key() -> Any:
    raise Refused("env:KEY is not set.")


def test_it_says_who_took_it_and_who_did_not(tmp_path: Path) -> None:
    store = DirectoryStore("near", tmp_path)
    kept = keep_evidence({"near": lambda: store, "far": without_key}, SimClock(), PLAN, RECORD)
    assert kept.stores == ("near",)
    assert kept.observed == f"evidence {key_of(RECORD)} in near; not kept by far: env:KEY is not set."
    release = json.loads(b"".join(store.read(kept.key)))["release"]
    assert (release["open"], release["phase"], release["evidence"]) == (False, "closed", kept.key)


def test_what_another_attempt_wrote_stays_and_counts(tmp_path: Path) -> None:
    store = DirectoryStore("near", tmp_path)
    first = keep_evidence({"near": lambda: store}, SimClock(), PLAN, RECORD)
    before = b"".join(store.read(first.key))
    assert keep_evidence({"near": lambda: store}, SimClock(), PLAN, replace(RECORD, reason="else")) == first
    assert b"".join(store.read(first.key)) == before


def test_when_no_store_takes_it_the_release_stays_open() -> None:
    with pytest.raises(Transient, match="No store took the evidence.*far: env:KEY is not set.*reconcile"):
        keep_evidence({"far": without_key}, SimClock(), PLAN, RECORD)


def draw(document: Any) -> str:
    return f"page of {document['release']['id']}, written {document['written']}"


def test_the_page_is_kept_beside_the_document_of_the_document_that_is_kept(tmp_path: Path) -> None:
    store, clock = DirectoryStore("near", tmp_path), SimClock()
    keep_evidence({"near": lambda: store}, clock, PLAN, RECORD)
    written = json.loads(b"".join(store.read(key_of(RECORD))))["written"]
    clock.sleep(60.0)
    kept = keep_evidence({"near": lambda: store, "far": without_key}, clock, PLAN, RECORD, draw)
    assert kept.pages == ("near",)
    assert b"".join(store.read(page_key(kept.key))).decode() == f"page of r1, written {written}"
    assert keep_evidence({"near": lambda: store}, clock, PLAN, RECORD, lambda _: "another").pages == ("near",)
    assert b"".join(store.read(page_key(kept.key))).startswith(b"page of r1")


def test_a_page_that_cannot_be_made_keeps_nobody_from_the_evidence(tmp_path: Path) -> None:
    def broken(_: Any) -> str:
        raise ZeroDivisionError("no looks")

    store = DirectoryStore("near", tmp_path)
    kept = keep_evidence({"near": lambda: store}, SimClock(), PLAN, RECORD, broken)
    assert (kept.stores, kept.pages) == (("near",), ())
    assert "page: it could not be made (ZeroDivisionError: no looks)" in kept.observed


def test_it_is_read_back_from_whichever_store_has_it() -> None:
    empty, full = SimulatedStore("empty"), SimulatedStore("full")
    full.put_new("key", b"kept")
    assert find({"away": without_key, "empty": lambda: empty, "full": lambda: full}, "key") == b"kept"
    assert find({"empty": lambda: empty}, "key") is None
    with pytest.raises(Transient, match="not all could be asked: away: env:KEY is not set"):
        find({"away": without_key, "empty": lambda: empty}, "key")


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The evidence of one release, in the second of two stores."""
    empty, full = SimulatedStore("empty"), SimulatedStore("full")
    keep_evidence({"full": lambda: full}, SimClock(), PLAN, RECORD)
    found = {"empty": lambda: empty, "full": lambda: full}
    monkeypatch.setattr(wired, "openers", lambda _: found)
    monkeypatch.setattr(wired.environments, "load", lambda _: None)
    return found


def test_the_command_writes_the_page_that_was_kept_or_else_one_of_the_document(
    stores: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["release", "evidence", "-e", "test", "--release", "r1"]
    assert run([*asked, "--html", str(tmp_path / "new.html")]) == 0
    assert "made anew" in capsys.readouterr().out
    assert "<h1>Release r1</h1>" in (tmp_path / "new.html").read_text()
    stores["full"]().put_new(page_key(key_of(RECORD)), b"the page")
    assert run([*asked, "--html", str(tmp_path / "kept.html")]) == 0
    assert (tmp_path / "kept.html").read_text() == "the page"
    assert run([*asked, "--json"]) == 0
    assert '"id": "r1"' in capsys.readouterr().out


def test_the_command_refuses_what_it_cannot_find_or_would_write_over(
    stores: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.html").write_text("mine")
    ask = ["release", "evidence", "-e", "test"]
    assert run([*ask, "--release", "r1", "--html", str(tmp_path / "there.html")]) == 2
    assert run([*ask, "--release", "r2"]) == 2
    assert run(ask) == 2
    told = capsys.readouterr().err
    assert "there already and was left alone" in told and "No store has test/evidence/release/r2.json" in told
    assert (tmp_path / "there.html").read_text() == "mine"


def test_what_a_promoted_release_changed_is_kept_beside_its_evidence_and_told(tmp_path: Path) -> None:
    store = DirectoryStore("near", tmp_path)
    kept = keep_evidence({"near": lambda: store}, SimClock(), PLAN, RECORD)
    changed = keep_changes({"near": lambda: store}, kept, lambda: b"kind: Deployment")
    assert b"".join(store.read(changes_key(kept.key))) == b"kind: Deployment"
    assert f"; commit {changes_key(kept.key)}" in changed.observed


def test_changes_that_cannot_be_told_keep_nobody_from_the_evidence(tmp_path: Path) -> None:
    def gone() -> bytes:
        raise Permanent("Deployment backend is gone.")

    store = DirectoryStore("near", tmp_path)
    kept = keep_evidence({"near": lambda: store}, SimClock(), PLAN, RECORD)
    changed = keep_changes({"near": lambda: store}, kept, gone)
    assert "not kept by changes to commit: Deployment backend is gone." in changed.observed
    changed = keep_changes({"near": lambda: store}, kept, lambda: {}["spec"])
    assert "not kept by changes to commit: KeyError: 'spec'" in changed.observed


def test_of_blue_green_the_colour_that_users_are_on_by_now_is_to_be_committed() -> None:
    theatre = Colours()
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("promoted")
    told = wired._changes(theatre.cluster, theatre.plan, record).decode()
    assert "name: panel-green" in told and GOOD in told


def test_stores_are_written_to_side_by_side_and_told_in_their_order() -> None:
    both = threading.Barrier(2)

    def waits(store: Any) -> Any:
        both.wait(timeout=60)
        return store

    far, near = SimulatedStore("far"), SimulatedStore("near")
    taken, refusals = put({"far": lambda: waits(far), "near": lambda: waits(near)}, "k", b"x")
    assert (taken, refusals) == (["far", "near"], [])
