"""A backup that can never be whole is begun anew, three times in all, by the flow and by the command: told why."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from flows.backup import backup
from flows.commands import run, running
from onlyvips import environment as environments
from onlyvips.core.catalog import Backup, read_catalog
from onlyvips.errors import Abandoned, OnlyVipsError, Permanent, Transient, UnknownOutcome
from onlyvips.steps.backup import Session
from onlyvips.steps.base import base
from onlyvips.steps.shelves import read_shelves
from onlyvips.wiring import backups
from onlyvips.wiring.kinds import BUILT
from onlyvips.wiring.kinds.kind import Taking
from tasks import backups as verbs
from tasks import policies, restores
from tests.procedures.test_backup import PLAN, stores
from tests.procedures.test_base_window import Busy
from tests.simulators.cell import SimCell
from tests.simulators.oplog import START, SimulatedOplog, command, entry, run_of


class World:
    """An environment on simulators: of the bases that are read, somebody renames a collection during the first few."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.renames, self.said, self.waited = 0, list[str](), list[float]()
        self.log, self.places, self.cell = SimulatedOplog(*run_of(3)), stores("a", "b"), SimCell()
        self.began = 0
        loaded = environments.load("lab")
        patch.setattr(environments, "load", lambda _: loaded)
        patch.setattr(environments, "recipients", lambda _: PLAN.recipients)
        patch.setattr(environments, "backup_plan", lambda _: replace(PLAN, workers=1))
        patch.setattr(backups, "BUILT", {**BUILT, "mongodb": replace(BUILT["mongodb"], begin=self.begin)})
        for name, found in (("stores_of", self.places), ("lease_cell", self.cell), ("preflight_of", None)):
            patch.setattr(backups, name, lambda *_, found=found: found)
        patch.setattr(backups, "measure", lambda _: "")
        patch.setattr(backups, "wait", self.wait)
        patch.setattr(running, "answering_server", lambda _: "")
        patch.setattr(verbs, "get_run_logger", lambda: SimpleNamespace(info=self.say, warning=self.say))
        patch.setattr(verbs, "flow_run", SimpleNamespace(id="run-1", name="calm-owl", run_count=1))
        for task in ("begin", "publish", "measure"):
            patch.setattr(verbs, task, getattr(verbs, task).fn)
        patch.setattr(
            verbs, "write_all", lambda session: [backups.write(session, one) for one in backups.keys(session)]
        )

    def begin(self, loaded: Any, taking: Taking) -> Session:
        self.began += 1
        rename = command(START + 100 * self.began + 50, ns="app.$cmd", renameCollection="app.a", to="app.b")
        renamed = self.began <= self.renames
        source = Busy(lambda: self.log.write(rename) if renamed else None)
        return base(source, taking.stores, taking.plan, taking.run, taking.begun, self.log)

    def say(self, text: str, *values: object) -> None:
        self.said.append(text % values if values else text)

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.log.write(entry(START + 100 * len(self.waited) + 100, op="n", ns=""))

    @property
    def found(self) -> Sequence[Backup]:
        return read_catalog(read_shelves(self.places, "lab"))

    def whole(self) -> list[bool]:
        return sorted(one.manifest is not None for one in self.found)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield World(monkeypatch)
    assert not backups._sessions and not backups._begun_here, "nothing of it goes on"


def by_flow(world: World, capsys: Any) -> tuple[bool, str]:
    try:
        backup.fn("lab", "mongodb")
    except OnlyVipsError as error:
        return False, " ".join([*world.said, str(error)])
    return True, " ".join(world.said)


def by_command(world: World, capsys: Any) -> tuple[bool, str]:
    code = run(["backup", "run", "-e", "lab", "--kind", "mongodb"])
    assert code in (0, 1)
    told = capsys.readouterr()
    return code == 0, told.out + told.err


ways = pytest.mark.parametrize("way", [by_flow, by_command])


@ways
def test_a_base_whose_window_cannot_be_closed_is_begun_anew_with_the_reason(
    world: World, capsys: Any, way: Callable[[World, Any], tuple[bool, str]]
):
    world.renames = 2
    good, told = way(world, capsys)
    assert good and world.began == 3
    assert world.waited == [15.0, 15.0]
    assert told.count("a collection was renamed") == 2
    assert "begun anew, 2 of at most 3 times" in told and "begun anew, 3 of at most 3 times" in told
    assert not any(" goes on" in one for one in world.said), "nothing of a dead attempt is used"
    assert world.whole() == [False, False, True]
    left = [one for one in world.found if one.manifest is None]
    assert all(one.prefix in told for one in left), "what the dead attempts left is named"


@ways
def test_it_is_begun_three_times_in_all_and_then_fails(
    world: World, capsys: Any, way: Callable[[World, Any], tuple[bool, str]]
):
    world.renames = 9
    good, told = way(world, capsys)
    assert not good and world.began == 3 and len(world.waited) == 2
    assert "There is no backup: 3 were begun and abandoned. The last: While the base was read a collection was" in told
    assert world.whole() == [False, False, False]


@ways
def test_a_base_that_is_whole_at_once_is_begun_once(
    world: World, capsys: Any, way: Callable[[World, Any], tuple[bool, str]]
):
    good, _ = way(world, capsys)
    assert good and world.began == 1 and world.waited == [] and world.whole() == [True]


def test_what_else_fails_is_not_begun_anew(world: World, capsys: Any):
    for place in world.places:
        place.refuses_key("copies/")
    good, told = by_command(world, capsys)
    assert not good and world.began == 1 and "no destination has a complete copy" in told


def test_json_has_the_backup_that_became_whole_alone(world: World, capsys: Any):
    world.renames = 1
    assert run(["backup", "run", "-e", "lab", "--kind", "mongodb", "--json"]) == 0
    (whole,) = [one for one in world.found if one.manifest]
    assert json.loads(capsys.readouterr().out)["backup"] in whole.prefix


@pytest.mark.parametrize("task", [verbs.begin, verbs.write, verbs.publish], ids=lambda task: task.name)
@pytest.mark.parametrize(
    ("error", "again"),
    [(Abandoned("never"), False), (Transient("away"), True), (UnknownOutcome("?"), True), (Permanent("no"), False)],
    ids=lambda value: type(value).__name__,
)
def test_no_task_waits_for_what_can_never_be_whole(task: Any, error: OnlyVipsError, again: bool):
    state: Any = SimpleNamespace(result=lambda: (_ for _ in ()).throw(error))
    assert task.retry_condition_fn(task, None, state) is again
    assert policies.passes_by_itself(None, None, state) is (again or isinstance(error, Abandoned)), "a release goes on"  # type: ignore[arg-type]


@pytest.mark.parametrize("task", [restores.protect, restores.new_base], ids=lambda task: task.name)
def test_a_task_that_takes_a_whole_backup_begins_it_anew_itself(task: Any):
    state: Any = SimpleNamespace(result=lambda: (_ for _ in ()).throw(Abandoned("never")))
    assert task.retry_condition_fn(task, None, state) is True
