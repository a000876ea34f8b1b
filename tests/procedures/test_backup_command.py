"""``onlyvips backup …``: exit codes, what it prints, and what it asks of the library."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from flows.commands import run, running
from onlyvips import environment as environments
from onlyvips.core.audit import Report, audit
from onlyvips.core.catalog import Shelf, read_catalog
from onlyvips.core.retention import Decision
from onlyvips.errors import Driven, Occupied, OnlyVipsError, Permanent, Refused, Transient
from onlyvips.steps.backup import Taken
from onlyvips.steps.copies import Outcome
from onlyvips.steps.prune_report import PruneReport, Result
from onlyvips.steps.repair import Repaired
from onlyvips.steps.survey import Survey
from onlyvips.wiring import backups
from onlyvips.wiring import prune as pruning
from onlyvips.wiring.backups import Catalog
from tests.core.test_audit import NOW, PLAN, everywhere, locked
from tests.core.test_backup_report import READ
from tests.core.test_catalog import MANIFEST, shelf

WHOLE = Taken(MANIFEST, (Outcome("a", True), Outcome("b", True)))
DEGRADED = Taken(MANIFEST, (Outcome("a", True), Outcome("b", False, "b: it was full.")))
HOLDS, FAILS = audit(everywhere(), {}, PLAN, NOW, locked(everywhere())), audit([], {}, PLAN, NOW)
TAKING = backups.taking


class Here:
    """``backups.taking`` of a backup that is already there."""

    def __enter__(self) -> str:
        return "it"

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def lab(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = environments.load("lab")
    monkeypatch.setattr(environments, "load", lambda _: loaded)
    monkeypatch.setattr(running, "answering_server", lambda _: "")
    monkeypatch.setattr(backups, "taking", lambda *_: Here())
    monkeypatch.setattr(backups, "measure", lambda _: "")


def catalog(monkeypatch: pytest.MonkeyPatch, *shelves: Shelf, **away: str) -> None:
    monkeypatch.setattr(backups, "catalog", lambda _: Catalog(tuple(read_catalog(shelves)), away))


@pytest.mark.parametrize(("taken", "code"), [(WHOLE, 0), (DEGRADED, 1)], ids=["whole", "degraded"])
def test_run_exits_0_only_when_every_destination_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, taken: Taken, code: int
) -> None:
    monkeypatch.setattr(backups, "take_all", lambda _: taken)
    assert run(["backup", "run", "-e", "lab", "--kind", "mongodb"]) == code
    out = capsys.readouterr().out
    assert "in this process" in out and ("It is degraded: b: b: it was full." in out) == bool(code)
    assert run(["backup", "run", "-e", "lab", "--kind", "mongodb", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["ok"] is (code == 0)


def test_metrics_that_cannot_be_written_cost_no_backup(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(backups, "take_all", lambda _: WHOLE)
    monkeypatch.setattr(backups, "measure", lambda _: "They were not written.")
    assert run(["backup", "run", "-e", "lab", "--kind", "mongodb"]) == 0
    assert "They were not written." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "told"), [("mongdb", "did you mean `mongodb`"), ("cache", "has nothing of kind `cache` to back up")]
)
def test_an_unknown_kind_is_refused_before_anything_is_read(capsys: Any, kind: str, told: str) -> None:
    assert run(["backup", "run", "-e", "lab", "--kind", kind]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("state", ["Completed", "Crashed"])
def test_where_a_server_answers_the_run_is_made_there_and_followed(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, state: str
) -> None:
    ended = SimpleNamespace(is_completed=lambda: state == "Completed", name=state, message="killed")
    asked: list[Any] = []
    monkeypatch.setattr(running, "answering_server", lambda _: "http://127.0.0.1:1/api")
    monkeypatch.setattr(
        running,
        "begin",
        lambda api, loaded, name, given: asked.append(given) or SimpleNamespace(id="7", name="calm-owl"),
    )
    monkeypatch.setattr(running, "address_of", lambda *_: "http://there/7")
    monkeypatch.setattr(running, "follow", lambda *_, **__: ended)
    monkeypatch.setattr(backups, "of_run", lambda *_: None)
    good = state == "Completed"
    assert run(["backup", "run", "-e", "lab", "--kind", "mongodb"]) == (0 if good else 1)
    told = capsys.readouterr()
    assert "Run calm-owl: http://there/7" in told.out and ("Crashed: killed" in told.err) != good
    assert (asked[0]["environment"], asked[0]["kind"]) == ("lab", "mongodb")
    run(["backup", "run", "-e", "lab", "--kind", "mongodb", "--json"])
    assert json.loads(capsys.readouterr().out)["state"] == state


def test_list_shows_every_backup_and_fails_where_a_destination_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    catalog(monkeypatch, shelf("a"), shelf("b", lacks=("objects/one",)))
    assert run(["backup", "list", "-e", "lab"]) == 0
    assert "1 (a), not b" in capsys.readouterr().out
    catalog(monkeypatch, shelf("a"), Shelf("b", away="?"), b="nothing answers")
    assert run(["backup", "list", "-e", "lab"]) == 1
    assert "b could not be read: nothing answers" in capsys.readouterr().err
    catalog(monkeypatch)
    assert run(["backup", "list", "-e", "lab", "--kind", "mongodb"]) == 0
    assert "has no backup of kind mongodb yet" in capsys.readouterr().out


def test_show_tells_what_a_backup_holds_and_what_is_wrong_with_its_copies(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    catalog(monkeypatch, shelf("a"), shelf("b", lacks=("objects/one",)))
    assert run(["backup", "show", MANIFEST.id, "-e", "lab"]) == 0
    out = capsys.readouterr().out
    assert "objects/two: 5 B stored" in out and "b: lacks objects/one" in out and "a: complete" in out
    assert run(["backup", "show", MANIFEST.id, "-e", "lab", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["id"] == MANIFEST.id


@pytest.mark.parametrize("id", ["2025", "20260801"])
def test_a_backup_that_is_not_there_or_not_the_only_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, id: str
) -> None:
    catalog(monkeypatch, shelf("a"), shelf("a", replace(MANIFEST, id="20260801T130000Z-0badcafe")))
    assert run(["backup", "show", id, "-e", "lab"]) == 2
    assert ("has no backup" if id == "2025" else "is more than one backup") in capsys.readouterr().err


def test_verify_exits_1_when_a_copy_is_not_as_it_was_written(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    asked: list[Any] = []
    found = [READ]
    monkeypatch.setattr(backups, "verify_backups", lambda *given: asked.append(given) or found)
    assert run(["backup", "verify", "x", "-e", "lab", "--share", "0.5", "--decrypt", "--unread-hours", "2"]) == 0
    assert asked[0][:3] == ("lab", "x", backups.Asked(0.5, True, 7200.0))
    found[0] = replace(READ, away="it broke off")
    assert run(["backup", "verify", "-e", "lab", "--json"]) == 1
    assert json.loads(capsys.readouterr().out.partition("\n")[2])[0]["away"] == "it broke off"
    found.clear()
    assert run(["backup", "verify", "-e", "lab"]) == 0
    assert "No copy was due" in capsys.readouterr().out


@pytest.mark.parametrize("share", ["0", "1.5", "-1"])
def test_a_share_that_is_none_is_refused(capsys: Any, share: str) -> None:
    assert run(["backup", "verify", "-e", "lab", f"--share={share}"]) == 2
    assert "must be above 0 and at most 1" in capsys.readouterr().err


@pytest.mark.parametrize(("report", "code"), [(HOLDS, 0), (FAILS, 1)], ids=["holds", "fails"])
def test_audit_exits_0_only_when_everything_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, report: Report, code: int
) -> None:
    monkeypatch.setattr(backups, "audit_backups", lambda *_: report)
    assert run(["backup", "audit", "-e", "lab"]) == code
    assert ("holds, at" in capsys.readouterr().out) != bool(code)
    assert run(["backup", "audit", "-e", "lab", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["holds"] is (code == 0)


def test_repair_exits_1_while_a_destination_is_no_copy(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    done = [Repaired("a", ()), Repaired("b", ("objects/one",), "it is full.")]
    monkeypatch.setattr(backups, "repair_backup", lambda *_: done)
    assert run(["backup", "repair", "x", "-e", "lab"]) == 1
    out = capsys.readouterr().out
    assert "a: nothing was to be done; it is complete." in out
    assert "b: wrote 1 (objects/one); it is still no copy: it is full." in out
    done.pop()
    assert run(["backup", "repair", "x", "-e", "lab", "--json"]) == 0


@pytest.mark.parametrize(("why", "code"), [("", 0), ("Ada writes them.", 1)], ids=["done", "somebody writes"])
def test_prune_shows_every_reason_and_exits_0_only_when_all_was_done(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, why: str, code: int
) -> None:
    asked: list[Any] = []
    (one,) = read_catalog([shelf("a")])
    found = Survey("lab", "mongodb", 0.0, (Decision(one, "remove", ("it is old", "so it is")),), (), (), {})
    results = (Result("mongodb", found), *([Result("secrets", why=why)] if why else []))
    report = PruneReport("lab", True, results, ("directory: it cannot promise.",))
    monkeypatch.setattr(pruning, "prune_backups", lambda *given, **more: asked.append((given, more)) or report)
    assert run(["backup", "prune", "-e", "lab", "--kind", "mongodb", "--dry-run"]) == code
    assert (asked[0][0][:2], asked[0][1]) == (("lab", "mongodb"), {"dry": True})
    told = capsys.readouterr()
    assert "remove" in told.out and "it is old; so it is" in told.out and "it cannot promise" in told.out
    assert "1 backups would go, 0 stay" in told.out and (why in told.err)
    assert run(["backup", "prune", "-e", "lab", "--json"]) == code
    assert asked[1][0][1] == "" and asked[1][1] == {"dry": False}
    assert json.loads(capsys.readouterr().out)["kinds"][0]["backups"][0]["what"] == "remove"


def test_a_refusal_is_json_too(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def refused(*_: object) -> None:
        raise Refused("There is none.")

    monkeypatch.setattr(backups, "repair_backup", refused)
    assert run(["backup", "repair", "x", "-e", "lab", "--json"]) == 2
    assert json.loads(capsys.readouterr().out) == {"error": "There is none.", "exit": 2}


# --- wiring


def test_a_release_waits_for_a_backup_that_somebody_else_is_taking(monkeypatch: pytest.MonkeyPatch) -> None:
    def driven(*_: object) -> None:
        raise Driven("Ada writes the mongodb backups of lab and is alive: nothing was changed.")

    monkeypatch.setattr(backups, "_session", driven)
    with pytest.raises(Occupied, match="Ada writes the mongodb backups of lab and is alive.*run again then"):
        backups.take_one(environments.load("lab"), "mongodb", "release r1", lambda size, documents: None)


@pytest.mark.parametrize("error", [Permanent("There is no bucket."), Transient("Nothing answers.")])
def test_a_lease_that_cannot_be_read_is_refused_before_anything_changes(
    monkeypatch: pytest.MonkeyPatch, error: OnlyVipsError
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(backups, "lease_cell", lambda *_: SimpleNamespace(read=fails))
    with pytest.raises(Refused, match=f"The lease of mongodb backups cannot be read: {error} Nothing was changed."):
        backups.check_lease(environments.load("lab"), "mongodb")


@pytest.mark.parametrize(
    ("error", "raised"), [(Transient("It blinks.", delay=3.0), Transient), (Permanent("It is gone."), Refused)]
)
def test_a_run_of_prefect_tries_again_where_a_preflight_met_what_passes_by_itself(
    monkeypatch: pytest.MonkeyPatch, error: OnlyVipsError, raised: type[OnlyVipsError]
) -> None:
    def refuses(*_: object) -> None:
        raise Refused("It cannot be backed up.") from error

    monkeypatch.setattr(backups, "preflight_of", refuses)
    monkeypatch.setattr(backups, "taking", TAKING)
    with pytest.raises(raised, match="It cannot be backed up") as found:
        backups.begin("lab", "mongodb", "me", lambda size, documents: None, "run")
    assert getattr(found.value, "delay", 3.0) == 3.0


def test_what_a_run_of_prefect_began_is_held_until_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Held(Here):
        def __exit__(self, *_: object) -> None:
            told.append("given up")

    monkeypatch.setattr(backups, "taking", lambda *_: Held())
    session = backups.begin("lab", "mongodb", "me", lambda size, documents: None, "run")
    assert not told
    backups.end(session)
    assert told == ["given up"]


def test_a_followed_run_tells_the_lines_that_come_after_its_end(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    going, ended = (SimpleNamespace(is_final=lambda end=end: end, is_scheduled=lambda: False) for end in (False, True))
    looks = [(going, ["one"]), (ended, [""]), (ended, ["last"])]
    asked: list[int] = []
    monkeypatch.setattr(running, "_PAUSE", 0.0)
    monkeypatch.setattr(running, "_look", lambda run, told: asked.append(told) or looks.pop(0))
    assert running.follow(SimpleNamespace(id="7"), "there", quiet=False) is ended
    assert capsys.readouterr().out.split() == ["one", "last"]
    assert asked == [0, 1, 2]
