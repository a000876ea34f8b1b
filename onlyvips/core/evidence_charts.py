"""The plots of a release's evidence, from the document that is kept. Pure.

Documents are read as they were written, perhaps by an older or a newer program: what is not there is not drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from onlyvips.core.chart import Chart, Line, Point
from onlyvips.core.report import clock_time

_SET_WEIGHT = re.compile(r"set weight (\d+) %")
_SWITCH = re.compile(r"switch to (\S+)")
_READ_BACK = re.compile(r"the route shows (\d+) %|: (\d+) % are the canary's")
"""What the gateway, and a Service over a count of pods, is read back as."""

Seen = tuple[Mapping[str, Any], Mapping[str, Any]]
"""A look, and one value of it."""


def charts(document: Mapping[str, Any]) -> list[Chart]:
    """Weight over time, each guardrail, each comparison with stable, and the alpha spent; those that have points."""
    release, plan = document["release"], document.get("plan") or {}
    seen = _by_name(release.get("looks") or ())
    found = [_weight(release)]
    found += [_guardrail(name, values, seen, plan) for name, values in seen.items() if not _compares(values)]
    found += [_comparison(name, values) for name, values in seen.items() if _compares(values)]
    found.append(_alpha(release.get("looks") or (), plan))
    return [chart for chart in found if any(line.points for line in chart.lines)]


def _by_name(looks: Sequence[Mapping[str, Any]]) -> dict[str, list[Seen]]:
    """Values that counted something, by the metric's name, in the order of the looks."""
    found: dict[str, list[Seen]] = {}
    for look in looks:
        for value in look.get("values") or ():
            if value.get("total"):
                found.setdefault(value["name"], []).append((look, value))
    return found


def _compares(values: Sequence[Seen]) -> bool:
    return any(value.get("against") for _, value in values)


def _weight(release: Mapping[str, Any]) -> Chart:
    intended, read = list[Point](), weights_read(release)
    for step in release.get("steps") or ():
        if (weight := _asked_for(step, release)) is not None:
            intended.append((step["intended"], weight))
    began = _just_before([at for at, _ in (*intended, *read)], float(release["created"]))
    told = ", ".join(f"{weight:g} % at {clock_time(at)}" for at, weight in read) or "never set"
    lines = (
        Line("intended", "intended", "steps", ((began, 0.0), *intended) if intended else ()),
        Line("read back", "canary", "steps", ((began, 0.0), *read) if read else ()),
    )
    of = "the canary" if release.get("strategy", "canary") == "canary" else "the new version"
    return Chart(f"Weight of {of}", "%", f"Read back: {told}.", lines)


def _asked_for(step: Mapping[str, Any], release: Mapping[str, Any]) -> float | None:
    """The share of requests that a step is to give to the new version."""
    if asked := _SET_WEIGHT.search(step["action"]):
        return float(asked.group(1))
    colours, switched = release.get("colours") or (), _SWITCH.search(step["action"])
    return (100.0 if switched.group(1) == colours[-1] else 0.0) if switched and colours else None


def weights_read(release: Mapping[str, Any]) -> list[Point]:
    """The new version's share of requests each time that it was read back; of a switch, which is done when it was read
    back, all or nothing."""
    found = list[Point]()
    for step in release.get("steps") or ():
        shown = _READ_BACK.search(step.get("observed") or "")
        share = float(shown.group(1) or shown.group(2)) if shown else None
        if share is None and _SWITCH.search(step["action"]):
            share = _asked_for(step, release)
        if share is not None and step.get("done"):
            found.append((step["done"], share))
    return found


def _just_before(times: Sequence[float], created: float) -> float:
    """Where the plot of weights begins: what comes before the first of them may take an hour, and is flat."""
    return max(created, min(times) - 1 - 0.05 * (max(times) - min(times))) if times else created


