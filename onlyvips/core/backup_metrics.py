"""What monitoring is told of backups: gauges a kind, from an audit. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onlyvips.core.audit import Report, Standing
from onlyvips.core.drill_findings import last_good
from onlyvips.core.drills import DrillRecord, Drills
from onlyvips.core.manifest import seconds


@dataclass(frozen=True)
class Gauge:
    """One value of a Prometheus gauge, with its labels in order."""

    name: str
    help: str
    labels: tuple[tuple[str, str], ...]
    value: float


_HELP = {
    "onlyvips_backup_last_success_timestamp_seconds": "When the newest good backup was finished, unix time.",
    "onlyvips_backup_age_seconds": "How old the newest good backup was when this was written.",
    "onlyvips_backup_recoverable_timestamp_seconds": "The newest moment that can be brought back, unix time.",
    "onlyvips_backup_duration_seconds": "How long the newest good backup took.",
    "onlyvips_backup_size_bytes": "Stored bytes of one copy of the newest good backup.",
    "onlyvips_backup_copies": "Copies of the newest good backup that are complete and were lately read back.",
    "onlyvips_backup_faults": "Faults that the audit found.",
}
_OF_DRILLS = {
    "onlyvips_drill_last_success_timestamp_seconds": "When the newest good drill (of latest) ended, unix time.",
    "onlyvips_drill_recovery_time_seconds": "How long the restore of the newest good drill took.",
    "onlyvips_drill_recovery_point_seconds": "How old the newest moment to be had was as the newest good drill began.",
}


def gauges(report: Report) -> list[Gauge]:
    """Every gauge of every kind; a kind without a backup has only its copies (0) and faults."""
    return [
        Gauge(name, _HELP[name], (("environment", report.environment), ("kind", one.kind)), value)
        for one in report.standings
        for name, value in _of_kind(one, report)
    ]


def drill_gauges(environment: str, drills: Drills, now: float) -> list[Gauge]:
    """The newest good drill of each kind, as the audit counts them; of a kind without one there is nothing."""
    good = {one.kind: last_good(drills, one.kind, now) for one in drills.records}
    return [
        Gauge(name, _OF_DRILLS[name], (("environment", environment), ("kind", kind)), value)
        for kind, one in good.items()
        if one is not None
        for name, value in _of_drill(one)
    ]


def _of_drill(one: DrillRecord) -> Iterator[tuple[str, float]]:
    yield "onlyvips_drill_last_success_timestamp_seconds", seconds(one.ended)
    for name, value in (
        ("onlyvips_drill_recovery_time_seconds", one.recovery_time_ms),
        ("onlyvips_drill_recovery_point_seconds", one.recovery_point_ms),
    ):
        if value is not None:
            yield name, value / 1000


def _of_kind(one: Standing, report: Report) -> Iterator[tuple[str, float]]:
    faults = sum(finding.severity == "fault" and finding.kind == one.kind for finding in report.findings)
    yield "onlyvips_backup_copies", len(one.copies)
    yield "onlyvips_backup_faults", faults
    if not one.newest:
        return
    finished = seconds(one.finished)
    yield "onlyvips_backup_last_success_timestamp_seconds", finished
    yield "onlyvips_backup_age_seconds", seconds(report.at) - finished
    if one.recoverable:
        yield "onlyvips_backup_recoverable_timestamp_seconds", seconds(one.recoverable)
    yield "onlyvips_backup_duration_seconds", finished - seconds(one.started)
    yield "onlyvips_backup_size_bytes", one.newest_size
