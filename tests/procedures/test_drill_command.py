"""``onlyvips drill …``: exit codes, what is printed, what is refused, and that no key is shown."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.commands import run, running
from onlyvips import environment as environments
from onlyvips.core.audit import Report, audit
from onlyvips.core.drills import FAILED, Drills
from onlyvips.core.manifest import seconds
from onlyvips.errors import Refused, Transient
from onlyvips.ports import Term
from onlyvips.steps import signature
from onlyvips.steps.drill_records import KeptRecord, keep_begun, keep_record
from onlyvips.wiring import backups, drill_records, drills
from tests.core.test_audit import NOW, PLAN, everywhere, locked
from tests.core.test_drills import RECORD, begun, older, record
from tests.procedures.test_backup import stores

HERE = ["-e", "lab"]
PAIR = signature.make_key()
KEPT = KeptRecord(RECORD.key, ("s3-a",), ("s3-b: it is full.",))
WRONG = replace(RECORD, verdict=FAILED, reasons=("No slice leads on.",))


@pytest.fixture(autouse=True)
def lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's environment, whose keys are a pair of ours, without a lab."""
    monkeypatch.setattr(running, "answering_server", lambda _: "")
    monkeypatch.setattr(backups, "measure", lambda _: "")
    monkeypatch.setattr(environments, "drill_keys", lambda _: (PAIR.public,))


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch):
    """Destinations with two drills of the lab."""
    found = stores("a", "b")
    for one in (RECORD, record(1)):
        keep_record(one, PAIR, found)
    monkeypatch.setattr(drill_records, "stores_of", lambda _: found)
    return found


@contextmanager
def nothing(*_: Any) -> Iterator[str]:
    yield RECORD.id


@pytest.mark.parametrize(("record", "code"), [(RECORD, 0), (WRONG, 1)], ids=["passed", "failed"])
def test_run_exits_0_only_when_the_drill_passed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], record: Any, code: int
) -> None:
    monkeypatch.setattr(drills, "rehearsing", nothing)
    monkeypatch.setattr(drills, "run", lambda _: (record, KEPT))
    assert run(["drill", "run", *HERE]) == code
    told = capsys.readouterr()
    assert f"Drill {RECORD.id} of mongodb in lab {record.verdict}" in told.out
    assert ("No slice leads on." in told.out) == bool(code)
    assert "The record is not kept by s3-b: it is full." in told.err
    assert run(["drill", "run", *HERE, "--json"]) == code
    assert json.loads(capsys.readouterr().out)["verdict"] == record.verdict


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--kind", "redis"], "Restores of kind `redis` are not rehearsed yet"),
        (["--at", "yesterday"], "`yesterday` is no moment"),
    ],
)
def test_bad_input_is_refused_before_anybody_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    def nobody(*_: Any) -> Any:
        raise AssertionError("must not be asked")

    monkeypatch.setattr(running, "answering_server", nobody)
    assert run(["drill", "run", *HERE, *options]) == 2
    assert told in capsys.readouterr().err


def test_an_environment_without_a_target_is_refused_and_told_where_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = environments.load("lab")
    none = loaded.recovery.drill.model_copy(update={"target": None, "signing_key": None, "public_keys": ()})
    bare = loaded.model_copy(update={"recovery": loaded.recovery.model_copy(update={"drill": none})})
    monkeypatch.setattr(environments, "load", lambda _: bare)
    with pytest.raises(Refused, match=r"names no scratch target.*docs/runbooks/drill.md"):
        drills.check("lab", "mongodb", "latest")
    assert environments.drill_plan(bare).rehearsed is False


def test_a_signing_key_that_nobody_would_believe_is_refused_before_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    other = signature.make_key()
    secret = SimpleNamespace(get_secret_value=other.private_text)
    monkeypatch.setattr(environments, "resolve", lambda *_: secret)
    begun = drills.rehearsing("lab", "mongodb", "latest", "Ada", lambda doing, size: None)
    with pytest.raises(Refused, match="is not in recovery.drill.public_keys") as error, begun:
        raise AssertionError("must not begin")
    assert other.private_text() not in str(error.value) and other.public in str(error.value)


