"""kill -9 at every write of a release of two services; then it is run again, or nobody comes, or it is aborted."""

from __future__ import annotations

from collections import Counter

import pytest

from onlyvips.steps import group_records, records
from tests.procedures.theatre import GOOD
from tests.procedures.troupe import SERVICES, Troupe, bad_miniapp, kill_after

ENDS = {"both good": "promoted", "the second fails": "rolled-back"}


def troupe(what: str) -> Troupe:
    """The platform before it is released."""
    theatre = Troupe()
    if what == "the second fails":
        bad_miniapp(theatre, GOOD)
    return theatre


def writes_of(what: str) -> int:
    """How many writes a whole release of both has."""
    actor = troupe(what).actor("first")
    actor.release_all(GOOD)
    return actor.writes


def killed_at(what: str, write: int) -> Troupe:
    """The platform after the driver died right after its ``write``: before the next one, nothing else was changed."""
    theatre = troupe(what)
    kill_after(theatre, write)
    return theatre


@pytest.mark.parametrize("what", ENDS)
def test_a_release_of_two_services_that_is_run_again_ends_as_it_would_have(what: str) -> None:
    for write in range(1, writes_of(what) + 1):
        theatre = killed_at(what, write)
        begun = group_records.every(theatre.cluster)
        if not begun or begun[-1].open:
            theatre.actor("second").release_all(GOOD)
        theatre.assert_all(ENDS[what])
        assert len(group_records.every(theatre.cluster)) == 1, write
        assert len(records.every(theatre.cluster)) == len(SERVICES), write
        assert theatre.backups <= 2, write


@pytest.mark.parametrize("what", ENDS)
def test_one_that_nobody_runs_again_is_all_promoted_or_all_back(what: str) -> None:
    results: Counter[str] = Counter()
    for write in range(1, writes_of(what) + 1):
        theatre = killed_at(what, write)
        theatre.actor("reconciler").reconcile_all()
        if not group_records.every(theatre.cluster):
            theatre.assert_nothing_lost()
            continue
        results[theatre.assert_all(theatre.group().result).result] += 1
    assert set(results) == {"promoted", "rolled-back"} - ({"promoted"} if what == "the second fails" else set())


def test_one_whose_driver_is_dead_goes_back_as_one_when_a_person_aborts_it_before_it_was_decided() -> None:
    for write in range(3, writes_of("both good") + 1, 2):
        theatre = killed_at("both good", write)
        decided = theatre.group().decision
        theatre.abort_all()
        theatre.actor("abort").reconcile_all(attended=True)
        theatre.assert_all("rolled-back" if decided == "undecided" else "promoted")
