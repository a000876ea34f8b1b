"""``onlyvips restore … --kind redis``: what it refuses, prints and does; with which backup it goes on after it died."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.commands import run, running
from onlyvips.core.catalog import read_catalog
from onlyvips.errors import Transient
from onlyvips.steps.shelves import read_shelves
from onlyvips.wiring import restores
from onlyvips.wiring.backups import Catalog
from onlyvips.wiring.restoring import redis as kind
from tests.procedures.test_backup import IDENTITIES
from tests.procedures.test_redis_restore import World, flip
from tests.procedures.test_redis_snapshots import KEY
from tests.simulators.keys import SimulatedKeys
from tests.simulators.objects import Killed, Life
from tests.simulators.redis import SimulatedRedis

REDIS = ["-e", "lab", "--kind", "redis"]
HERE = [*REDIS, "--target", "env:TARGET"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A backup on simulators; ``live`` is another server than the target, unless it is asked for."""
    redis = SimulatedRedis()
    redis.databases = {0: {b"user:%d" % n: b"geheim" for n in range(7)}, 7: {b"one": b"1"}}
    with redis.serving() as url:
        found = World(url, redis, tmp_path)
    backups = tuple(read_catalog(read_shelves(found.places, "lab")))
    monkeypatch.setattr(kind, "catalog", lambda _: Catalog(backups, {}))
    monkeypatch.setattr(kind, "stores_of", lambda _: found.places)
    monkeypatch.setattr(restores, "stores_of", lambda _: found.places)
    monkeypatch.setattr(kind, "identities", lambda _: tuple(IDENTITIES[:1]))
    monkeypatch.setattr(kind.environments, "identities", lambda _: ("AGE-SECRET-KEY-1",))
    monkeypatch.setattr(kind, "_live_url", lambda _: "live")
    monkeypatch.setattr(kind.environments, "endpoint", lambda loaded, reference: reference)
    live = SimulatedKeys(found.clock)
    live.facts = kind.KeyServer("redis", "7.0.15", "live")
    monkeypatch.setattr(kind, "_keys", lambda url: live if url == "live" else found.target)
    monkeypatch.setattr(kind, "_loader", lambda _: found.loader)
    monkeypatch.setattr(running, "answering_server", lambda _: "")
    yield found


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--target", ""], "Say where to: --target live"),
        (["--target", "redis://:hunter2@h"], "--target is neither live nor a reference"),
        (["--target", "live", "--namespace", "a.b=c.d"], "--namespace is for mongodb"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_bad_input_is_refused_before_anything_is_asked_and_no_secret_is_shown(
    options: list[str], told: str, verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: Any) -> Any:
        raise AssertionError("must not be asked")

    monkeypatch.setattr(kind, "catalog", nobody)
    monkeypatch.setattr(kind, "_keys", nobody)
    assert run(["restore", verb, *REDIS, *options]) == 2
    error = capsys.readouterr().err
    assert told in error and "hunter2" not in error


def test_a_plan_says_what_would_happen_and_a_run_does_it_from_a_good_copy(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["restore", "plan", *HERE]) == 0
    told = capsys.readouterr().out
    assert "db0: 7 keys" in told and "overwritten: nothing" in told
    assert world.target.life.writes == 0
    flip(world.places[0], world.manifest.prefix + KEY)
    assert run(["restore", "run", *HERE, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["keys"] == 8 and world.values() == world.expected
    assert "geheim" not in str(found) + told


def test_the_live_redis_by_a_reference_is_refused_and_the_plan_says_all_that_is_wrong(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.target.facts = kind.KeyServer("redis", "7.0.15", "live")
    world.loader.version = "6.2.0"
    assert run(["restore", "plan", *HERE]) == 2
    told = capsys.readouterr().err
    assert "The target is the live Redis" in told and "to load the backup is redis 6.2.0" in told
    assert run(["restore", "run", *HERE]) == 2
    assert world.target.life.writes == 0


def test_a_target_with_keys_is_written_over_once_they_and_the_backup_are_named(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.target.keep(0, b"user:1", b"wrecked")
    name = f"{world.manifest.id}-e{world.manifest.epoch}"
    named = [*HERE, "--at", name]
    asked = ["--overwrite", "db0", "--without-safety-backup", "it is a copy"]
    assert run(["restore", "plan", *named, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["overwritten"] == ["db0"]
    assert told["needs"] == ["--overwrite 'db0'", "--without-safety-backup REASON"]
    assert run(["restore", "plan", *named]) == 0
    assert "overwritten, and in no backup: db0" in capsys.readouterr().out
    assert run(["restore", "run", *named]) == 2
    assert "--overwrite 'db0'" in capsys.readouterr().err
    assert run(["restore", "run", *HERE, *asked]) == 2
    assert f"say --at {name}" in capsys.readouterr().err
    assert world.target.life.writes == 0
    assert run(["restore", "run", *named, *asked]) == 0
    assert world.values() == world.expected


def test_latest_into_the_live_redis_is_refused_though_it_lost_all_keys_for_it_may_be_a_backup_of_that(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "_keys", lambda url: world.target)
    live, name = [*REDIS, "--target", "live"], f"{world.manifest.id}-e{world.manifest.epoch}"
    assert run(["restore", "plan", *live]) == 2
    assert f"say --at {name}" in capsys.readouterr().err
    assert run(["restore", "run", *live]) == 2
    assert world.target.life.writes == 0
    capsys.readouterr()
    assert run(["restore", "run", *live, "--at", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["safety_backup"] == "none needed: nothing is written over"
    assert world.values() == world.expected


def test_latest_after_a_death_is_the_backup_that_was_begun_not_the_newer_one(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.target.life = Life(4)
    with pytest.raises(Killed):
        run(["restore", "run", *HERE])
    world.target.life = Life()
    (first,) = read_catalog(read_shelves(world.places, "lab"))
    ruins = replace(world.manifest, id="20990101T000000Z-cdcdcdcd", finished="2099-01-01T00:00:00Z")
    newer = replace(first, prefix=ruins.prefix, manifest=ruins)
    monkeypatch.setattr(kind, "catalog", lambda _: Catalog((first, newer), {}))

    def planned() -> dict[str, Any]:
        run(["restore", "plan", *HERE, "--json"])
        return json.loads(capsys.readouterr().out)

    found = planned()
    assert (found["backup"], found["resumed"], found["overwritten"]) == (world.manifest.prefix, True, [])
    assert "a restore of this backup is under way there" in found["notes"][0]
    assert run(["restore", "run", *HERE]) == 0
    assert "An earlier run had begun it" in capsys.readouterr().out
    assert world.values() == world.expected
    assert planned()["backup"] == ruins.prefix


def test_a_restore_over_the_live_redis_that_died_goes_on_only_as_it_was_asked_and_with_a_safety_backup(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "_keys", lambda url: world.target)
    taken = list[str]()

    def take(loaded: Any, kind: str, *_: Any) -> Any:
        taken.append(kind)
        return SimpleNamespace(manifest=world.manifest, degraded=False)

    monkeypatch.setattr(restores.backups, "take_one", take)
    live = [*REDIS, "--target", "live"]
    name = f"{world.manifest.id}-e{world.manifest.epoch}"
    asked = [*live, "--at", name, "--overwrite", "db0"]
    world.target.keep(0, b"user:1", b"wrecked")
    world.target.life = Life(4)
    with pytest.raises(Killed):
        run(["restore", "run", *asked])
    world.target.life = Life()
    world.target.keep(0, b"user:1", b"repaired by hand")
    assert run(["restore", "run", *live]) == 2
    told = capsys.readouterr().err
    assert f"say --at {name}" in told
    assert run(["restore", "run", *live, "--at", name]) == 2
    assert "--overwrite 'db0'" in capsys.readouterr().err
    assert world.target.life.writes == 0 and taken == ["redis"]
    assert run(["restore", "run", *asked]) == 0
    assert taken == ["redis", "redis"] and world.values() == world.expected


def test_a_live_redis_that_does_not_answer_does_not_keep_from_restoring_elsewhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Any:
        raise Transient("It is away.")

    gone = SimulatedKeys(world.clock)
    monkeypatch.setattr(gone, "describe", away)
    monkeypatch.setattr(kind, "_keys", lambda url: gone if url == "live" else world.target)
    assert run(["restore", "run", *HERE]) == 0
    assert world.values() == world.expected
