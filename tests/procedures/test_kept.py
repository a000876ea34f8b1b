"""What the old version reads by name, on the way back: as before where a hook changed it, else left and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core.plan import HookPlan
from onlyvips.core.record import Record
from onlyvips.errors import Permanent
from onlyvips.steps import records
from tests.procedures.in_place import Bot, Rolling
from tests.procedures.test_configs import configs
from tests.procedures.theatre import BAD, GOOD, PLAN, Killed, Process, Theatre
from tests.procedures.theatre_blue_green import Colours
from tests.procedures.troupe import BRIEF, MANY, Troupe, bad_miniapp

SMOKE = HookPlan("smoke", "ghcr.io/onlyvips/smoke:v1", ("smoke",), 60.0)
HOOKED = replace(BRIEF, after=(SMOKE,))
SECRET, CONFIG = "backend-jwt-0000000000", "backend-settings"
STOLEN = "c3RvbGVu"


def data(theatre: Theatre, kind: str, name: str) -> dict[str, str]:
    found = theatre.cluster.see(kind, name)
    assert found is not None
    read: dict[str, str] = found["data"]
    return read


def set_by_hand(theatre: Theatre, kind: str, name: str, **values: str) -> None:
    """Somebody edits it with kubectl."""
    theatre.cluster.change(kind, name, lambda it: it["data"].update(values))


def hook_writes(theatre: Theatre, kind: str = "ConfigMap", name: str = CONFIG, **values: str) -> None:
    """The hook changes it while it runs, and then fails."""

    def see(seen: str, before: object, after: Any) -> None:
        if seen == "Job" and before is None and after["metadata"]["name"].startswith("smoke"):
            theatre.platform.nature.jobs = "Failed"
            theatre.clock.after(1.0, lambda: set_by_hand(theatre, kind, name, **values))

    theatre.cluster.watchers.append(see)


def at(kind: str, do: Callable[[], None]) -> Callable[[object, Any], None]:
    """Once, before the first act of that kind."""
    done = list[str]()

    def act(_: object, action: Any) -> None:
        if action.kind == kind and not done:
            done.append(kind)
            do()

    return act


@pytest.mark.parametrize(("make", "last"), [(Theatre, "look"), (Rolling, "look"), (Bot, "start"), (Colours, "look")])
def test_a_secret_that_somebody_changed_since_is_left_and_named_and_never_told(
    make: Callable[[], Theatre], last: str
) -> None:
    theatre = make()

    def change() -> None:
        set_by_hand(theatre, "Secret", SECRET, JWT_SECRET=STOLEN)
        theatre.abort()

    theatre.process("first").release(GOOD, at(last, change))
    record = theatre.assert_outcome("rolled-back")
    (copy,) = [one.copy for one in record.kept if one.kind == "Secret"]
    told = f"Secret {SECRET} was changed by somebody since the release began, and is left as it is"
    assert f"{told}; what it held is in Secret {copy}" in record.reason and record.left == (f"Secret/{SECRET}",)
    assert data(theatre, "Secret", SECRET) == {"JWT_SECRET": STOLEN}
    assert data(theatre, "Secret", copy) == {"JWT_SECRET": "b2xk"}, "a person needs it now"
    assert_untold(theatre, record, "b2xk", STOLEN, "old", "stolen", "value of env")


def assert_untold(theatre: Theatre, record: Record, *values: str) -> None:
    """No value of a Secret is in a record or in evidence."""
    texts = [str(one["data"]) for one in theatre.cluster.all("ConfigMap", {"onlyvips.com/kind": "release"})]
    for value in values:
        assert f"'{value}'" not in str(theatre.evidence[record.id]) and f'"{value}"' not in "".join(texts)


def test_nothing_is_named_and_no_copy_is_left_where_nobody_changed_anything() -> None:
    theatre = Theatre(BRIEF)
    theatre.process("first").release(BAD)
    record = theatre.assert_outcome("rolled-back")
    (step,) = [one for one in record.steps if one.action == "restore configuration"]
    assert step.observed == f"as before: ConfigMap {CONFIG}, Secret {SECRET}"
    assert (record.left, configs(theatre), theatre.secrets()) == ((), [CONFIG], [SECRET])


def test_a_label_that_somebody_sets_is_no_change_of_what_pods_read() -> None:
    theatre = Theatre(BRIEF)
    label = at(
        "look", lambda: theatre.cluster.change("Secret", SECRET, lambda it: it["metadata"]["labels"].update(a="b"))
    )
    theatre.process("first").release(BAD, label)
    assert theatre.assert_outcome("rolled-back").left == ()


@pytest.mark.parametrize(("kind", "name", "old"), [("ConfigMap", CONFIG, "info"), ("Secret", SECRET, "b2xk")])
def test_what_a_hook_of_the_release_changed_is_as_before(kind: str, name: str, old: str) -> None:
    theatre = Theatre(HOOKED)
    hook_writes(theatre, kind, name, **dict.fromkeys(data(theatre, kind, name), "aG9va2Vk"))
    before = data(theatre, kind, name)
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("rolled-back")
    assert "hook smoke failed" in record.reason and record.left == ()
    assert data(theatre, kind, name) == before and old in before.values()


def test_what_somebody_changed_after_the_hook_or_before_it_is_left() -> None:
    for moment in ("run-hook", "restore-configuration"):
        theatre = Theatre(HOOKED)
        hook_writes(theatre, LEVEL="hooked")
        hand = at(moment, lambda it=theatre: set_by_hand(it, "ConfigMap", CONFIG, MORE="by hand"))  # type: ignore[misc]
        theatre.process("first").release(GOOD, hand)
        assert theatre.assert_outcome("rolled-back").left == (f"ConfigMap/{CONFIG}",), moment
        assert data(theatre, "ConfigMap", CONFIG) == {"LEVEL": "hooked", "MORE": "by hand"}


def test_one_that_is_gone_is_named_and_not_made() -> None:
    theatre = Theatre(BRIEF)
    theatre.process("first").release(BAD, at("look", lambda: theatre.cluster.drop("ConfigMap", CONFIG)))
    record = theatre.assert_outcome("rolled-back")
    assert f"ConfigMap {CONFIG} was removed by somebody since" in record.reason
    assert theatre.cluster.see("ConfigMap", CONFIG) is None


def test_who_may_not_write_to_it_names_it_and_the_version_goes_back_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theatre = Theatre(HOOKED)
    hook_writes(theatre, LEVEL="hooked")
    process = theatre.process("first")
    patch = process.patch

    def refused(kind: str, name: str, *rest: Any) -> Any:
        if name == CONFIG:
            raise Permanent("Kubernetes refused to change it (403)")
        return patch(kind, name, *rest)

    monkeypatch.setattr(process, "patch", refused)
    process.release(GOOD)
    record = theatre.assert_outcome("rolled-back")
    assert f"ConfigMap {CONFIG} was changed by a hook and could not be put back" in record.reason


def die_at(process: Process, write: int) -> None:
    """kill -9 right after that write."""

    def die(number: int, _verb: str, _kind: str) -> None:
        if number == write:
            process.die()

    process.after_write = die


@pytest.mark.parametrize("who", ["run again", "nobody"])
def test_killed_anywhere_from_the_hook_on_what_the_hook_changed_is_as_before_in_the_end(who: str) -> None:
    whole = Theatre(HOOKED)
    hook_writes(whole, LEVEL="hooked")
    counted, begins = whole.process("first"), list[int]()
    counted.release(GOOD, at("run-hook", lambda: begins.append(counted.writes)))
    for write in range(begins[0] + 1, counted.writes + 1):
        theatre = Theatre(HOOKED)
        hook_writes(theatre, LEVEL="hooked")
        process = theatre.process("first")
        die_at(process, write)
        with pytest.raises(Killed):
            process.release(GOOD)
        if who == "run again":
            theatre.process("second").release(GOOD)
            theatre.assert_outcome("rolled-back")
        else:  # what that costs where no canary is left to carry users is another matter
            theatre.process("reconciler").reconcile()
        record = theatre.record()
        assert (record.result, record.left) == ("rolled-back", ()), write
        assert data(theatre, "ConfigMap", CONFIG) == {"LEVEL": "info"}, write


def test_when_the_second_fails_both_are_back_with_what_they_read_and_a_changed_secret_is_left_and_named() -> None:
    theatre = Troupe()
    bad_miniapp(theatre, GOOD)
    seen = list[str]()

    def change(do: Any) -> None:
        seen.append(do.title)
        if do.title == "forward miniapp":
            set_by_hand(theatre, "Secret", "miniapp-key", KEY=STOLEN)

    theatre.actor("driver").release_all(GOOD, change)
    group = theatre.assert_all("rolled-back")
    assert group.left == ("Secret/miniapp-key",) and "back backend" in seen
    assert theatre.all_evidence[group.id][0].left == group.left
    assert data(theatre, "Secret", "miniapp-key") == {"KEY": STOLEN}
    assert data(theatre, "Secret", SECRET) == {"JWT_SECRET": "b2xk"}
    for name, deployment in ((CONFIG, "backend"), ("miniapp-settings", "miniapp")):
        found = theatre.cluster.see("Deployment", deployment)
        assert found is not None
        reads = found["spec"]["template"]["spec"]["containers"][0]["envFrom"]
        assert {"configMapRef": {"name": name}} in reads
    assert configs(theatre) == [CONFIG, "miniapp-settings"]
    assert [one for one in theatre.secrets() if one not in (SECRET, "miniapp-key")] == [
        kept.copy
        for record in records.every(theatre.cluster, "miniapp")
        for kept in record.kept
        if kept.kind == "Secret"
    ]


def test_what_a_hook_of_all_services_changed_is_as_before_of_each() -> None:
    theatre = Troupe(replace(MANY, after=(SMOKE,)))
    hook_writes(theatre, LEVEL="hooked")
    hook_writes(theatre, name="miniapp-settings", PAGES="20")
    theatre.actor("driver").release_all(GOOD)
    assert theatre.assert_all("rolled-back").left == ()
    assert data(theatre, "ConfigMap", CONFIG) == {"LEVEL": "info"}
    assert data(theatre, "ConfigMap", "miniapp-settings") == {"PAGES": "10"}


def test_the_copies_of_a_promoted_release_stay_for_the_way_back_to_it() -> None:
    theatre = Theatre(replace(PLAN, stages=BRIEF.stages))
    record = theatre.process("first").release(GOOD)
    copies = {(one.kind, one.copy) for one in record.kept}
    assert len(copies) == 2 and all(theatre.cluster.see(*one) for one in copies)
