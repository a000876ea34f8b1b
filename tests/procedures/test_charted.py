"""A Deployment that a Helm chart owns: it changes and comes back through Helm alone, whoever dies or meddles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from onlyvips.core.action import Action
from onlyvips.core.manifests import template_release
from onlyvips.errors import Permanent, Refused, UnknownOutcome
from onlyvips.steps import records
from onlyvips.steps.rollout import Rollout
from tests.charts import settings
from tests.procedures.charted import SHORT, Charted, ChartedBot, ChartedRolling, _Charted
from tests.procedures.theatre import BAD, GOOD, OLD, Killed

THEATRES: tuple[type[_Charted], ...] = (Charted, ChartedRolling, ChartedBot)


def at(kind: str, do: Callable[[], object]) -> Callable[[Rollout, Action], None]:
    """Does it once, before the first action of that kind."""
    over: list[bool] = []

    def look(_: Rollout, action: Action) -> None:
        if action.kind == kind and not over:
            over.append(True)
            do()

    return look


@pytest.mark.parametrize("kind", THEATRES)
def test_a_good_version_comes_by_one_upgrade_that_changes_nothing_else(kind: type[_Charted]) -> None:
    theatre = kind()
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("promoted")
    assert theatre.statuses() == ["superseded", "deployed"] and theatre.note() == "first"
    assert record.chart_revision == 1
    step = next(one for one in record.steps if one.action == "replace stable")
    assert step.observed.endswith("by revision 2 of Helm release onlyvips")
    assert template_release(theatre.cluster.get("Deployment", "backend") or {}) == record.id
    assert theatre.helm.values[-1]["backend.jwt"].startswith("backend-jwt-")
    assert theatre.helm.values[-1]["backend.jwt"] != "backend-jwt-0000000000"


def test_a_bad_version_never_reaches_helm() -> None:
    theatre = Charted()
    theatre.process("first").release(BAD)
    theatre.assert_outcome("rolled-back")
    assert theatre.statuses() == ["deployed"]


@pytest.mark.parametrize("kind", THEATRES)
def test_what_was_upgraded_comes_back_by_a_rollback_to_the_recorded_revision(kind: type[_Charted]) -> None:
    theatre = kind()

    def abort(rollout: Rollout, action: Action) -> None:
        if rollout.record().replaced and not rollout.record().aborted:
            theatre.abort()

    theatre.process("first").release(GOOD, abort)
    record = theatre.assert_outcome("rolled-back")
    assert theatre.statuses() == ["superseded", "superseded", "deployed"]
    assert theatre.helm.revisions[2].objects == theatre.helm.revisions[0].objects
    step = next(one for one in record.steps if one.action == "restore stable")
    assert step.observed.endswith("by revision 3 of Helm release onlyvips")


def helm_writes(kind: type[_Charted]) -> range:
    """Writes from a little before Helm's first to a little after its last."""
    process, found = kind().process("first"), list[int]()
    process.at_write = lambda number, verb, _: found.append(number) if verb == "helm" else None
    process.release(GOOD)
    assert len(found) >= 4
    return range(found[0] - 2, found[-1] + 3)


def killed_after(kind: type[_Charted], write: int) -> _Charted:
    theatre = kind()
    process = theatre.process("first")

    def die(number: int, _verb: str, _kind: str) -> None:
        if number == write:
            process.die()

    process.after_write = die
    with pytest.raises(Killed):
        process.release(GOOD)
    return theatre


@pytest.mark.parametrize("kind", THEATRES)
def test_who_died_at_any_write_is_followed_by_one_who_gets_there(kind: type[_Charted]) -> None:
    for write in helm_writes(kind):
        theatre = killed_after(kind, write)
        theatre.process("second").release(GOOD)
        theatre.assert_outcome("promoted")
        assert len(records.every(theatre.cluster)) == 1, write


@pytest.mark.parametrize("kind", THEATRES)
def test_where_nobody_comes_the_reconciler_leaves_helm_and_the_deployment_as_one(kind: type[_Charted]) -> None:
    results = set()
    for write in helm_writes(kind):
        theatre = killed_after(kind, write)
        theatre.process("reconciler").reconcile()
        results.add(theatre.assert_outcome(theatre.record().result).result)
    assert results == ({"promoted", "rolled-back"} if kind is Charted else {"rolled-back"})


@pytest.mark.parametrize("kind", THEATRES)
def test_a_way_back_that_is_killed_at_any_write_of_helms_is_gone_to_its_end(kind: type[_Charted]) -> None:
    for write in helm_writes(kind):
        theatre = killed_after(kind, write)
        if records.find_open(theatre.cluster, "backend") is None or theatre.record().phase == "evidence":
            continue
        theatre.abort()
        for attempt in range(20):
            process = theatre.process(f"reconciler {attempt}")
            helm = list[int]()

            def die(number: int, verb: str, _: str, it: object = process, seen: list[int] = helm) -> None:
                seen.extend([number] if verb == "helm" else [])
                if len(seen) > attempt:  # noqa: B023
                    it.die()  # type: ignore[attr-defined]

            process.after_write = die
            try:
                process.reconcile()
            except Killed:
                continue
            break
        theatre.assert_outcome("rolled-back")


@pytest.mark.parametrize("kind", THEATRES)
@pytest.mark.parametrize(
    ("error", "result"),
    [(UnknownOutcome("helm upgrade did not end within 60 s"), "promoted"), (Permanent("denied"), "rolled-back")],
    ids=["timed out", "failed"],
)
def test_an_upgrade_that_times_out_is_settled_and_one_that_fails_goes_back(
    kind: type[_Charted], error: Exception, result: str
) -> None:
    theatre = kind()
    theatre.helm.breaks = error
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome(result)
    assert theatre.statuses() == ["superseded", "failed" if result == "rolled-back" else "pending-upgrade", "deployed"]
    assert result == "promoted" or "denied" in record.reason


