"""All that a release will do, said before it begins: step by step, from its plan and what the preflight found. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from onlyvips.core import approvals
from onlyvips.core import around as sections
from onlyvips.core.affinity import cookie_name
from onlyvips.core.around import Around
from onlyvips.core.images import with_digest
from onlyvips.core.phases import Phase
from onlyvips.core.plan import HookPlan, ReleasePlan, Strategy
from onlyvips.core.spans import span
from onlyvips.core.windows import Outlook
from onlyvips.core.world import pods_for


@dataclass(frozen=True)
class Found:
    """What the preflight found: the image that runs and on how many pods ("" and 0 where it could not see), and every
    sentence that would refuse the release now."""

    image: str
    capacity: int
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ahead:
    """One step: what happens, for at least ``seconds``. ``weight``, ``pods`` and ``looks`` where it has some."""

    phase: Phase
    what: str
    seconds: float = 0.0
    weight: int = 0
    pods: int = 0
    looks: int = 0


@dataclass(frozen=True)
class Forecast:
    """What will happen, how it would go back, and how long it takes at least. ``image`` is the one that it brings."""

    environment: str
    service: str
    version: str
    strategy: Strategy
    found: Found
    steps: tuple[Ahead, ...]
    back: tuple[str, ...]
    stays: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    image: str = ""
    when: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    no_return: str = ""
    later: tuple[str, ...] = ()
    judge: tuple[str, ...] = ()
    outlook: Outlook = Outlook(True)

    @property
    def at_least(self) -> float:
        """Seconds of holds and of waits for the router: pods, the backup and the migration take theirs besides."""
        return sum(step.seconds for step in self.steps)


def forecast(plan: ReleasePlan, version: str, found: Found, around: Around, warnings: Sequence[str] = ()) -> Forecast:
    """What a release of ``version`` (its tag) does by ``plan``."""
    service = plan.service
    steps = tuple(_steps(plan, found, around))
    at_least = sum(step.seconds for step in steps)
    return Forecast(
        environment=plan.environment,
        service=service.name,
        version=version,
        strategy=service.strategy,
        found=found,
        steps=steps,
        back=(*(_BACK_BY_PODS if service.by_pods else _BACK[service.strategy]), *_always_back(plan), *_by_helm(plan)),
        stays=tuple(_stays(plan)),
        warnings=tuple(warnings),
        image=with_digest(f"{service.image}:{version}", plan.digest),
        when=tuple(sections.when(around, at_least)),
        told=tuple(sections.told(around)),
        no_return=sections.point_of_no_return(around, _BY_RELEASE if _whole_again(plan) else _BY_ROLLBACK),
        later=tuple(_later(plan, found)),
        judge=tuple(_judge(plan)),
        outlook=around.outlook,
    )


def _steps(plan: ReleasePlan, found: Found, around: Around) -> Iterator[Ahead]:
    """In order; an approval comes before the step that waits for it."""
    asked = approvals.points(plan)
    if approvals.TRAFFIC in asked:
        yield _approval(plan, "awaiting-approval", approvals.TRAFFIC)
    yield from _before_traffic(plan, around)
    for step in _FORWARD[plan.service.strategy](plan, found):
        point = {"switch": approvals.SWITCH, "promote": approvals.PROMOTION}.get(step.phase, "")
        point = approvals.point_of(step.weight) if step.phase == "canary" and step.weight else point
        if point in asked:
            asked.remove(point)
            yield _approval(plan, step.phase, point)
        yield step
    yield from (_hook("together", one) for one in plan.after)
    yield _evidence()


def _approval(plan: ReleasePlan, phase: Phase, point: str) -> Ahead:
    asked = plan.approvals
    assert asked is not None
    many = f"{asked.at_least} people approve" if asked.at_least > 1 else "somebody approves"
    who = f" (of {', '.join(asked.by)})" if asked.by else ""
    other = ", not who started it" if asked.four_eyes else ""
    back = "it is closed, nothing was changed" if phase == "awaiting-approval" else "it goes back"
    what = f"APPROVAL {approvals.before(point)}: wait until {many}{who}{other}, for at most {span(asked.within)}; else "
    return Ahead(phase, what + back)


def _hook(phase: Phase, hook: HookPlan) -> Ahead:
    what = f"run Job {hook.name} ({hook.image}), for at most {span(hook.timeout)}"
    return Ahead(phase, f"{what}; it is tried once, and one that fails takes the release back")


def _before_traffic(plan: ReleasePlan, around: Around) -> Iterator[Ahead]:
    yield from (_hook("prepare", one) for one in plan.before)
    yield Ahead("prepare", "keep Deployment, Service, route and autoscaler as they are in a ConfigMap of the cluster")
    taken = f"take {sections.backup(around)}"
    yield Ahead("backup", f"{taken}: complete in each and read back, or the release stops here and nothing has changed")
    for secret in plan.secrets:
        new = f"{secret.name}-<hash of its values> beside {secret.replaces}"
        yield Ahead("secrets", f"make Secret {new}, with {', '.join(key for key, _ in secret.values)}")
    if not plan.secrets:
        yield Ahead("secrets", "no Secret changes with this version")
    for config in plan.configs:
        new = f"{config.name}-<hash of its texts> beside {config.replaces}"
        keys = ", ".join([*config.keys, *([f"each file of {config.folder}"] if config.folder else [])])
        yield Ahead("secrets", f"make ConfigMap {new}, with {keys}")
    if plan.migration is None:
        yield Ahead("migrate", "this version brings no migration")
        return
    indexes = ", ".join(f"{one.collection}({', '.join(key for key, _ in one.keys)})" for one in plan.migration.indexes)
    limit = span(plan.waits.job)
    yield Ahead("migrate", f"run Job {plan.migration.job}, for at most {limit}: indexes {indexes or 'none'}")


def _by_helm(plan: ReleasePlan) -> Iterator[str]:
    if (chart := plan.chart) is not None:
        told = f"{plan.service.deployment} is changed by `helm upgrade {chart.release}` alone, with {chart.image_value}"
        yield f"{told} and {chart.release_value}, and comes back by `helm rollback` to the revision of before"


def _router(plan: ReleasePlan) -> str:
    service = plan.service
    if service.by_pods:
        return f"router replica-ratio: Service {service.service} leads to all pods, so the share is that of pods"
    rule = f"rule {service.route.rule} of HTTPRoute {service.route.name}" if service.route else "its HTTPRoute"
    return f"router {service.router}: weights in {rule}"


def _canary(plan: ReleasePlan, found: Found) -> Iterator[Ahead]:
    waits, service = plan.waits, plan.service
    yield Ahead("canary", f"requests are split by {_router(plan)}")
    yield Ahead(
        "canary",
        f"make {service.deployment}-canary, pods of the new version beside stable, and wait until they are ready and "
        f"the router had {span(waits.propagation)} to see them; an autoscaler keeps "
        f"{'what is left of stable' if service.by_pods else 'stable'}'s pods meanwhile",
        waits.propagation,
    )
    for number, stage in enumerate(plan.stages, 1):
        looks = max(1, ceil(stage.hold / waits.look))
        pods = pods_for(stage.weight, found.capacity) if found.capacity else 0
        needs = f" on {pods} pod{'' if pods == 1 else 's'}" if pods else ""
        needs += f", and stable asks for {found.capacity - pods}" if pods and service.by_pods else ""
        held = f"held for {span(stage.hold)} with {looks} look{'' if looks == 1 else 's'}, one each {span(waits.look)}"
        what = f"stage {number} of {len(plan.stages)}: {stage.weight} % of requests{needs}, {held}"
        yield Ahead("canary", what, max(stage.hold, looks * waits.look), stage.weight, pods, looks)
    yield from _users(plan)
    settle = span(waits.propagation)
    all_pods = f"its {found.capacity} pods" if found.capacity else "as many pods as stable"
    if service.by_pods:
        yield from _promoted_by_pods(plan, all_pods)
        return
    yield Ahead(
        "promote", f"the canary gets {all_pods}, then 100 % of requests; {settle} for the router", waits.propagation
    )
    yield Ahead(
        "promote", f"{service.deployment} gets the new template, is ready and seen for {settle}", waits.propagation
    )
    yield Ahead(
        "promote", f"requests go back to {service.deployment}; {settle}, then the canary goes", waits.propagation
    )


def _users(plan: ReleasePlan) -> Iterator[Ahead]:
    service, rules = plan.service, "by rules of the route that come and go in the same write as the weight"
    if service.sticky:
        cookie = f"cookie {cookie_name(service.service)}{', in frames of other sites too' if service.embedded else ''}"
        yield Ahead("canary", f"meanwhile each user keeps to one version within a stage by {cookie}, {rules}")
    if (testers := service.testers) is not None:
        sent = f"`{testers.header}: {testers.value}`"
        yield Ahead("canary", f"meanwhile whoever sends {sent} gets the canary, {rules}")


def _promoted_by_pods(plan: ReleasePlan, all_pods: str) -> Iterator[Ahead]:
    name, seconds = plan.service.deployment, plan.waits.propagation
    settle = span(seconds)
    yield Ahead("promote", f"the canary gets {all_pods}; once they are seen {name} is scaled to 0; {settle}", seconds)
    yield Ahead("promote", f"{name} gets the new template, then all of its pods, ready and seen for {settle}", seconds)
    yield Ahead("promote", "the canary goes; its pods serve until the router has forgotten them")


def _blue_green(plan: ReleasePlan, found: Found) -> Iterator[Ahead]:
    setting, settle, front = plan.blue_green, plan.waits.propagation, plan.service.service
    tests = len(setting.tests) if setting else 0
    pods = f"all {found.capacity} pods" if found.capacity else "all pods"
    yield Ahead(
        "preview", f"bring the other colour up with {pods} of the new version; {span(settle)} to see them", settle
    )
    asked = ", ".join(f"GET {test.path}" for test in setting.tests) if setting else ""
    each = f"ask {asked} of it, once for each pod," if tests else "ask nothing"
    yield Ahead("preview", f"{each} by a preview that no user takes; one that fails takes the release back")
    yield Ahead("switch", f"Service {front} selects the new colour; {span(settle)} for the router", settle, weight=100)
    for stage in plan.stages:
        looks = max(1, ceil(stage.hold / plan.waits.look))
        kept = f"keep the old colour ready for {span(stage.hold)} with {looks} looks, for an instant way back"
        yield Ahead("warm", kept, max(stage.hold, looks * plan.waits.look), stage.weight, looks=looks)
    yield Ahead(
        "warm", "the old colour goes to sleep: its Deployment stays, without pods, and is the other one next time"
    )


def _rolling(plan: ReleasePlan, found: Found) -> Iterator[Ahead]:
    name, settle = plan.service.deployment, span(plan.waits.propagation)
    limit = span(plan.waits.ready + plan.waits.propagation)
    pods = f"its {found.capacity} pods" if found.capacity else "its pods"
    yield Ahead("roll", f"the autoscaler of {name}, where it has one, keeps at least {pods} meanwhile")
    yield Ahead("roll", f"{name} gets the new image; Kubernetes replaces {pods}, none unavailable meanwhile")
    yield Ahead(
        "roll",
        f"each new pod counts once it is up for {settle}; no progress for {limit} goes back",
        plan.waits.propagation,
    )
    yield Ahead("roll", f"the judge looks every {span(plan.waits.look)} meanwhile, where the metrics know the service")


def _recreate(plan: ReleasePlan, found: Found) -> Iterator[Ahead]:
    name, waits = plan.service.deployment, plan.waits
    pods = f"{found.capacity} pod{'' if found.capacity == 1 else 's'}" if found.capacity else "its pods"
    yield Ahead("roll", f"{name} is scaled to 0: FROM HERE ON NOTHING OF IT RUNS, until the new version does")
    yield Ahead(
        "roll", f"wait until no pod of it is left; one that hangs is not forced, after {span(waits.ready)} it says so"
    )
    yield Ahead("roll", f"{name} gets the new image, and {pods}: never two versions at once")
    yield Ahead(
        "roll",
        f"wait until all are up for {span(waits.propagation)}; not so within {span(waits.ready)} goes back",
        waits.propagation,
    )


def _evidence() -> Ahead:
    return Ahead("evidence", "write the record of what happened to the stores of the backups, then close")


_FORWARD: Mapping[Strategy, Callable[[ReleasePlan, Found], Iterator[Ahead]]] = {
    "canary": _canary,
    "blue-green": _blue_green,
    "rolling": _rolling,
    "recreate": _recreate,
}
_BACK_BY_PODS = (
    "stable gets all of its pods again at once, and the canary loses one for each that the router sees",
    "so the way back takes as long as pods of stable need to start",
    "a stable that has the new template already gets its old one back beside a canary with all pods",
    "the canary and Secrets that only it used are removed",
)
_BACK: Mapping[Strategy, tuple[str, ...]] = {
    "canary": (
        "the weight goes at once to what is healthy, and never to more than ready pods can carry",
        "a stable that has the new template already gets its old one back behind the canary",
        "the canary, its Service, its entry in the route, Secrets and ConfigMaps that only it used are removed",
    ),
    "blue-green": (
        "the Service selects the old colour again, at once while it is warm",
        "the new colour is removed, or gets back the template that it had, without pods",
    ),
    "rolling": ("the Deployment gets back the template that was recorded before",),
    "recreate": ("the Deployment gets back the template that was recorded before, old pods after new ones",),
}


def _always_back(plan: ReleasePlan) -> Iterator[str]:
    """Of every strategy: who takes it back, and what nobody takes back."""
    where = f"-e {plan.environment} -s {plan.service.name}"
    yield f"by itself, when a look or a hook fails, or a wait is over; by a person: `onlyvips release abort {where}`"
    yield "when its driver dies, the reconciler takes it back, or completes it where all users have the new version"
    if plan.migration is not None:
        yield f"what Job {plan.migration.job} made stays"


_BY_ROLLBACK, _BY_RELEASE = "`release rollback`", "a release of the old version"


def _whole_again(plan: ReleasePlan) -> bool:
    """Whether the old version comes back by a release alone, as ``wiring.rollbacks`` refuses it."""
    return plan.service.strategy == "blue-green" or plan.chart is not None


def _later(plan: ReleasePlan, found: Found) -> Iterator[str]:
    """After it was promoted and closed."""
    image = found.image or "what ran before"
    if _whole_again(plan):
        kept = "the old colour sleeps with" if plan.service.strategy == "blue-green" else "its chart had"
        yield f"{kept} {image}; to have it again, release that version"
        return
    where = f"-e {plan.environment} -s {plan.service.name}"
    yield f"`onlyvips release rollback {where}` brings {image} back with its whole template, by a release of its own"
    yield "it looks at every stage once, takes no backup, and is never frozen; a migration is not undone"


def _judge(plan: ReleasePlan) -> Iterator[str]:
    if plan.service.strategy in ("rolling", "recreate"):
        yield "a service that the metrics do not know, or with too few requests, is promoted when its pods are up"
    for rail in plan.guardrails:
        what = "fail" if rail.kind == "errors" else f"take more than {rail.bound:g} s"
        recent = f", in the stage or in the last {span(rail.recent)}" if rail.recent else ""
        limit = f"surely more than {rail.threshold * 100:.3g} % of requests {what}{recent}"
        yield f"{rail.name}: goes back when {limit}, once {rail.minimum_requests} were seen"
    if plan.margins is not None:
        errors, latency = plan.margins.errors * 100, plan.margins.latency * 100
        worse = f"surely {errors:g} points more errors, or slower {latency:g} points more often than half of the time"
        yield f"beside stable: goes back when it has {worse}"
    yield f"no data, or too few requests, for {span(plan.waits.maximum_hold)}: it holds, then goes back as inconclusive"


def _stays(plan: ReleasePlan) -> Iterator[str]:
    yield "the record and the snapshot, as ConfigMaps of the namespace, and the evidence in every store"
    yield "the backup, for as long as retention keeps it"
    if plan.secrets:
        yield f"old Secrets ({', '.join(secret.replaces for secret in plan.secrets)}): a rollback needs them"
    if plan.configs:
        yield f"old ConfigMaps ({', '.join(config.replaces for config in plan.configs)}): a rollback needs them"
    if plan.migration is not None:
        yield "indexes that the migration made: a rollback does not undo them, and an index more does no harm"


def lines(told: Forecast) -> list[str]:
    """For a terminal."""
    found, image = told.found, told.found.image or "(what runs now could not be seen)"
    pods = f" on {found.capacity} pod{'' if found.capacity == 1 else 's'}" if found.capacity else ""
    return [
        f"{told.service} {told.version} in {told.environment} by {told.strategy}: it would replace {image}{pods}.",
        f"It brings {told.image}.",
        *_listed("It may begin:", told.when),
        "",
        *(f"{number:3}. {_row(step)}" for number, step in enumerate(told.steps, 1)),
        "",
        f"At least {span(told.at_least)} of holds and waits for the router; pods, backup and migration come on top.",
        *_listed("Judged by:", told.judge),
        *_listed("If it goes back:", told.back),
        *_listed("Point of no return:", [told.no_return]),
        *_listed("Once it is promoted:", told.later),
        *_listed("What stays:", told.stays),
        *_listed("Who is told:", told.told),
        *_listed("Warnings:", told.warnings),
        *_listed("It would be refused now:", found.refusals),
        "",
        "Nothing was changed." + ("" if found.refusals else " Nothing known would refuse it now."),
    ]


def _row(step: Ahead) -> str:
    return f"{step.phase:<9} {step.what}" + (f"  [{span(step.seconds)}]" if step.seconds else "")


def _listed(head: str, told: Sequence[str]) -> list[str]:
    return ["", head, *(f"  - {one}" for one in told)] if told else []


def to_dict(told: Forecast) -> dict[str, Any]:
    """For machines."""
    return {**asdict(told), "at_least": told.at_least, "ok": not told.found.refusals}
