"""A canary on its way forward: stage by stage with a look at each, then stable gets the new version behind it."""

from __future__ import annotations

from onlyvips.core import approvals, commands, ratio
from onlyvips.core.action import Action, enter, wait
from onlyvips.core.carry import cannot_carry, clear_away, held, kept_still, present, scaled_down, with_rule
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Look, Record, abort_reason
from onlyvips.core.world import Split, Workload, World, pods_for, weight_for


def forward(record: Record, world: World, plan: ReleasePlan, attended: bool) -> Action:
    """The next act of a canary that goes forward."""
    if record.phase == "canary":
        return _leave_canary(record, world, plan, attended) or _canary(record, world, plan)
    return _promote(record, world, plan, attended)


def _leave_canary(record: Record, world: World, plan: ReleasePlan, attended: bool) -> Action | None:
    if record.aborted:
        return enter("rollback", abort_reason(record))
    if not attended:
        return enter("rollback", "its driver is gone: unattended, a canary goes back")
    if world.stable is None or world.split is None:
        rule = "Service that selects both tracks" if plan.service.by_pods else "one rule of the HTTPRoute"
        what = "Deployment of stable" if world.stable is None else rule
        return enter("rollback", f"the {what} is gone: somebody removed it in the middle of the release")
    return None


def _canary(record: Record, world: World, plan: ReleasePlan) -> Action:
    if record.stage >= len(plan.stages):
        return enter("rollback", f"the environment has no stage {record.stage + 1} any more")
    stage, (stable, canary, split) = plan.stages[record.stage], present(world)
    capacity = max(record.capacity, stable.replicas)
    if plan.service.by_pods and canary is None:
        capacity = stable.replicas  # from now on they are counted; until then an autoscaler may have changed them
    needed = pods_for(stage.weight, capacity)
    if canary is None:
        if record.canary_scaled:
            return enter("rollback", "the canary is gone: somebody removed it in the middle of the release")
        made = Action("create-canary", f"{stage.weight} % needs {needed} of {capacity} pods", number=needed)
        return _before_pods(record, world, plan, stage.weight) or made
    if (first := _first_of_all(record, world, plan, stable, canary, split)) is not None:
        return first
    if split.weight != record.weight:
        return Action("set-weight", "meant by a driver that died before it wrote it down", number=split.weight)
    if (pause := commands.held(record, world, plan)) is not None:
        return pause
    wanted = _pods_wanted(record, plan, split.weight >= stage.weight, capacity)
    if canary.replicas < wanted:
        more = Action("scale-canary", f"{wanted} pods for the next step, brought up in good time", number=wanted)
        return _before_pods(record, world, plan, stage.weight) or more
    if split.weight < stage.weight:
        if (asked := approvals.gate(record, world, plan, approvals.point_of(stage.weight))) is not None:
            return asked
        if (not_yet := cannot_carry("canary", canary, needed, plan, world)) is not None:
            return not_yet
        return Action("set-weight", f"stage {record.stage + 1} of {len(plan.stages)}", number=stage.weight)
    return _judge_stage(record, plan)


def _before_pods(record: Record, world: World, plan: ReleasePlan, weight: int) -> Action | None:
    """Where pods are the share, the approval of a stage comes before its pods: users reach them at once."""
    return approvals.gate(record, world, plan, approvals.point_of(weight)) if plan.service.by_pods else None


def _first_of_all(
    record: Record, world: World, plan: ReleasePlan, stable: Workload, canary: Workload, split: Split
) -> Action | None:
    """What is looked at before any step forward: a failed look, another's hand, pods that are gone."""
    looks = stage_looks(record)
    if looks and looks[-1].verdict == "fail":
        return enter("rollback", f"look {len(looks)} of stage {record.stage + 1} failed: {looks[-1].reason}")
    if split.refused and split.sticky:
        return enter("rollback", f"the route that keeps users to a version is not taken: {split.refused}")
    by_pods = plan.service.by_pods
    carried = ratio.carried_by if by_pods else weight_for
    lowest = carried(canary.ready, max(record.capacity, stable.replicas))
    drift = ratio.drift(record, stable, canary, split, plan) if by_pods else _split_drift(record, split)
    if (drift := drift or _drift(record, stable, canary)) is not None:
        if split.weight > lowest:
            return enter("rollback", f"{drift}, and {_few(canary)}")
        return held(drift, world, plan)
    if split.weight > lowest:
        return Action("set-weight", _few(canary), number=lowest)
    return None


def _few(workload: Workload) -> str:
    return f"only {workload.ready} pods of the canary are ready ({workload.trouble or 'no pod says why'})"


def _pods_wanted(record: Record, plan: ReleasePlan, at_weight: bool, capacity: int) -> int:
    """While a stage is held, the pods of the next one come up: nobody waits for them later. Not where pods are the
    share."""
    if not at_weight or plan.service.by_pods:
        return pods_for(plan.stages[record.stage].weight, capacity)
    following = record.stage + 1
    return pods_for(plan.stages[following].weight, capacity) if following < len(plan.stages) else capacity


def _split_drift(record: Record, split: Split) -> str | None:
    if split.weight not in (record.weight, record.intended_weight):
        return f"the route shows {split.weight} % for the canary and this release had set {record.weight} %"
    if split.strayed:
        return "what keeps users to a version in the route (rules, cookies) is not what this release had set"
    return None


