"""Several services as one, with a Helm chart among them: forward, back, and whoever dies on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips.core.many import Do
from onlyvips.core.plan import HookPlan
from onlyvips.steps import records
from tests.procedures.theatre import GOOD
from tests.procedures.troupe import MANY, SERVICES, bad_miniapp, kill_after
from tests.procedures.troupe_charted import CharteredTroupe

OWNED = (("backend",), ("miniapp",), SERVICES)
LATE = replace(MANY, after=(HookPlan("late", "img:1", ("late",), 60.0),))


@pytest.mark.parametrize("owned", OWNED)
def test_all_are_promoted_by_one_upgrade_for_each_that_the_chart_owns(owned: tuple[str, ...]) -> None:
    theatre = CharteredTroupe(*owned)
    theatre.actor("driver").release_all(GOOD)
    theatre.assert_all("promoted")
    assert [one.status for one in theatre.helm.revisions] == ["superseded"] * len(owned) + ["deployed"]


@pytest.mark.parametrize("owned", OWNED)
def test_where_the_second_fails_what_the_chart_owns_is_back_by_helm(owned: tuple[str, ...]) -> None:
    theatre = CharteredTroupe(*owned)
    bad_miniapp(theatre, GOOD)
    theatre.actor("driver").release_all(GOOD)
    theatre.assert_all("rolled-back")
    revisions = theatre.helm.revisions
    assert len(revisions) == (3 if "backend" in owned else 1) and revisions[-1].objects == revisions[0].objects


@pytest.mark.parametrize("owned", OWNED)
def test_where_a_hook_fails_once_all_serve_all_come_back_in_reverse_by_helm(owned: tuple[str, ...]) -> None:
    theatre = CharteredTroupe(*owned, plan=LATE)

    def spoil(do: Do) -> None:
        if do.title == "run hook late":
            theatre.platform.nature.jobs = "Failed"

    theatre.actor("driver").release_all(GOOD, spoil)
    assert "hook late failed" in theatre.assert_all("rolled-back").reason
    revisions = theatre.helm.revisions
    assert len(revisions) == 1 + 2 * len(owned) and revisions[-1].objects == revisions[0].objects


def around_helm(theatre: CharteredTroupe) -> list[int]:
    """Writes just before each of Helm's, those, and just after: intents among them."""
    actor, found = theatre.actor("first"), list[int]()
    actor.at_write = lambda number, verb, _: found.append(number) if verb == "helm" else None
    actor.release_all(GOOD)
    assert len(found) >= 8
    return sorted({number + near for number in found for near in (-3, -2, -1, 0, 1)})


def made(what: str) -> CharteredTroupe:
    theatre = CharteredTroupe(*SERVICES)
    if what == "the second fails":
        bad_miniapp(theatre, GOOD)
    return theatre


def killed_after(what: str, write: int) -> CharteredTroupe:
    theatre = made(what)
    kill_after(theatre, write)
    return theatre


@pytest.mark.parametrize(("what", "end"), [("both good", "promoted"), ("the second fails", "rolled-back")])
def test_who_died_around_helm_is_followed_by_one_who_gets_there(what: str, end: str) -> None:
    for write in around_helm(made(what)):
        theatre = killed_after(what, write)
        theatre.actor("second").release_all(GOOD)
        theatre.assert_all(end)
        assert len(records.every(theatre.cluster)) == len(SERVICES), write


@pytest.mark.parametrize("what", ["both good", "the second fails"])
def test_where_nobody_comes_all_are_promoted_or_all_back_and_helm_is_settled(what: str) -> None:
    for write in around_helm(made(what))[::2]:
        theatre = killed_after(what, write)
        theatre.actor("reconciler").reconcile_all()
        theatre.assert_all(theatre.group().result)
