"""``next_action``: what follows what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips.core.decide import next_action
from onlyvips.core.plan import Stage
from onlyvips.core.record import Look, Record
from onlyvips.core.world import Workload, World
from tests.core.decisions import (
    GOING_BACK,
    HOLD,
    IN_CANARY,
    IN_PROMOTE,
    NEW,
    OLD,
    PLAN,
    PROPAGATION,
    READY,
    RECORD,
    TWO_PASSES,
    canary,
    decide,
    look,
    split,
)


def old_canary(ready: int) -> Workload:
    """One of the old version, all four pods asked for."""
    return replace(OLD, ready=ready, visible=ready)


TABLE = [
    ("begins with a snapshot", RECORD, World(OLD, None, split(0)), "snapshot"),
    ("then the backup", replace(RECORD, snapshot="s"), World(OLD, None, split(0)), "enter backup"),
    ("backs up", replace(RECORD, phase="backup"), World(OLD, None, split(0)), "back up"),
    ("then secrets", replace(RECORD, phase="backup", backup="b"), World(OLD, None, split(0)), "enter secrets"),
    ("secrets", replace(RECORD, phase="secrets"), World(OLD, None, split(0)), "create secrets"),
    ("migration", replace(RECORD, phase="migrate"), World(OLD, None, split(0)), "migrate"),
    ("canary", replace(RECORD, phase="canary"), World(OLD, None, split(0)), "create canary to 1 pod"),
    ("a canary that went", IN_CANARY, World(OLD, None, split(10)), "enter rollback"),
    (
        "waits for pods",
        replace(IN_CANARY, weight=0),
        World(OLD, canary(0), split(0)),
        "wait canary-ready",
    ),
    (
        "waits for the router",
        replace(IN_CANARY, weight=0),
        World(OLD, replace(canary(1), visible=0), split(0)),
        "wait canary-ready",
    ),
    (
        "waits for the router to forget who just left",
        replace(IN_CANARY, weight=0),
        World(OLD, replace(canary(1), quiet=PROPAGATION - 1), split(0)),
        "wait canary-ready",
    ),
    ("raises", replace(IN_CANARY, weight=0), World(OLD, canary(1), split(0)), "set weight 10 %"),
    ("writes down", replace(IN_CANARY, weight=0), World(OLD, canary(1), split(10)), "set weight 10 %"),
    ("looks", IN_CANARY, World(OLD, canary(1), split(10)), "look"),
    (
        "brings up the next stage's pods",
        replace(IN_CANARY, stage=1, weight=25),
        World(OLD, canary(1), split(25)),
        "scale canary to 2 pods",
    ),
    ("a dead canary loses its weight", IN_CANARY, World(OLD, canary(0), split(10)), "set weight 0 %"),
    ("fails", replace(IN_CANARY, looks=(look("fail"),)), World(OLD, canary(1), split(10)), "enter rollback"),
    ("passes", replace(IN_CANARY, looks=TWO_PASSES), World(OLD, canary(1), split(10)), "next stage"),
    ("holds on", replace(IN_CANARY, looks=(look("pass"),)), World(OLD, canary(1), split(10)), "look"),
    (
        "is not hurried by errors",
        replace(IN_CANARY, looks=(look("pass"), look("error"), look("pass", 0, 9.0))),
        World(OLD, canary(1), split(10)),
        "look",
    ),
    ("a hand edit is held", IN_CANARY, World(OLD, canary(4), split(30)), "wait drift"),
    (
        "a hand edit goes back",
        IN_CANARY,
        World(OLD, canary(4), split(30), waiting="drift", waited=HOLD),
        "enter rollback",
    ),
    ("stable changed by hand", IN_CANARY, World(replace(OLD, image="img:v1-fix"), canary(1), split(10)), "wait drift"),
    ("no stable", IN_CANARY, World(None, canary(1), split(10)), "enter rollback"),
    ("no rule", IN_CANARY, World(OLD, canary(1), None), "enter rollback"),
    (
        "promotes",
        replace(IN_CANARY, stage=2, weight=50, looks=(look("pass", 2), look("pass", 2))),
        World(OLD, canary(4), split(50)),
        "enter promote",
    ),
    (
        "to full capacity",
        replace(IN_PROMOTE, weight=50),
        World(OLD, replace(canary(2), replicas=2), split(50)),
        "scale canary to 4 pods",
    ),
    ("carries all", replace(IN_PROMOTE, weight=50), World(OLD, canary(4), split(50)), "set weight 100 %"),
    ("obeyed first", IN_PROMOTE, World(OLD, canary(4), split(100, 1.0)), "wait route"),
    ("replaces", IN_PROMOTE, World(OLD, canary(4), split(100)), "replace stable"),
    ("a pod less", IN_PROMOTE, World(OLD, canary(3), split(100)), "set weight 75 %"),
    ("new pods", IN_PROMOTE, World(replace(NEW, ready=1), canary(4), split(100)), "wait stable-ready"),
    ("comes back", IN_PROMOTE, World(NEW, canary(4), split(100)), "set weight 0 %"),
    ("to the one that lives", IN_PROMOTE, World(replace(NEW, ready=1), canary(0), split(100)), "set weight 0 %"),
    ("nothing is sent any more", IN_PROMOTE, World(NEW, canary(4), split(0, 1.0)), "wait route"),
    ("clears away", IN_PROMOTE, World(NEW, canary(4), split(0)), "remove canary"),
    ("an entry alone", IN_PROMOTE, World(NEW, None, split(0)), "remove canary"),
    ("the rest", IN_PROMOTE, World(NEW, None, split(0, listed=False), ("Service/x",)), "remove leftovers Service/x"),
    ("done", IN_PROMOTE, World(NEW, None, split(0, listed=False)), "enter evidence"),
    ("goes back at once", GOING_BACK, World(OLD, canary(1), split(10)), "set weight 0 %"),
    (
        "goes back to what is ready",
        replace(GOING_BACK, weight=100),
        World(replace(OLD, ready=2), canary(4), split(100)),
        "set weight 50 %",
    ),
    ("not to nobody", GOING_BACK, World(replace(OLD, ready=0), canary(1), split(10)), "wait stable-ready"),
    (
        "stays with the healthy",
        replace(GOING_BACK, weight=50),
        World(replace(OLD, ready=2), canary(4), split(50)),
        "wait stable-ready",
    ),
    ("behind the canary", GOING_BACK, World(NEW, canary(4), split(100)), "restore stable"),
    (
        "behind a canary that is brought up",
        GOING_BACK,
        World(NEW, None, split(0, listed=False)),
        "create canary to 4 pods",
    ),
    (
        "with as many pods as serve by now",
        GOING_BACK,
        World(replace(NEW, replicas=8, ready=8, visible=8), None, split(0, listed=False)),
        "create canary to 8 pods",
    ),
    (
        "and not before they are there",
        GOING_BACK,
        World(replace(NEW, replicas=8, ready=8, visible=8), old_canary(4), split(0)),
        "scale canary to 8 pods",
    ),
    ("raised to go back unseen", GOING_BACK, World(NEW, canary(4), split(0)), "set weight 100 %"),
    ("a dead stable at once", GOING_BACK, World(replace(NEW, ready=0), None, split(0)), "restore stable"),
    ("of the old version, where it does not carry", GOING_BACK, World(NEW, canary(3), split(0)), "remove canary"),
    ("once no router sends to it", GOING_BACK, World(NEW, canary(3), split(0, 1.0)), "wait route"),
    ("the old version's pods", GOING_BACK, World(NEW, old_canary(3), split(0)), "wait canary-ready"),
    ("the old version carries", GOING_BACK, World(NEW, old_canary(4), split(0)), "set weight 100 %"),
    (
        "no canary to be had",
        GOING_BACK,
        World(NEW, old_canary(0), split(0), waiting="canary-ready", waited=READY + PROPAGATION),
        "restore stable",
    ),
    (
        "old pods first",
        replace(GOING_BACK, stable_replaced=True),
        World(replace(OLD, complete=False), canary(4), split(0)),
        "wait stable-ready",
    ),
    ("evidence", replace(RECORD, phase="evidence"), World(OLD, None, split(0)), "write evidence"),
    ("closes", replace(RECORD, phase="evidence", evidence="k"), World(OLD, None, split(0)), "close"),
    ("is closed", replace(RECORD, phase="closed"), World(OLD, None, split(0)), "wait closed"),
]


@pytest.mark.parametrize(("record", "world", "title"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_follows(record: Record, world: World, title: str) -> None:
    action = decide(record, world)
    assert action.title == title
    assert action.reason or record.phase == "evidence"


UNATTENDED = [
    ("before traffic", replace(RECORD, phase="backup"), World(OLD, None, split(0)), "enter rollback"),
    ("canary", IN_CANARY, World(OLD, canary(1), split(10)), "enter rollback"),
    ("stable untouched", IN_PROMOTE, World(OLD, canary(4), split(100)), "enter rollback"),
    ("past stable replaced", IN_PROMOTE, World(NEW, canary(4), split(100)), "set weight 0 %"),
    ("past that too", IN_PROMOTE, World(NEW, canary(4), split(0)), "remove canary"),
    ("back behind what runs what stable runs", GOING_BACK, World(NEW, canary(4), split(0)), "set weight 100 %"),
    ("else behind the old version", GOING_BACK, World(NEW, None, split(0)), "create canary to 4 pods"),
]


@pytest.mark.parametrize(
    ("record", "world", "title"), [row[1:] for row in UNATTENDED], ids=[row[0] for row in UNATTENDED]
)
def test_what_follows_when_its_driver_is_gone(record: Record, world: World, title: str) -> None:
    assert decide(record, world, attended=False).title == title


@pytest.mark.parametrize(
    ("looks", "title"),
    [
        ([look("error", elapsed=HOLD - 1)], "look"),
        ([look("error", elapsed=HOLD)], "enter rollback"),
        ([look("too-few", elapsed=HOLD)], "enter rollback"),
        ([look("no-data", elapsed=HOLD / 2), look("error", elapsed=HOLD / 2)], "enter rollback"),
        ([look("error", elapsed=HOLD), look("pass")], "look"),
        ([look("too-few"), look("pass")], "next stage"),
        ([look("pass", stage=1), look("pass", stage=1)], "look"),
    ],
)
def test_no_data_holds_until_the_maximum_hold_and_is_never_a_pass(looks: list[Look], title: str) -> None:
    record = replace(IN_CANARY, looks=tuple(looks))
    assert decide(record, World(OLD, canary(1), split(10))).title == title


def test_an_inconclusive_rollback_says_what_was_missing() -> None:
    world = World(OLD, canary(1), split(10))
    reasons = {
        verdict: decide(replace(IN_CANARY, looks=(look(verdict, elapsed=HOLD),)), world).reason
        for verdict in ("error", "no-data", "too-few")
    }
    assert "no data" in reasons["error"] and "no data" in reasons["no-data"]
    assert "too few requests" in reasons["too-few"]


def test_an_outage_longer_than_the_maximum_hold_is_waited_out_within_a_longer_stage() -> None:
    """A stage that is held for hours anyway goes back for want of data no sooner than it could have passed."""
    plan = replace(PLAN, stages=(Stage(10, 3 * HOLD),))
    for elapsed, kind in ((HOLD, "look"), (3 * HOLD - 1, "look"), (3 * HOLD, "enter")):
        record = replace(IN_CANARY, looks=(look("too-few", elapsed=elapsed),))
        assert next_action(record, World(OLD, canary(4), split(10)), plan, attended=True).kind == kind