def test_where_a_server_answers_the_run_is_made_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []
    ended = SimpleNamespace(is_completed=lambda: False, name="Failed", message="Drill x failed")
    monkeypatch.setattr(running, "answering_server", lambda _: "http://127.0.0.1:1/api")
    monkeypatch.setattr(running, "begin", lambda *given: asked.append(given) or SimpleNamespace(id="7", name="owl"))
    monkeypatch.setattr(running, "address_of", lambda *_: "http://there/7")
    monkeypatch.setattr(running, "follow", lambda *_, **__: ended)
    assert run(["drill", "run", *HERE]) == 1
    assert asked[0][2] == "drill/drill" and asked[0][3]["at"] == "latest"
    assert "Failed: Drill x failed" in capsys.readouterr().err
    mine = replace(WRONG, operator="Ada, run owl (7), attempt 1")
    monkeypatch.setattr(drill_records, "records", lambda *_: Drills((mine, RECORD)))
    assert run(["drill", "run", *HERE, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "Failed" and found["reasons"] == ["No slice leads on."]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Flow run encountered an exception: Refused: lab names no scratch target: nothing was done.", 2),
        ("Flow run encountered an exception: Driven: Ada does drills of lab and is alive: nothing was changed.", 2),
        ("Flow run encountered an exception: Permanent: Drill x failed. It was ended by Bug: Refused: no.", 1),
        ("Flow run was cancelled.", 1),
    ],
)
def test_what_a_run_refused_exits_2_as_here_and_what_failed_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], message: str, code: int
) -> None:
    ended = SimpleNamespace(is_completed=lambda: False, name="Failed", message=message)
    monkeypatch.setattr(running, "answering_server", lambda _: "http://127.0.0.1:1/api")
    monkeypatch.setattr(running, "begin", lambda *given: SimpleNamespace(id="7", name="owl"))
    monkeypatch.setattr(running, "address_of", lambda *_: "http://there/7")
    monkeypatch.setattr(running, "follow", lambda *_, **__: ended)
    monkeypatch.setattr(drill_records, "records", lambda *_: Drills())
    assert run(["drill", "run", *HERE]) == code
    capsys.readouterr()
    assert run(["drill", "run", *HERE, "--json"]) == code
    assert json.loads(capsys.readouterr().out)["message"] == message


# --- records


def test_list_and_show_tell_what_is_signed(places: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["drill", "list", *HERE]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [RECORD.id, record(1).id]
    assert run(["drill", "show", RECORD.id, *HERE]) == 0
    assert "2 documents with hash ab, equal" in capsys.readouterr().out
    assert run(["drill", "show", "2026", *HERE]) == 2
    assert "more than one drill `2026`" in capsys.readouterr().err
    assert run(["drill", "show", "2030", *HERE]) == 2


@pytest.mark.parametrize(("renewed", "state"), [(0.0, "running"), (-3600.0, "never ended")])
def test_list_and_show_tell_what_began_and_never_ended(
    places: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    renewed: float,
    state: str,
) -> None:
    dead = begun(2)
    keep_begun(dead, PAIR, places)
    term = Term(dead.operator, 3, 15.0, time.time() + renewed, "v")
    monkeypatch.setattr(drill_records, "lease_cell", lambda *_: SimpleNamespace(read=lambda: term))
    assert run(["drill", "list", *HERE]) == 0
    assert f"{dead.id}  mongodb  latest  {state}" in capsys.readouterr().out
    assert run(["drill", "show", dead.id, *HERE]) == 0
    assert dead.scratch in capsys.readouterr().out
    assert run(["drill", "list", *HERE, "--json"]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)["unended"]] == [dead.id]
    report, _ = drill_records.audited(
        environments.load("lab"), audit(everywhere(), {}, PLAN, NOW, locked(everywhere()))
    )
    told = [one.severity for one in report.findings if dead.id in one.what and "left a database" not in one.what]
    assert told == (["note"] if state == "running" else ["fault"])


