"""What a prune would do or did, for people and for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onlyvips.core.manifest import moment
from onlyvips.steps.prune import Pruned
from onlyvips.steps.survey import Survey


@dataclass(frozen=True)
class Result:
    """One kind: what was found and, but for a dry run, done; or ``why`` nothing was."""

    kind: str
    found: Survey | None = None
    done: Pruned | None = None
    why: str = ""

    @property
    def ok(self) -> bool:
        """Everything that was to be done was."""
        return not self.why and not (self.done and self.done.failures)


@dataclass(frozen=True)
class PruneReport:
    """All kinds; ``warnings`` are about who may delete where."""

    environment: str
    dry: bool
    results: tuple[Result, ...]
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return all(one.ok for one in self.results)


HEADS = ("backup", "kind", "what", "why")


def rows(report: PruneReport) -> list[tuple[str, str, str, str]]:
    """A line a backup: name, kind, keep or remove, every reason."""
    return [
        (one.backup.name, result.kind, one.action, "; ".join(one.reasons))
        for result in report.results
        if result.found
        for one in result.found.decisions
    ]


def lines(report: PruneReport) -> list[str]:
    """What else there is to say, a sentence each; the last one is the sum."""
    told = [line for result in report.results for line in _of_kind(result)]
    return [*told, *report.warnings, headline(report)]


def failures(report: PruneReport) -> list[str]:
    """What could not be done."""
    return [
        line for one in report.results for line in ([one.why] if one.why else one.done.failures if one.done else ())
    ]


def headline(report: PruneReport) -> str:
    """The prune in one sentence."""
    found = [one.found for one in report.results if one.found]
    going = sum(len(one.going) for one in found)
    staying = sum(len(one.decisions) for one in found) - going
    if report.dry:
        rest = sum(len(one.leftovers) for one in found)
        return f"{report.environment}: {going} backups would go, {staying} stay, {rest} leftovers; nothing was changed."
    done = [one.done for one in report.results if one.done]
    gone, rest = sum(len(one.removed) for one in done), sum(one.leftovers for one in done)
    failed = len(failures(report))
    told = f" {failed} things could not be done." if failed else ""
    return f"{report.environment}: {gone} backups removed, {staying} stay, {rest} leftovers removed.{told}"


def _of_kind(result: Result) -> list[str]:
    if result.found is None:
        return [f"{result.kind}: nothing was done: {result.why}"]
    counts = Counter((one.destination, one.why) for one in result.found.leftovers)
    verb = "removed" if result.done else "to be removed"
    told = [
        f"{result.kind}: {count} × {why} at {destination}, {verb}"
        for (destination, why), count in sorted(counts.items())
    ]
    if result.done is None:
        files = Counter(one.destination for one in result.found.relocks)
        told += [f"{result.kind}: {count} files at {name} to be locked for longer" for name, count in files.items()]
        locks = [(one.prefix.rstrip("/").rpartition("/")[2], one) for one in result.found.extensions]
        return [
            *told,
            *(
                f"{result.kind}: {name} at {one.destination} to be locked until {moment(one.until)}"
                for name, one in locks
            ),
        ]
    told += [f"{result.kind}: locked {what}" for what in result.done.extended]
    told += [f"{result.kind}: {what}" for what in result.done.left]
    told += [f"{result.kind}: {what}" for what in result.done.failures]
    return [*told, *([f"{result.kind}: written down in {result.done.evidence}"] if result.done.evidence else [])]


def as_json(report: PruneReport) -> dict[str, Any]:
    """Everything, for machines."""
    return {
        "ok": report.ok,
        "environment": report.environment,
        "dry_run": report.dry,
        "kinds": [_kind_json(one) for one in report.results],
        "warnings": list(report.warnings),
    }


def _kind_json(one: Result) -> dict[str, Any]:
    found, done = one.found, one.done
    return {
        "kind": one.kind,
        "why_not": one.why,
        "backups": [
            {"backup": each.backup.name, "prefix": each.backup.prefix, "what": each.action, "why": list(each.reasons)}
            for each in (found.decisions if found else ())
        ],
        "leftovers": [
            {"destination": each.destination, "key": each.version.key, "why": each.why}
            for each in (found.leftovers if found else ())
        ],
        "locks": [
            {"prefix": each.prefix, "destination": each.destination, "until": moment(each.until)}
            for each in (found.extensions if found else ())
        ],
        "removed": list(done.removed) if done else [],
        "left": list(done.left) if done else [],
        "failures": list(done.failures) if done else [],
        "evidence": done.evidence if done else "",
    }


def table(report: PruneReport) -> Sequence[dict[str, str]]:
    """The rows with their heads, for a table of Prefect."""
    return [dict(zip(HEADS, row, strict=True)) for row in rows(report)]
