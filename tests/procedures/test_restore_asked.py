"""What a person is told who asks for a restore: by which base it goes on, what is not settled, what is not known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flows.commands import run, running
from onlyvips.core.catalog import read_catalog
from onlyvips.core.manifest import moment
from onlyvips.core.points import check_past
from onlyvips.core.restore import Wanted, plan_restore
from onlyvips.errors import Permanent, Refused
from onlyvips.steps.shelves import read_shelves
from onlyvips.wiring.backups import Catalog
from onlyvips.wiring.restoring import BUILT, mongodb
from tests.procedures.test_restore import World
from tests.procedures.test_restore_command import HERE, serving, world
from tests.procedures.test_slices import take_slice
from tests.simulators.objects import Killed, Life
from tests.simulators.target import SimulatedTarget, state

__all__ = ["world"]
LATER = "2099-01-01T00:00:00Z"


def test_a_restore_that_died_goes_on_by_its_own_base_though_another_is_whole_by_now(
    monkeypatch: pytest.MonkeyPatch, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    first, reached = world.base, world.writer.at + 20
    at = moment(reached)
    second = world.take_base()
    for _ in range(3):
        world.write(10)
        take_slice(world.log, world.places)
    every = tuple(read_catalog(read_shelves(world.places, "lab")))
    one_base = tuple(one for one in every if one.prefix != second.prefix)
    assert plan_restore("lab", every, {}, Wanted(at)).base.id == second.id
    target = serving(monkeypatch, SimulatedTarget(Life(20)))
    monkeypatch.setattr(mongodb, "catalog", lambda _: Catalog(one_base, {}))
    with pytest.raises(Killed):
        run(["restore", "run", *HERE, "--at", at])
    target.life = Life()
    monkeypatch.setattr(mongodb, "catalog", lambda _: Catalog(every, {}))
    assert run(["restore", "plan", *HERE, "--at", at]) == 0
    assert f"it was begun by the base {first.id}, and goes on by it" in capsys.readouterr().out
    assert run(["restore", "run", *HERE, "--at", at]) == 0
    assert state(target, "app.orders") == world.writer.states[reached]


@pytest.mark.parametrize("kind", [one for one in BUILT if one != "mongodb"])
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_moment_to_come_is_refused_for_the_safety_backup_would_be_what_it_means(
    kind: str, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["restore", verb, "-e", "lab", "--kind", kind, "--target", "live", "--at", LATER]) == 2
    told = capsys.readouterr().err
    assert f"--at {LATER} has not passed yet" in told and f"onlyvips backup list -e lab --kind {kind}" in told


def test_a_moment_has_passed_once_its_second_is_over():
    check_past("2026-08-01T12:00:00Z", "2026-08-01T12:00:01Z", "lab", "redis")
    check_past("latest", "2026-08-01T12:00:01Z", "lab", "redis")
    with pytest.raises(Refused, match="has not passed yet"):
        check_past("2026-08-01T12:00:00Z", "2026-08-01T12:00:00Z", "lab", "redis")


@pytest.mark.parametrize("error", [Permanent("The server refuses to ask who it is."), Refused("env:X is not set.")])
def test_a_live_database_that_does_not_say_who_it_is_is_told_from_the_target(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_: str) -> Any:
        raise error

    monkeypatch.setattr(mongodb, "_target", silent)
    monkeypatch.setattr(mongodb.environments, "endpoint", lambda loaded, reference: reference)
    with pytest.raises(Refused, match=r"database \(endpoints.mongodb\) does not say who it is.*nobody answers"):
        mongodb.live(mongodb.environments.load("lab"))


@pytest.mark.parametrize("quiet", [True, False])
def test_who_stops_following_is_told_what_goes_on_and_how_to_end_it(
    quiet: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "_look", pressed)
    with pytest.raises(KeyboardInterrupt):
        running.follow(SimpleNamespace(id="6b1f", name="brave-otter"), "http://prefect/runs/6b1f", quiet=quiet)
    told = capsys.readouterr()
    assert "run brave-otter goes on, or begins once a worker takes it (http://prefect/runs/6b1f)" in told.err
    assert "prefect flow-run cancel 6b1f" in told.err and not told.out
