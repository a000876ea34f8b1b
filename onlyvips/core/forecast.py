"""All that a release will do, said before it begins: step by step, from its plan and what the preflight found. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from onlyvips.core.phases import Phase
from onlyvips.core.plan import ReleasePlan, Strategy
from onlyvips.core.spans import span
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
    """What will happen, how it would go back, and how long it takes at least."""

    environment: str
    service: str
    version: str
    strategy: Strategy
    found: Found
    steps: tuple[Ahead, ...]
    back: tuple[str, ...]
    stays: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def at_least(self) -> float:
        """Seconds of holds and of waits for the router: pods, the backup and the migration take theirs besides."""
        return sum(step.seconds for step in self.steps)


def forecast(plan: ReleasePlan, version: str, found: Found, warnings: Sequence[str] = ()) -> Forecast:
    """What a release of ``version`` does by ``plan``."""
    service = plan.service
    return Forecast(
        environment=plan.environment,
        service=service.name,
        version=version,
        strategy=service.strategy,
        found=found,
        steps=(*_before_traffic(plan), *_FORWARD[service.strategy](plan, found), _evidence()),
        back=_BACK[service.strategy],
        stays=tuple(_stays(plan)),
        warnings=tuple(warnings),
    )


def _before_traffic(plan: ReleasePlan) -> Iterator[Ahead]:
    yield Ahead("prepare", "keep Deployment, Service, route and autoscaler as they are in a ConfigMap of the cluster")
    yield Ahead("backup", "take a complete base of the database: every copy has it and was read back, or it stops here")
    for secret in plan.secrets:
        new = f"{secret.name}-<hash of its values> beside {secret.replaces}"
        yield Ahead("secrets", f"make Secret {new}, with {', '.join(key for key, _ in secret.values)}")
    if not plan.secrets:
        yield Ahead("secrets", "no Secret changes with this version")
    if plan.migration is None:
        yield Ahead("migrate", "this version brings no migration")
        return
    indexes = ", ".join(f"{one.collection}({', '.join(key for key, _ in one.keys)})" for one in plan.migration.indexes)
    limit = span(plan.waits.job)
    yield Ahead("migrate", f"run Job {plan.migration.job}, for at most {limit}: indexes {indexes or 'none'}")


def _canary(plan: ReleasePlan, found: Found) -> Iterator[Ahead]:
    waits, service = plan.waits, plan.service
    yield Ahead(
        "canary",
        f"make {service.deployment}-canary, pods of the new version beside stable, and wait until they are ready and "
        f"the router had {span(waits.propagation)} to see them",
        waits.propagation,
    )
    for number, stage in enumerate(plan.stages, 1):
        looks = max(1, ceil(stage.hold / waits.look))
        pods = pods_for(stage.weight, found.capacity) if found.capacity else 0
        needs = f" on {pods} pod{'' if pods == 1 else 's'}" if pods else ""
        held = f"held for {span(stage.hold)} with {looks} look{'' if looks == 1 else 's'}, one each {span(waits.look)}"
        what = f"stage {number} of {len(plan.stages)}: {stage.weight} % of requests{needs}, {held}"
        yield Ahead("canary", what, max(stage.hold, looks * waits.look), stage.weight, pods, looks)
    settle = span(waits.propagation)
    all_pods = f"its {found.capacity} pods" if found.capacity else "as many pods as stable"
    yield Ahead(
        "promote", f"the canary gets {all_pods}, then 100 % of requests; {settle} for the router", waits.propagation
    )
    yield Ahead(
        "promote", f"{service.deployment} gets the new template, is ready and seen for {settle}", waits.propagation
    )
    yield Ahead(
        "promote", f"requests go back to {service.deployment}; {settle}, then the canary goes", waits.propagation
    )


def _blue_green(plan: ReleasePlan, found: Found) -> Iterator[Ahead]:
    setting, settle, front = plan.blue_green, plan.waits.propagation, plan.service.service
    tests = len(setting.tests) if setting else 0
    pods = f"all {found.capacity} pods" if found.capacity else "all pods"
    yield Ahead(
        "preview", f"bring the other colour up with {pods} of the new version; {span(settle)} to see them", settle
    )
    yield Ahead("preview", f"ask its {tests} smoke test{'' if tests == 1 else 's'} by a preview that no user takes")
    yield Ahead("switch", f"Service {front} selects the new colour; {span(settle)} for the router", settle, weight=100)
    for stage in plan.stages:
        looks = max(1, ceil(stage.hold / plan.waits.look))
        kept = f"keep the old colour ready for {span(stage.hold)} with {looks} looks, for an instant way back"
        yield Ahead("warm", kept, max(stage.hold, looks * plan.waits.look), stage.weight, looks=looks)
    yield Ahead(
        "warm", "the old colour goes to sleep: its Deployment stays, without pods, and is the other one next time"
    )


def _rolling(plan: ReleasePlan, _: Found) -> Iterator[Ahead]:
    yield Ahead("roll", f"{plan.service.deployment} gets the new image; its own rolling update is watched to its end")


def _recreate(plan: ReleasePlan, _: Found) -> Iterator[Ahead]:
    yield Ahead("roll", f"{plan.service.deployment} stops all of its old pods, then starts the new version: never both")


def _evidence() -> Ahead:
    return Ahead("evidence", "write the record of what happened to the stores of the backups, then close")


_FORWARD: Mapping[Strategy, Callable[[ReleasePlan, Found], Iterator[Ahead]]] = {
    "canary": _canary,
    "blue-green": _blue_green,
    "rolling": _rolling,
    "recreate": _recreate,
}
_BACK: Mapping[Strategy, tuple[str, ...]] = {
    "canary": (
        "the weight goes at once to what is healthy, and never to more than ready pods can carry",
        "a stable that has the new template already gets its old one back behind the canary",
        "the canary, its Service, its entry in the route and Secrets that only it used are removed",
    ),
    "blue-green": (
        "the Service selects the old colour again, at once while it is warm",
        "the new colour is removed, or gets back the template that it had, without pods",
    ),
    "rolling": ("the Deployment gets back the template that was recorded before",),
    "recreate": ("the Deployment gets back the template that was recorded before, old pods after new ones",),
}


def _stays(plan: ReleasePlan) -> Iterator[str]:
    yield "the record and the snapshot, as ConfigMaps of the namespace, and the evidence in every store"
    yield "the backup, for as long as retention keeps it"
    if plan.secrets:
        yield f"old Secrets ({', '.join(secret.replaces for secret in plan.secrets)}): a rollback needs them"
    if plan.migration is not None:
        yield "indexes that the migration made: a rollback does not undo them, and an index more does no harm"


def lines(told: Forecast) -> list[str]:
    """For a terminal."""
    found, image = told.found, told.found.image or "(what runs now could not be seen)"
    pods = f" on {found.capacity} pods" if found.capacity else ""
    return [
        f"{told.service} {told.version} in {told.environment} by {told.strategy}: it would replace {image}{pods}.",
        "",
        *(f"{number:3}. {_row(step)}" for number, step in enumerate(told.steps, 1)),
        "",
        f"At least {span(told.at_least)} of holds and waits for the router; pods, backup and migration come on top.",
        *_listed("If it goes back:", told.back),
        *_listed("What stays:", told.stays),
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