def _guardrail(name: str, values: Sequence[Seen], seen: Mapping[str, Sequence[Seen]], plan: Mapping[str, Any]) -> Chart:
    shares = tuple((look["at"], 100 * value["share"]) for look, value in values)
    reach = tuple((100 * value["lower_bound"], 100 * value["share"]) for _, value in values)
    limit = 100 * values[-1][1]["threshold"]
    rail: Mapping[str, Any] = next((one for one in plan.get("guardrails") or () if one["name"] == name), {})
    slow = rail.get("kind") == "latency"
    what = f"requests slower than {1000 * rail['bound']:g} ms" if slow else "requests that were errors"
    last = values[-1][1]
    told = (
        f"At the last look {last['bad']} of {last['total']} requests of the new version ({shares[-1][1]:.3g} %), "
        f"surely at least {reach[-1][0]:.3g} %; the limit is {limit:g} %."
    )
    lines = [
        Line("new version, and its lower bound", "canary", "dots", shares, reach),
        _limit(f"limit {limit:g} %", values),
    ]
    if not slow:
        lines.insert(1, Line("stable", "stable", "dots", _stables_errors(seen)))
    return Chart(f"{name}: share of {what}", "%", told, tuple(lines))


def _stables_errors(seen: Mapping[str, Sequence[Seen]]) -> tuple[Point, ...]:
    """Stable's share of errors, which a comparison of errors tells by the way."""
    values = next((values for name, values in seen.items() if name.startswith("errors-")), ())
    return tuple((look["at"], 100 * value["against"]["share"]) for look, value in values if value.get("against"))


def _limit(name: str, values: Sequence[Seen]) -> Line:
    points = tuple((look["at"], 100 * value["threshold"]) for look, value in values)
    return Line(name, "limit", "limit", points)


def _comparison(name: str, values: Sequence[Seen]) -> Chart:
    pairs = [(look, value, value["against"]) for look, value in values if value.get("against")]
    effects = tuple((look["at"], 100 * beside["effect"]) for look, _, beside in pairs)
    reach = tuple((100 * beside["low"], 100 * beside["high"]) for _, _, beside in pairs)
    margin, (_, value, last) = 100 * pairs[-1][1]["threshold"], pairs[-1]
    slower = name.startswith("latency")
    what = "how much more often than not it is slower" if slower else "its share of errors less stable's"
    told = (
        f"At the last look {effects[-1][1]:+.3g} points ({reach[-1][0]:+.3g} to {reach[-1][1]:+.3g} at 95 %), p "
        f"{last['p']:.2g}, margin {margin:g}, of {value['total']} requests of the canary and {last['total']} of stable."
    )
    lines = (
        Line("canary less stable, with 95 % interval", "canary", "dots", effects, reach),
        _limit(f"margin {margin:g}", values),
        Line("alike", "stable", "limit", tuple((at, 0.0) for at, _ in effects)),
    )
    return Chart(f"{name}: {what}", "points", told, lines)


def _alpha(looks: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> Chart:
    """Each value spent what it was judged at; one that is judged twice, in its last minutes too, twice that."""
    twice = {one["name"] for one in plan.get("guardrails") or () if one.get("recent")}
    spent, points = 0.0, list[Point]()
    for look in looks:
        if look.get("values"):
            spent += sum(value["alpha"] * (2 if value["name"] in twice else 1) for value in look["values"])
        else:  # of an old look the values are gone, what they spent is not
            spent += float(look.get("spent") or 0.0)
        if look.get("values") or look.get("spent"):
            points.append((look["at"], 100 * spent))
    whole = 100 * float(plan.get("alpha") or 0.0)
    told = f"{100 * spent:.3g} % of {whole:g} % after {len(points)} looks, over all metrics."
    lines = (
        Line("spent", "canary", "steps", tuple(points)),
        Line(f"all there is, {whole:g} %", "limit", "limit", tuple((at, whole) for at, _ in points)),
    )
    return Chart("Alpha spent: the chance that a good version is sent back", "%", told, lines)
