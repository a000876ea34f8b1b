"""A Deployment that a Helm release owns: what its revisions say, and how they stand to what a release recorded. Pure.

A Helm release is brought forward by ``helm upgrade`` with declared values alone, and back by ``helm rollback`` to the
recorded revision; that nothing but the one Deployment differs between the two is looked at, never assumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from onlyvips.core.manifests import RELEASE, Manifest, fingerprint, new_template, template_release
from onlyvips.core.plan import ChartPlan, ReleasePlan
from onlyvips.core.record import Record
from onlyvips.core.referred import is_generation
from onlyvips.core.world import Standing


@dataclass(frozen=True)
class Revision:
    """One revision of a Helm release: its number, Helm's word for its ``status`` and ``chart``, what it consists of,
    and the names of hooks that an upgrade or a rollback would run."""

    number: int
    status: str
    objects: tuple[Manifest, ...]
    hooks: tuple[str, ...] = ()

    def own(self, deployment: str) -> Manifest | None:
        """Its Deployment of that name."""
        return next((each for each in self.objects if _key(each) == ("Deployment", deployment)), None)

    def others(self, deployment: str) -> dict[tuple[str, str], Manifest]:
        """All that it has besides, by kind and name."""
        return {_key(each): each for each in self.objects if _key(each) != ("Deployment", deployment)}


def _key(manifest: Manifest) -> tuple[str, str]:
    return str(manifest.get("kind", "")), str(manifest.get("metadata", {}).get("name", ""))


def pinned(record: Record, found: Revision, deployment: str) -> Record:
    """The record with what it comes back to: the revision that is live before anything changes."""
    return replace(
        record,
        chart_revision=found.number,
        chart_own=fingerprint(found.own(deployment)),
        chart_others=_fingerprint_of(found.others(deployment)),
    )


def _fingerprint_of(others: Mapping[tuple[str, str], Manifest]) -> str:
    return fingerprint([others[key] for key in sorted(others)])


def is_ours(record: Record, found: Revision, deployment: str) -> bool:
    """Whether its Deployment is the one that this release brings."""
    own = found.own(deployment)
    return own is not None and template_release(own) == record.id


def same_own(record: Record, found: Revision, deployment: str) -> bool:
    """Whether its Deployment is the one that this release found."""
    return fingerprint(found.own(deployment)) == record.chart_own


def standing(record: Record, found: Revision | None, deployment: str) -> Standing:
    """What the newest revision is to a release that meant to change it."""
    if found is None:
        return "other"
    ours = is_ours(record, found, deployment)
    if not ours and not same_own(record, found, deployment):
        return "other"
    if _fingerprint_of(found.others(deployment)) != record.chart_others:
        return "moved" if not ours and found.status == "deployed" else "other"
    if found.status == "deployed":
        return "ours" if ours else "before"
    return "unfinished" if found.status == "failed" or found.status.startswith("pending-") else "other"


def values_for(plan: ReleasePlan, version: str, release: str, secrets: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The chart's values that bring ``version``: its tag, the release's id, new names of Secrets."""
    chart = _chart(plan)
    found = {chart.image_value: version, chart.release_value: release}
    for old, new in secrets:
        for one in plan.secrets:
            if is_generation(old, one.replaces, one.name):
                found[dict(chart.secret_values)[one.name]] = new
    return found


def _chart(plan: ReleasePlan) -> ChartPlan:
    assert plan.chart is not None
    return plan.chart


def wrong(
    plan: ReleasePlan, now: Revision, then: Revision, version: str, release: str, secrets: Mapping[str, str]
) -> str:
    """What an upgrade from ``now`` to ``then`` would do other than give the Deployment the new template, in words; ""
    where it does that alone."""
    name = plan.service.deployment
    before, after = now.own(name), then.own(name)
    if before is None or after is None:
        return f"it has no Deployment {name}"
    mine, theirs = now.others(name), then.others(name)
    changed = [
        f"{kind} {one}" for kind, one in sorted(mine | theirs) if mine.get((kind, one)) != theirs.get((kind, one))
    ]
    if changed:
        return f"it would change {', '.join(changed)} too"
    expected = new_template(before, plan.service.image, version, release, {"Secret": secrets})
    wanted = {**before, "spec": {**before["spec"], "template": expected}}
    if (where := next(_differences(wanted, after, ""), "")) == "":
        return ""
    hint = f" (`{RELEASE}: {{{{ .Values.{_chart(plan).release_value} }}}}` belongs there)" if RELEASE in where else ""
    return f"it does not give Deployment {name} the new version alone: {where}{hint}"


def edited(own: Manifest, live: Manifest) -> str:
    """Where the live Deployment is not as its chart says, which an upgrade would undo; "" where it is nowhere."""
    return next(_differences(own["spec"], live["spec"], ".spec", all_of=False), "")


def _differences(wanted: object, found: object, path: str, *, all_of: bool = True) -> Iterator[str]:
    """Places where ``found`` is not as ``wanted``; with ``all_of``, what ``found`` has besides is a difference too."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted(wanted.keys() | found.keys() if all_of else wanted.keys()):
            below = f"{path}.{key}"
            if wanted.get(key) is not None or found.get(key) is not None:
                yield from _differences(wanted.get(key), found.get(key), below, all_of=all_of)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _differences(one, other, f"{path}[{number}]", all_of=all_of)
    elif wanted != found and not (_quantity(wanted) == _quantity(found) is not None):
        yield f"{path.removeprefix('.')} is {_told(found)}, expected is {_told(wanted)}"


_UNITS = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def _quantity(value: object) -> float | None:
    """A number that Kubernetes writes in several ways; None for what is none."""
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    unit = next((one for one in sorted(_UNITS, key=len, reverse=True) if text.endswith(one)), "")
    try:
        return float(text.removesuffix(unit)) * _UNITS.get(unit, 1)
    except ValueError:
        return None


def _told(value: object) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str | int | float):
        return f"`{str(value)[:60]}`"
    return "absent" if value is None else "a mapping"
