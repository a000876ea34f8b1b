"""``onlyvips restore …``: exit codes, what it prints, and that no secret gets anywhere."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from flows.commands import run, running
from flows.restore import restore as flow
from onlyvips.core import restore_report as report
from onlyvips.core.catalog import read_catalog
from onlyvips.core.drills import Drills
from onlyvips.core.restored import Restored
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.steps.marker import told_until
from onlyvips.steps.shelves import read_shelves
from onlyvips.wiring import restores
from onlyvips.wiring.backups import Catalog
from onlyvips.wiring.restoring import Done, mongodb
from tasks import restores as tasks
from tests.core.test_drills import RECORD
from tests.procedures.test_backup import IDENTITIES
from tests.procedures.test_restore import World
from tests.simulators.objects import Killed, Life
from tests.simulators.target import SimulatedTarget, state

HERE = ["-e", "lab", "--target", "env:TARGET"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Backups on simulators, the target on another server than the source."""
    found = World(slices=1)
    backups = tuple(read_catalog(read_shelves(found.places, "lab")))
    for module in (restores, mongodb):
        monkeypatch.setattr(module, "stores_of", lambda _: found.places)
    monkeypatch.setattr(mongodb.environments, "identities", lambda _: ())
    monkeypatch.setattr(mongodb, "identities", lambda _: IDENTITIES[:1])
    monkeypatch.setattr(mongodb, "catalog", lambda _: Catalog(backups, {}))
    monkeypatch.setattr(mongodb, "live", lambda _: {"identity": "live"})
    monkeypatch.setattr(mongodb, "_check_identities", lambda *_: None)
    monkeypatch.setattr(mongodb.environments, "endpoint", lambda loaded, reference: reference)
    monkeypatch.setattr(running, "answering_server", lambda _: "")
    monkeypatch.setattr(mongodb.drill_records, "records", lambda *_: Drills((RECORD,)))
    return found


