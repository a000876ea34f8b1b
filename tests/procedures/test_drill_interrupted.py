"""A drill that is ended by what nobody expects: cleaned up, recorded with the reason, raised again. On simulators."""

from __future__ import annotations

import pytest

from onlyvips.core import drills
from onlyvips.core.drill_findings import findings
from onlyvips.steps.drill import lifetime, rehearse
from onlyvips.wiring.backups import Catalog
from tests.procedures.test_drill import PLAN, Scene


class Bug(Exception):
    """What nobody expects."""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyboardInterrupt(), "interrupted by a person (Ctrl-C)"),
        (SystemExit(15), "ended by SystemExit"),
        (Bug("at mongodb://root:hunter2-Sw0rdfish@db/"), "ended by Bug: at mongodb://"),
    ],
    ids=["Ctrl-C", "a cancelled run", "a bug"],
)
def test_whatever_ends_a_drill_it_cleans_up_says_why_in_its_record_and_is_raised_again(error: BaseException, told: str):
    scene = Scene()
    drill = scene.drill()
    applied = scene.target.apply

    def apply(writes: object) -> None:
        if len(scene.target.data) == 2 and scene.target.life.writes > 20 and not drill._reasons:
            raise error
        applied(writes)  # type: ignore[arg-type]

    scene.target.apply = apply  # type: ignore[method-assign]
    with pytest.raises(type(error)) as raised:
        scene.run(drill)
    assert scene.target.life.writes > 20 and scene.target.data == {}
    (record,) = scene.known().records
    assert not record.passed and told in record.reasons[0] and "hunter2" not in record.reasons[0]
    assert record.left == () and any("is kept as one that failed" in note for note in raised.value.__notes__)
    assert scene.known().unended == ()


def test_what_an_interrupted_drill_cannot_remove_is_named_in_its_record_and_with_the_error():
    scene = Scene()
    drill = scene.drill()
    scene.target.data[f"{drill.name}.users"] = {}
    scene.scratch.stays = True

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        scene.run(drill, interrupted)
    (record,) = scene.known().records
    assert f"{drill.name} ({drill.name} is still there" in record.left[0]
    assert any(drill.name in note for note in raised.value.__notes__)
    assert any(drill.name in one.what for one in findings(scene.known(), PLAN, scene.clock.now()))


def test_a_database_of_a_dead_drill_that_does_not_go_is_named_as_left_and_never_as_removed():
    scene = Scene()
    name = drills.scratch_name("lab", "20260801T120000Z-0badcafe")
    scene.target.data[f"{name}.users"] = {}
    scene.scratch.stays = True
    found = scene.run()
    assert not found.passed and found.removed == () and any(one.startswith(name) for one in found.left)


def test_a_drill_that_was_interrupted_as_its_record_was_kept_keeps_the_record_it_had():
    scene = Scene()
    drill = scene.drill()
    with pytest.raises(KeyboardInterrupt), lifetime(drill, scene.keep):
        rehearse(drill, lambda: Catalog(tuple(scene.backups()), {}))
        scene.keep(drill.ended())
        raise KeyboardInterrupt
    (record,) = scene.known().records
    assert record.passed and record == drill.ended()
