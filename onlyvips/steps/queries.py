"""The judge's queries, tried on stable before a release: one that gives nothing, or too much, cannot judge anybody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onlyvips.core.plan import Guardrail, ReleasePlan
from onlyvips.core.spans import span
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports import Metrics, Sample
from onlyvips.steps.deployed import NOTHING, Where
from onlyvips.steps.looks import buckets

_RECENT = 300.0
_PLACES = ("namespace", "cluster", "environment", "env", "region")
_SOURCES = (*_PLACES, "job", "prometheus", "prometheus_replica", "replica")
"""Labels that say where a series is from. Those of one service are of one place: else two clusters, or a pod that is
scraped twice, are counted as one."""


@dataclass(frozen=True)
class Query:
    """A counter of the judge's: the key in the environment that names it, its name and the labels of stable's."""

    key: tuple[str, ...]
    metric: str
    labels: Mapping[str, str]

    @property
    def text(self) -> str:
        """As a person asks Prometheus for it."""
        return f"{self.metric}{_braced(self.labels)}"


def check_queries(metrics: Metrics, plan: ReleasePlan, where: Where) -> None:
    """Raise Refused with every query of the judge that gives no series of stable's, or those of several places.

    In place (rolling, recreate) nothing at all is no mistake: such a release is judged by its pods alone, and says so.
    """
    try:
        flaws = list(_flaws(metrics, plan, where))
    except Transient as error:
        raise Refused(f"{error} Without it nobody can judge a release: {NOTHING}; bring it back first.") from error
    except Permanent as error:
        raise Refused(f"{error} Nobody could judge a release: {NOTHING}.") from error
    if flaws:
        raise Refused("\n".join(flaws))


def _flaws(metrics: Metrics, plan: ReleasePlan, where: Where) -> Iterator[str]:
    now, names = metrics.now(), plan.metrics

    def ask(metric: str, labels: Mapping[str, str]) -> list[Sample]:
        return metrics.samples(metric, labels, now - _RECENT, now)

    in_place = plan.service.strategy in ("rolling", "recreate")
    if in_place and not ask(names.requests, {"app": plan.service.name}):
        return
    for query in _queries(plan):
        found = _of_colours(ask(query.metric, query.labels), plan)
        if not found and not _may_be_absent(query, plan):
            yield _none(query, where, ask(query.metric, {"app": plan.service.name}), plan)
        elif several := _several(found):
            yield _many(query, where, found, several)
        elif found and plan.service.strategy == "canary" and not any("version" in _labels(one) for one in found):
            yield _unversioned(query, where, found)
    for rail in plan.guardrails:
        yield from _without_bound(rail, plan, ask, where)


def _queries(plan: ReleasePlan) -> Iterator[Query]:
    names, labels = plan.metrics, {"app": plan.service.name}
    if plan.service.strategy == "canary":
        labels["track"] = "stable"
    yield Query(("monitoring", "metrics", "requests"), names.requests, labels)
    yield Query(("monitoring", "metrics", "errors"), names.errors, labels)
    yield Query(("monitoring", "metrics", "latency"), f"{names.latency}_bucket", labels)


def _may_be_absent(query: Query, plan: ReleasePlan) -> bool:
    return query.metric == plan.metrics.errors and plan.metrics.errors_may_be_absent


def _of_colours(found: list[Sample], plan: ReleasePlan) -> list[Sample]:
    """In blue-green, those that say which colour they are of: by that the new one's are found."""
    if plan.blue_green is None:
        return found
    return [one for one in found if _labels(one).get(plan.blue_green.label) in plan.blue_green.colours]


def _several(found: Iterable[Sample]) -> dict[str, list[str]]:
    """Labels of the source in which the series differ, with their values."""
    seen = {name: sorted({_labels(one).get(name, "") for one in found}) for name in _SOURCES}
    return {name: values for name, values in seen.items() if len(values) > 1}


def _none(query: Query, where: Where, others: list[Sample], plan: ReleasePlan) -> str:
    said = f"{where(*query.key)}: the judge's query `{query.text}` gave no series in the last {span(_RECENT)}"
    if plan.blue_green is not None:
        said += f" with `{plan.blue_green.label}` of {' or '.join(plan.blue_green.colours)}"
    if others:
        return f"{said}, and without more than `app` {_examples(others)}: {NOTHING}; have its pods scraped with it."
    if query.metric == plan.metrics.errors:
        remedy = (
            "export it from 0 on, correct its name, or say `analysis.errors_may_be_absent: true`: then no series is no "
            "error"
        )
        return f"{said}: {NOTHING}; {remedy}."
    return f"{said}: {NOTHING}; correct its name, or see in Prometheus' targets why {plan.service.name} is not scraped."


def _many(query: Query, where: Where, found: list[Sample], several: Mapping[str, list[str]]) -> str:
    each = {name: ", ".join(value or "absent" for value in values) for name, values in several.items()}
    what = "; ".join(f"`{name}` is {values}" for name, values in each.items())
    return (
        f"{where(*query.key)}: the judge's query `{query.text}` gave series of several places ({what}), which would be "
        f"counted as one: {_examples(found, several)}: {NOTHING}; scrape each pod once, and give others another `app`."
    )


def _unversioned(query: Query, where: Where, found: list[Sample]) -> str:
    return (
        f"{where(*query.key)}: the judge's query `{query.text}` gave series without `version`, by which the canary's "
        f"are found: {_examples(found)}: {NOTHING}; have the pods' label `version` taken over where they are scraped."
    )


def _without_bound(
    rail: Guardrail, plan: ReleasePlan, ask: Callable[[str, Mapping[str, str]], list[Sample]], where: Where
) -> Iterator[str]:
    """A limit of latency between two buckets can never be judged."""
    if rail.kind != "latency":
        return
    query = list(_queries(plan))[-1]
    found = _of_colours(ask(query.metric, query.labels), plan)
    if not found or any(_labels(one).get("le") in buckets(rail.bound) for one in found):
        return
    bounds = sorted({float(_labels(one)["le"]) for one in found if "le" in _labels(one)})
    known = ", ".join(f"{bound:g}" for bound in bounds)
    yield (
        f"{where('monitoring', 'alerts', rail.name, 'above')}: `{query.text}` has no bucket that ends at "
        f"{rail.bound:g} s (it has {known}), so {rail.name} could never be judged: {NOTHING}; take one of them, or "
        "give the service's histogram that bucket."
    )


def _examples(found: Sequence[Sample], differing: Iterable[str] = ()) -> str:
    """How many series, and two of them: two that differ, where it is about that."""
    key = [tuple(_labels(one).get(name, "") for name in differing) for one in found]
    second = next((one for one, values in zip(found, key, strict=True) if values != key[0]), found[-1])
    shown = " and ".join(dict.fromkeys(_written(one) for one in (found[0], second)))
    return f"{len(found)} series, such as {shown}"


def _written(sample: Sample) -> str:
    return _braced({name: value for name, value in sample.labels if name != "__name__"})


def _braced(labels: Mapping[str, str]) -> str:
    """As PromQL writes labels."""
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def _labels(sample: Sample) -> dict[str, str]:
    return dict(sample.labels)