def _drift(record: Record, stable: Workload, canary: Workload) -> str | None:
    if stable.release not in (record.from_release, record.id) or stable.image not in (
        record.from_image,
        record.to_image,
    ):
        return f"stable was changed by somebody else to {stable.image}"
    if stable.release != record.id and record.from_template not in ("", stable.template):
        return "the pod template of stable was changed by somebody else"
    if record.canary_template not in ("", canary.template):
        return "the pod template of the canary was changed by somebody else"
    return None


def stage_looks(record: Record) -> tuple[Look, ...]:
    """The looks of the current stage."""
    return tuple(look for look in record.looks if look.stage == record.stage)


def _judge_stage(record: Record, plan: ReleasePlan) -> Action:
    if (more := watch(record, plan)) is not None:
        return more
    if (hurried := commands.hurried(record)) and not approvals.ahead(record, plan):
        return enter("promote", f"{hurried}; the last look passed: {record.looks[-1].reason}")
    reason = f"stage {record.stage + 1} passed: {record.looks[-1].reason}"
    return enter("promote", reason) if record.stage + 1 == len(plan.stages) else Action("next-stage", reason)


def watch(record: Record, plan: ReleasePlan) -> Action | None:
    """The next look of the stage, or the way back where it stays inconclusive; None once it was watched for its hold
    and the last look passed."""
    looks, stage = stage_looks(record), plan.stages[record.stage]
    last = looks[-1] if looks else None
    unresolved = _unresolved(looks)
    if last is not None and last.verdict != "pass" and unresolved >= max(plan.waits.maximum_hold, stage.hold):
        why = "no data" if last.verdict in ("no-data", "error") else "too few requests"
        return enter("rollback", f"inconclusive, {why} for {unresolved:.0f} s: {last.reason}")
    if last is not None and last.verdict == "pass" and (_watched(looks) >= stage.hold or commands.hurried(record)):
        return None
    so_far = f"{_watched(looks):.0f} of {stage.hold:g} s"
    return Action("look", f"look {len(looks) + 1} of stage {record.stage + 1}, {so_far}")


def _watched(looks: tuple[Look, ...]) -> float:
    return sum(look.elapsed for look in looks if look.verdict in ("pass", "too-few"))


def _unresolved(looks: tuple[Look, ...]) -> float:
    total = 0.0
    for look in reversed(looks):
        if look.verdict == "pass":
            break
        total += look.elapsed
    return total


def _promote(record: Record, world: World, plan: ReleasePlan, attended: bool) -> Action:
    world = with_rule(record, world)
    replaced = world.stable is not None and world.stable.release == record.id
    if record.aborted:
        return enter("rollback", abort_reason(record))
    if not attended and not replaced:
        return enter("rollback", "its driver is gone before stable got the new version")
    if record.replaced and world.stable is not None and not replaced:
        return enter("rollback", "somebody took stable back from the new version")
    if world.stable is None or world.split is None:
        return wait("gone", "the Deployment of stable or its rule in the HTTPRoute is gone: put it back")
    if not replaced:
        return _before_replacing(record, world, plan)
    return ratio.after_replacing(record, world, plan) if plan.service.by_pods else _after_replacing(record, world, plan)


def _before_replacing(record: Record, world: World, plan: ReleasePlan) -> Action:
    stable, canary, split = present(world)
    if canary is None:
        return enter("rollback", "the canary is gone: somebody removed it in the middle of the release")
    if (first := _first_of_all(record, world, plan, stable, canary, split)) is not None:
        return first
    if (pause := commands.held(record, world, plan)) is not None:
        return pause
    capacity = max(record.capacity, stable.replicas)
    if (asked := approvals.gate(record, world, plan, approvals.PROMOTION)) is not None:
        return asked
    if canary.replicas < capacity:
        return Action("scale-canary", "promotion needs the canary at full capacity", number=capacity)
    if (not_yet := cannot_carry("canary", canary, capacity, plan, world)) is not None:
        return not_yet
    if split.weight < 100:
        return Action("set-weight", "the canary carries all while stable is replaced", number=100)
    if split.settled < plan.waits.propagation:
        return wait("route", f"the router is given {plan.waits.propagation:g} s to obey")
    return Action("replace-stable", "no traffic reaches stable now: it gets the new version")


def _after_replacing(record: Record, world: World, plan: ReleasePlan) -> Action:
    stable, canary, split = present(world)
    if (first := kept_still(split)) is not None:
        return first
    if split.weight == 0:
        needed = min(record.capacity, stable.replicas)  # it carries all by now: its own count is what that takes
        not_yet = cannot_carry("stable", stable, needed, plan, world) if canary is not None else None
        return not_yet or clear_away(canary, split, plan, world) or enter("evidence", "promoted")
    if stable.ready > 0 and (canary is None or canary.ready == 0):
        return Action("set-weight", "no pod of the canary is ready, stable has some", number=0)
    if (more := scaled_down(record, stable)) is not None:
        return more
    if (not_yet := cannot_carry("stable", stable, record.capacity, plan, world)) is not None:
        return not_yet
    return Action("set-weight", "stable runs the new version and is ready", number=0)