def test_an_upgrade_of_somebody_else_before_ours_is_kept_on_the_way_there_and_on_the_way_back() -> None:
    for back in (False, True):
        theatre = Charted()
        theirs = at("look", lambda it=theatre: it.helm.upgrade({"note": "second"}))

        def both(rollout: Rollout, action: Action, it: Charted = theatre, meddle=theirs, back: bool = back) -> None:  # type: ignore[no-untyped-def]
            meddle(rollout, action)
            if back and rollout.record().replaced and not rollout.record().aborted:
                it.abort()

        theatre.process("first").release(GOOD, both)
        record = theatre.assert_outcome("rolled-back" if back else "promoted")
        assert theatre.note() == "second" and record.chart_revision == 2


def test_a_chart_that_was_changed_meanwhile_is_held_and_never_overwritten() -> None:
    theatre = Charted()

    def change() -> None:
        theatre.more = [settings("new")]
        theatre.helm.upgrade({})
        theatre.more = []  # the declared chart has it not: an upgrade would remove it

    theatre.process("first").release(GOOD, at("look", change))
    record = theatre.assert_outcome("rolled-back")
    assert "Helm release onlyvips was changed by somebody else" in record.reason and "ConfigMap new" in record.reason
    assert theatre.statuses() == ["superseded", "deployed"]


def test_a_revision_that_came_after_ours_is_not_rolled_over_on_the_way_back() -> None:
    theatre = Charted()

    def meddle(rollout: Rollout, action: Action) -> None:
        record = rollout.record()
        if record.replaced and not record.aborted:
            theatre.helm.upgrade({"note": "second"})
            theatre.abort()
        if action.kind == "wait" and action.what == "drift" and record.waiting_for == "drift":
            assert "not overwritten" in action.reason and theatre.note() == "second"
            theatre.helm.rollback(2)  # a person takes it away

    theatre.process("first").release(GOOD, meddle)
    theatre.assert_outcome("rolled-back")
    assert theatre.note() == "first" and theatre.statuses()[-1] == "deployed"


def test_another_service_of_the_chart_that_went_and_came_back_is_in_nobodys_way() -> None:
    theatre = Charted()

    def meddle(rollout: Rollout, _: Action) -> None:
        if rollout.record().replaced and not rollout.record().aborted:
            theatre.helm.upgrade({"note": "second"})
            theatre.helm.rollback(2)
            theatre.abort()

    theatre.process("first").release(GOOD, meddle)
    theatre.assert_outcome("rolled-back")
    assert theatre.helm.revisions[-1].number == 5 and theatre.note() == "first"


def refusal(theatre: _Charted) -> str:
    with pytest.raises(Refused) as raised:
        theatre.process("first").release(GOOD)
    assert records.every(theatre.cluster) == [] and theatre.stable_image() == OLD
    return str(raised.value)


def test_what_helm_cannot_do_is_refused_before_anything_changes() -> None:
    theatre = Charted()
    theatre.helm.missing = Refused("There is no program helm here: nothing was changed.")
    assert "There is no program helm" in refusal(theatre)
    theatre = Charted()
    theatre.helm.missing = Permanent("helm status of release onlyvips failed (1): Error: no tiller.")
    assert refusal(theatre) == "helm status of release onlyvips failed (1): Error: no tiller. Nothing was changed."
    theatre = Charted()
    theatre.helm.hooks = ("migrate",)
    theatre.helm.upgrade({})
    assert "has hooks (migrate)" in refusal(theatre)
    theatre = Charted()
    theatre.more = [settings("new")]
    assert "it would change ConfigMap new too" in refusal(theatre)
    theatre = Charted(replace(SHORT, chart=replace(SHORT.chart, image_value="backend.version")))  # type: ignore[type-var]
    assert "spec.template.metadata.labels.version is `v0.8.0`, expected is `v0.9.0`" in refusal(theatre)
    theatre = Charted(replace(SHORT, chart=replace(SHORT.chart, release_value="backend.release")))  # type: ignore[type-var]
    assert "`onlyvips.com/release: {{ .Values.backend.release }}` belongs there" in refusal(theatre)
    theatre = Charted(replace(SHORT, helm="", chart=replace(SHORT.chart, release="other")))  # type: ignore[type-var]
    assert "belongs to the Helm release onlyvips" in refusal(theatre)


def test_a_deployment_that_is_not_as_its_chart_says_is_refused() -> None:
    theatre = Charted()
    pod = {"terminationGracePeriodSeconds": 5}
    theatre.base["spec"]["template"]["spec"] |= pod
    theatre.helm.upgrade({})
    theatre.settle(60)
    theatre.cluster.change(
        "Deployment", "backend", lambda it: it["spec"]["template"]["spec"].update(terminationGracePeriodSeconds=9)
    )
    theatre.settle(60)
    assert "terminationGracePeriodSeconds is `9`, expected is `5`" in refusal(theatre)
    theatre = Charted()
    theatre.base["spec"]["replicas"] = 4
    theatre.helm.upgrade({})
    assert "sets `replicas` of Deployment backend" in refusal(theatre)


def test_a_helm_that_is_at_work_or_cut_off_is_refused() -> None:
    theatre = Charted()

    def die(kind: str, write: Callable[[], None]) -> None:
        write()
        raise Permanent("killed")

    with pytest.raises(Permanent):
        theatre.helm.upgrade({}, die)
    assert "Revision 2 of Helm release onlyvips is pending-upgrade" in refusal(theatre)