def test_the_last_good_drill_is_found_behind_any_number_of_those_of_older_moments(
    places: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill_records, "_NEWEST", 3)
    for day in range(2, 6):
        keep_record(older(day), PAIR, places)
    report, gauges = drill_records.audited(environments.load("lab"), Report("lab", "", (), ()))
    assert f"the last good drill, {record(1).id}" in report.findings[0].what
    assert gauges[0].value == seconds(record(1).ended)


def test_a_forged_record_is_named_and_ignored_by_list_and_refused_by_show(
    places: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in places:
        place.objects[RECORD.key] = place.objects[RECORD.key].replace(b'"entries": 50', b'"entries": 51')
    assert run(["drill", "list", *HERE]) == 1
    told = capsys.readouterr()
    assert f"{RECORD.id}: unsigned/forged: ignored" in told.err and RECORD.id not in told.out
    assert run(["drill", "list", *HERE, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in found["drills"]] == [record(1).id] and found["ignored"][0]["id"] == RECORD.id
    assert run(["drill", "show", RECORD.id, *HERE]) == 2
    assert "unsigned/forged: ignored" in capsys.readouterr().err


def test_an_audit_has_the_findings_of_drills_and_breaks_with_them(places: Any) -> None:
    loaded = environments.load("lab")
    holds: Report = audit(everywhere(), {}, PLAN, NOW, locked(everywhere()))
    report, gauges = drill_records.audited(loaded, holds)
    assert not report.holds and "the last good drill" in report.findings[0].what  # of 2026-08, which is long ago
    assert {one.name for one in gauges} == {
        "onlyvips_drill_last_success_timestamp_seconds",
        "onlyvips_drill_recovery_time_seconds",
        "onlyvips_drill_recovery_point_seconds",
    }
    assert gauges[1].value == 300.0 and dict(gauges[1].labels) == {"environment": "lab", "kind": "mongodb"}


def test_records_that_cannot_be_read_are_a_fault_and_no_plan_fails_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Drills:
        raise Transient("Nobody answers.")

    monkeypatch.setattr(drill_records, "read_records", away)
    loaded = environments.load("lab")
    monkeypatch.setattr(drill_records, "stores_of", lambda _: [])
    report, gauges = drill_records.audited(loaded, audit(everywhere(), {}, PLAN, NOW, locked(everywhere())))
    assert [one.severity for one in report.findings] == ["fault"] and "Nobody answers" in report.findings[0].what
    assert gauges == []
    assert "could not be read (Nobody answers)" in drill_records.how_long(loaded, "mongodb", 5)


# --- the key


def test_key_writes_the_private_half_for_its_owner_alone_and_shows_only_the_public_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "drill.key"
    assert run(["drill", "key", "--output", str(file)]) == 0
    shown = capsys.readouterr().out.strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    pair = signature.signer(file.read_text())
    assert shown == pair.public and "private" not in shown
    before = file.read_text()
    assert run(["drill", "key", "--output", str(file)]) == 2
    assert "is there already" in capsys.readouterr().err and file.read_text() == before
    assert run(["drill", "key", "--output", str(tmp_path / "no" / "x")]) == 2


# --- the trend


def test_the_trend_is_written_to_a_file(places: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "drills.html"
    for _ in range(2):
        assert run(["drill", "trend", *HERE, "--output", str(page)]) == 0
        assert str(page) in capsys.readouterr().out
    assert page.read_text().count("<svg") == 2 and record(1).id in page.read_text()
    assert run(["drill", "trend", *HERE, "--output", str(tmp_path / "no" / "x.html")]) == 2
