"""Back as one, where one of them cannot: the others do not wait for it, it is named, nothing is closed without it."""

from __future__ import annotations

import json

import pytest

from onlyvips.core import group as groups
from onlyvips.core.many import Do
from onlyvips.errors import Permanent
from onlyvips.ports import Manifest
from onlyvips.steps import records
from tests.procedures.theatre import GOOD, OLD, Killed
from tests.procedures.troupe import Actor, Troupe

RULE: list[Manifest] = []


def hide_rule(theatre: Troupe) -> None:
    """Somebody renames miniapp's rule and makes a second one like it: its way back waits for a person."""
    found = theatre.cluster.get("HTTPRoute", "miniapp")
    assert found is not None
    RULE[:] = found["spec"]["rules"]
    unnamed = {key: value for key, value in RULE[0].items() if key != "name"}
    theatre.cluster.change("HTTPRoute", "miniapp", lambda live: live["spec"].update(rules=[unnamed, unnamed]))


def put_back(theatre: Troupe) -> None:
    theatre.cluster.change("HTTPRoute", "miniapp", lambda live: live["spec"].update(rules=RULE))


def test_the_others_go_back_while_one_waits_for_a_person_and_all_end_when_it_can() -> None:
    theatre, turns, seen = Troupe(), list[str](), dict[str, str]()

    def look(do: Do) -> None:
        turns.append(do.title)
        if do.kind == "promote":
            hide_rule(theatre)
            theatre.abort_all()
        if turns[-2:] == ["back backend", "back miniapp"]:
            backend = records.find(theatre.cluster, theatre.group().member("backend"))
            assert backend is not None
            seen.update(backend=f"{backend.phase} {theatre.image('backend')}", told=groups.headline(theatre.group()))
            put_back(theatre)

    theatre.actor("driver").release_all(GOOD, look)
    assert [one for one in turns if one.startswith("back ") and one != "back up"] == [
        "back miniapp",
        "back backend",
        "back miniapp",
    ]
    assert seen["backend"] == f"closed {OLD}", "it did not wait for miniapp"
    assert "; miniapp cannot yet: the service's one rule in the HTTPRoute is not to be found" in seen["told"]
    group = theatre.group()
    assert (group.closed, group.result, group.stuck) == (True, "rolled-back", ())
    (step,) = [step for step in group.steps if step.action == "pass over miniapp"]
    assert "put it back" in step.observed
    assert {theatre.image(service) for service in group.services} == {OLD}


def test_the_reconciler_takes_the_others_back_and_leaves_the_whole_open() -> None:
    theatre = Troupe()
    actor = theatre.actor("driver")

    def die(do: Do) -> None:
        if do.kind == "promote":
            hide_rule(theatre)
            theatre.abort_all()
            actor.die()

    with pytest.raises(Killed):
        actor.release_all(GOOD, die)
    theatre.clock.sleep(60.0)
    reconciler = theatre.actor("reconciler", "run-2")
    group = groups_after(reconciler)
    assert group.open and dict(group.stuck).keys() == {"miniapp"} and theatre.image("backend") == OLD
    put_back(theatre)
    group = groups_after(theatre.actor("later", "run-3"))
    assert group.closed and group.result == "rolled-back" and theatre.image("miniapp") == OLD


def groups_after(actor: Actor) -> groups.Group:
    """What the reconciler makes of the whole."""
    from onlyvips.steps import group_records, many

    found = group_records.find_open(actor)
    assert found is not None
    return many.finish(actor.many, found.id, actor.holder, attended=False)


def test_one_whose_snapshot_is_gone_ends_the_run_only_once_the_others_are_back() -> None:
    theatre = Troupe()

    def lose(do: Do) -> None:
        if do.kind == "promote":
            record = records.find(theatre.cluster, theatre.group().member("miniapp"))
            assert record is not None
            theatre.cluster.change("ConfigMap", record.snapshot, lambda live: live.update(data={"x": json.dumps({})}))
            theatre.abort_all()

    with pytest.raises(Permanent, match="has no Deployment: stable cannot be put back from it"):
        theatre.actor("driver").release_all(GOOD, lose)
    group = theatre.group()
    backend = records.find(theatre.cluster, group.member("backend"))
    assert backend is not None and backend.phase == "closed" and theatre.image("backend") == OLD
    assert group.open and "has no Deployment" in dict(group.stuck)["miniapp"]
