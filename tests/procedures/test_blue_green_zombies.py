"""A frozen driver's late POST makes a colour that nobody drives: it is seen, and goes; one that users are on stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from onlyvips.core.plan import Stage
from onlyvips.errors import Fenced, Refused
from onlyvips.steps import opening, orphans
from tests.procedures.theatre_blue_green import GOOD, OLD, PLAN, Colours

SHORT = replace(PLAN, stages=(Stage(100, 10.0),))


def late_post(others: Callable[[Colours], None]) -> Colours:
    """The first driver sleeps before it creates green, ``others`` act meanwhile, and it wakes."""
    theatre = Colours(SHORT)
    zombie = theatre.process("zombie")

    def freeze(_: int, verb: str, kind: str) -> None:
        if (verb, kind) == ("create", "Deployment"):
            zombie.frozen = True
            others(theatre)
            zombie.frozen = False

    zombie.at_write = freeze
    with pytest.raises((Fenced, Refused)):
        zombie.release(GOOD)
    return theatre


def taken_back(theatre: Colours) -> None:
    theatre.process("reconciler").reconcile()
    theatre.assert_outcome("rolled-back")


def test_a_colour_that_a_zombie_made_after_the_end_is_removed_and_named() -> None:
    theatre = late_post(taken_back)
    assert theatre.image_of("green") == GOOD, "it is there, and nobody drives it"
    removed = opening.remove_orphans(theatre.process("later").site, "later")
    assert removed == ("Deployment panel-green",)
    theatre.assert_home("blue", OLD)
    theatre.assert_green_as_before()


def test_a_colour_that_users_are_on_is_no_orphan_and_is_not_deleted_either() -> None:
    theatre = late_post(taken_back)
    (orphan,) = orphans.colours(theatre.cluster, SHORT)
    theatre.settle()
    theatre.select_by_hand(version="green")
    assert orphans.colours(theatre.cluster, SHORT) == []
    with pytest.raises(Refused, match="selects panel-green by now: it was left alone"):
        orphans.unused(theatre.cluster, SHORT)(orphan)
    assert opening.remove_orphans(theatre.process("later").site, "later") == ()


def test_a_colour_of_a_release_that_was_promoted_or_is_open_is_no_orphan() -> None:
    theatre = Colours(SHORT)
    seen: list[object] = []
    theatre.process("first").release(GOOD, lambda *_: seen.extend(orphans.colours(theatre.cluster, SHORT)))
    theatre.assert_outcome("promoted")
    assert seen == [] and orphans.colours(theatre.cluster, SHORT) == []


def test_a_release_that_goes_back_removes_the_colour_that_a_zombie_made_under_it() -> None:
    theatre = Colours(SHORT)
    orphan = late_post(taken_back).cluster.get("Deployment", "panel-green")
    assert orphan is not None
    process = theatre.process("first")

    def between(_: int, verb: str, kind: str) -> None:
        found = theatre.cluster.get("Deployment", "panel-green")
        if (verb, kind) == ("create", "ConfigMap") and found is None and theatre.backups == 0 and process.writes > 2:
            late = {key: orphan[key] for key in ("kind", "spec")}
            theatre.cluster.create(
                {**late, "metadata": {"name": "panel-green", "labels": orphan["metadata"]["labels"]}}
            )

    process.after_write = between
    process.release("v0.9.0-bad")
    theatre.assert_outcome("rolled-back")