def serving(monkeypatch: pytest.MonkeyPatch, target: SimulatedTarget) -> SimulatedTarget:
    monkeypatch.setattr(mongodb, "_target", lambda _: target)
    return target


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-e", "lab", "--target", "env:X", "--kind", "oplog"], "The oplog comes back with its base: --kind mongodb"),
        (["-e", "lab", "--target", ""], "Say where to"),
        (["-e", "lab", "--target", "mongodb://u:hunter2@h/"], "--target is no reference"),
        ([*HERE, "--namespace", "a=b"], "says no namespaces"),
        ([*HERE, "--users-and-roles", "--namespace", "a.*=b.*"], "only with all of it under its own name"),
        ([*HERE, "--users-and-roles", "--kind", "redis"], "--users-and-roles is about MongoDB's databases"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_bad_input_is_refused_before_anything_is_asked_and_no_secret_is_shown(
    options: list[str], told: str, verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: Any) -> Any:
        raise AssertionError("must not be asked")

    monkeypatch.setattr(mongodb, "catalog", nobody)
    monkeypatch.setattr(running, "answering_server", nobody)
    assert run(["restore", verb, *options]) == 2
    error = capsys.readouterr().err
    assert told in error and "hunter2" not in error


def test_a_plan_says_what_is_read_and_written_and_exits_0(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serving(monkeypatch, SimulatedTarget())
    assert run(["restore", "plan", *HERE]) == 0
    told = capsys.readouterr().out
    assert f"out of the base {world.base.id}-e1" in told and "app.users -> app.users: 2 documents" in told
    assert "overwritten: nothing" in told
    assert f"how long: about 1 s, by one good drill, the newest of {RECORD.ended}" in told
    assert run(["restore", "plan", *HERE, "--json", "--namespace", "app.users=x.y"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["namespaces"] == [{"source": "app.users", "target": "x.y", "documents": 2}]
    assert found["refusals"] == [] and found["logs"][0]["destinations"]


def test_a_plan_that_would_be_refused_exits_2_with_the_reason_and_writes_nothing(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = serving(monkeypatch, SimulatedTarget(identity="live"))
    assert run(["restore", "plan", *HERE]) == 2
    assert "The target is the live source" in capsys.readouterr().err
    assert target.life.writes == 0


def test_a_live_source_that_does_not_answer_does_not_keep_from_restoring(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(SimulatedTarget):
        def describe(self) -> dict[str, str]:
            raise Transient("It is away.")

    monkeypatch.setattr(mongodb.environments, "endpoint", lambda loaded, reference: reference)
    serving(monkeypatch, Away())
    assert mongodb.live(mongodb.environments.load("lab")) is None


def test_run_tells_what_it_did(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serving(monkeypatch, SimulatedTarget())
    done = Restored(
        (), 7, 1, 30, 9, "5:1", "2026-08-01T12:00:00Z", 2, ("a: x is bad",), True, "users and roles: none", 1.5
    )
    told_of = Done(report.done(done), report.result(done))
    monkeypatch.setattr(restores, "run", lambda asked, tell: told_of)
    assert run(["restore", "run", *HERE]) == 0
    told = capsys.readouterr().out
    for part in (
        "7 documents of the base read back equal",
        "30 entries",
        "up to 5:1",
        "2 indexes",
        "1 documents were in",
    ):
        assert part in told
    assert "An earlier run had begun it." in told and "a: x is bad" in told
    assert run(["restore", "run", *HERE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == 30


def test_a_refused_run_exits_2(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = serving(monkeypatch, SimulatedTarget())
    target.data["app.orders"] = {}
    assert run(["restore", "run", *HERE]) == 2
    assert "already has app.orders" in capsys.readouterr().err


def test_the_tasks_of_the_flow_refuse_as_the_command_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    target = serving(monkeypatch, SimulatedTarget(identity="live"))
    monkeypatch.setattr(tasks, "get_run_logger", lambda: logging.getLogger("restore"))
    with pytest.raises(Refused, match="The target is the live source"):
        tasks.plan.fn(tasks.asked("lab", "mongodb", "latest", "env:TARGET"))
    with pytest.raises(Refused, match="The target is the live source"):
        tasks.run.fn(tasks.asked("lab", "mongodb", "latest", "env:TARGET"))
    assert target.life.writes == 0


def test_users_and_roles_that_no_base_has_are_refused_by_plan_and_run_and_by_the_flow(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = serving(monkeypatch, SimulatedTarget())
    for verb in ("plan", "run"):
        assert run(["restore", verb, *HERE, "--users-and-roles"]) == 2
        assert "has no users and roles (none: there is nobody)" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(Refused, match="has no users and roles"):
        tasks.plan.fn(tasks.asked("lab", "mongodb", "latest", "env:TARGET", users_and_roles=True))
    assert target.life.writes == 0


def test_a_run_on_the_server_is_given_all_that_was_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def begin(api: str, loaded: Any, name: str, parameters: dict[str, Any]) -> Any:
        given.update(flow.validate_parameters(parameters))
        return SimpleNamespace(id="x", name="x")

    monkeypatch.setattr(running, "answering_server", lambda _: "http://here")
    monkeypatch.setattr(running, "begin", begin)
    monkeypatch.setattr(running, "address_of", lambda *_: "")
    monkeypatch.setattr(
        running, "follow", lambda *_, **__: SimpleNamespace(is_completed=lambda: True, name="", message="")
    )
    assert run(["restore", "run", *HERE, "--users-and-roles"]) == 0
    assert given["users_and_roles"] is True and given["target"] == "env:TARGET"


@dataclass
class Live:
    """The live database, whose orders are wrong, and what was done around it, in order."""

    target: SimulatedTarget
    base: str
    done: list[str] = field(default_factory=list)
    lacking: tuple[str, ...] = ()
    fails: str = ""

    def take_one(self, loaded: Any, kind: str, holder: str, tell: Any) -> Any:
        what = "new base" if self.target.data["app.orders"] else "safety backup"
        self.act(what)
        manifest = SimpleNamespace(id=what.replace(" ", "-"), epoch=1)
        return SimpleNamespace(manifest=manifest, lacking=self.lacking, degraded=bool(self.lacking))

    def flush(self, url: str) -> int:
        self.act("flush")
        return 5

    def act(self, what: str) -> None:
        if what == self.fails:
            raise Transient("Nobody does it.")
        self.done.append(what)


@pytest.fixture
def live(world: World, monkeypatch: pytest.MonkeyPatch) -> Live:
    found = Live(serving(monkeypatch, SimulatedTarget(identity="live")), told_until(world.plan()))
    found.target.data["app.orders"] = {}
    monkeypatch.setattr(restores.backups, "take_one", found.take_one)
    monkeypatch.setattr(restores, "flush", found.flush)
    return found


def there(live: Live) -> list[str]:
    return ["-e", "lab", "--target", "live", "--at", live.base]


def evidence(world: World) -> dict[str, Any]:
    store = world.places[0]
    return {key: json.loads(store.objects[key]) for key in store.objects if "/evidence/restore/" in key}


def test_over_the_live_database_only_what_was_named_goes_and_a_safety_backup_comes_first(
    world: World, live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["restore", "plan", *there(live)]) == 0
    told = capsys.readouterr().out
    assert "overwritten, after a safety backup: app.orders" in told and "every key of the cache" in told
    assert run(["restore", "run", *there(live)]) == 2
    assert "--overwrite 'app.orders'" in capsys.readouterr().err
    assert live.target.life.writes == 0 and not evidence(world) and not live.done
    assert run(["restore", "run", *there(live), "--overwrite", "app.orders"]) == 0
    assert live.done == ["safety backup", "flush", "new base"]
    told = capsys.readouterr().out
    assert "Safety backup: safety-backup-e1." in told and "The cache was flushed: 5 keys." in told
    assert "A new base is taken, for what is there now: new-base-e1." in told
    assert state(live.target, "app.orders") == world.writer.documents


def test_latest_is_refused_over_the_live_database_for_the_safety_backup_becomes_it(
    world: World, live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("plan", "run"):
        assert run(["restore", verb, "-e", "lab", "--target", "live"]) == 2
        assert f"say --at {live.base}." in capsys.readouterr().err
    assert live.target.life.writes == 0 and not live.done


def test_what_was_asked_and_done_and_by_whom_is_evidence(
    world: World, live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["restore", "run", *there(live), "--overwrite", "app.*", "--without-safety-backup", "it is a copy"]) == 0
    assert "Safety backup: waived: it is a copy." in capsys.readouterr().out
    (_, begun), (_, ended) = sorted(evidence(world).items())
    assert begun["plan"]["reached"] and ended["result"]["entries"] and begun["asked"] == ended["asked"]
    assert begun["safety_backup"] == "waived: it is a copy" and "@" in begun["by"]


def test_the_safety_backup_of_a_run_that_did_not_end_is_told_by_the_next_one(
    world: World, live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    live.target.life = Life(20)
    with pytest.raises(Killed):
        run(["restore", "run", *there(live), "--overwrite", "app.*"])
    live.target.life = Life()
    assert run(["restore", "run", *there(live), "--overwrite", "app.*"]) == 0
    assert "did not end; its safety backup: safety-backup-e1." in capsys.readouterr().out


@pytest.mark.parametrize("damaged", [b"\xff", b"[]", b"{}"])
def test_damaged_evidence_of_an_earlier_run_is_told_and_keeps_nobody_from_restoring(
    world: World, live: Live, capsys: pytest.CaptureFixture[str], damaged: bytes
) -> None:
    world.places[0].objects["lab/evidence/restore/x.begun.json"] = damaged
    assert run(["restore", "run", *there(live), "--overwrite", "app.*"]) == 0
    assert "The evidence x of an earlier run that did not end cannot be read" in capsys.readouterr().out


def test_a_restore_does_not_fail_for_want_of_evidence_and_says_so(
    world: World, live: Live, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        name = "full"

        def put_new(self, key: str, data: bytes) -> None:
            raise Permanent("It is full.")

        def list(self, prefix: str) -> Any:
            raise Permanent("It is full.")

    monkeypatch.setattr(restores, "stores_of", lambda _: [Full()])
    assert run(["restore", "run", *there(live), "--overwrite", "app.*"]) == 0
    assert "is not everywhere: full: It is full." in capsys.readouterr().out


@pytest.mark.parametrize(("fails", "lacking"), [("safety backup", ()), ("", ("s3-b",))], ids=["none", "degraded"])
def test_a_safety_backup_that_fails_leaves_the_live_database_as_it_is(
    live: Live, capsys: pytest.CaptureFixture[str], fails: str, lacking: tuple[str, ...]
) -> None:
    live.fails, live.lacking = fails, lacking
    assert run(["restore", "run", *there(live), "--overwrite", "app.*"]) == 1
    error = capsys.readouterr().err
    assert live.target.life.writes == 0
    assert "Nobody does it." in error or "safety-backup-e1 is not in every destination (s3-b)" in error


@pytest.mark.parametrize(("fails", "done"), [("flush", ["new base"]), ("new base", ["flush"])])
def test_what_comes_after_a_restore_and_fails_is_told_as_that_and_nobody_restores_again(
    world: World, live: Live, capsys: pytest.CaptureFixture[str], fails: str, done: list[str]
) -> None:
    live.fails = fails
    assert run(["restore", "run", *there(live), "--overwrite", "app.*"]) == 1
    found = capsys.readouterr()
    assert "Restored to" in found.out and "Safety backup: safety-backup-e1." in found.out
    assert "Run the same command again: it does not restore again" in found.err and "Nobody does it." in found.err
    assert live.done == ["safety backup", *done]
    assert state(live.target, "app.orders") == world.writer.documents


@pytest.fixture
def as_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow's tasks without Prefect."""
    monkeypatch.setattr(tasks, "get_run_logger", lambda: logging.getLogger("restore"))
    names = ("begin", "plan", "protect", "keep_begun", "run", "keep_ended", "flush_cache", "new_base", "finish")
    for name in names:
        monkeypatch.setattr(tasks, name, getattr(tasks, name).fn)


def test_the_flow_does_what_the_command_does_in_that_order(
    world: World, live: Live, as_functions: None, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Refused, match="--overwrite 'app.orders'"):
        flow.fn("lab", "live", at=live.base)
    assert live.target.life.writes == 0 and not live.done
    with caplog.at_level(logging.INFO):
        found = flow.fn("lab", "live", at=live.base, overwrite=["app.*"], operator="Ada")
    assert found["entries"] > 0 and live.done == ["safety backup", "flush", "new base"]
    assert state(live.target, "app.orders") == world.writer.documents
    (_, begun), (_, ended) = sorted(evidence(world).items())
    assert begun["by"].startswith("Ada") and ended["safety_backup"] == "safety-backup-e1"
    assert "Safety backup: safety-backup-e1." in caplog.text


def test_a_flow_whose_new_base_fails_says_that_all_is_restored(world: World, live: Live, as_functions: None) -> None:
    live.fails = "new base"
    with pytest.raises(Transient, match="All of it is restored.*Run the same command again"):
        flow.fn("lab", "live", at=live.base, overwrite=["app.*"])
    assert state(live.target, "app.orders") == world.writer.documents


@pytest.mark.parametrize(
    ("message", "code"),
    [("Flow run encountered an exception: Refused: no.", 2), ("It: Driven: Ada does.", 2), ("It: Permanent: no.", 1)],
)
def test_a_run_on_the_server_exits_as_one_here_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], message: str, code: int
) -> None:
    state = SimpleNamespace(is_completed=lambda: False, name="Failed", message=message)
    monkeypatch.setattr(running, "answering_server", lambda _: "http://x/api")
    monkeypatch.setattr(running, "address_of", lambda *_: "http://x")
    monkeypatch.setattr(running, "begin", lambda *_: SimpleNamespace(id="1", name="one"))
    monkeypatch.setattr(running, "follow", lambda *_, **__: state)
    assert run(["restore", "run", *HERE, "--json"]) == code
    assert json.loads(capsys.readouterr().out)["message"] == message


def test_the_live_database_gets_things_back_under_their_own_names_alone(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["-e", "lab", "--target", "live", "--namespace", "app.*=other.*"]
    assert run(["restore", "run", *options]) == 2
    assert "under their own names" in capsys.readouterr().err


def test_over_another_place_nothing_is_written_without_a_reason() -> None:
    asked = restores.Asked("lab", "mongodb", "latest", "env:X", overwrite=("db0",))
    planned = restores.Planned((), {}, overwritten=("db0",))
    with pytest.raises(Refused, match="no safety backup can be taken of it"):
        restores.allow(asked, planned)
    restores.allow(replace(asked, waived="it is a drill"), planned)
