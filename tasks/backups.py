"""The verbs of backups for Prefect: thin tasks over ``onlyvips.wiring.backups``, and the artifacts that show them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.futures import as_completed
from prefect.runtime import flow_run

from onlyvips.core import backup_report as report
from onlyvips.core.audit import Report
from onlyvips.core.verification import Verification
from onlyvips.errors import Permanent
from onlyvips.steps import prune_report
from onlyvips.steps.backup import Taken
from onlyvips.steps.prune_report import PruneReport
from onlyvips.steps.repair import Repaired
from onlyvips.wiring import backups
from onlyvips.wiring import prune as pruning
from onlyvips.wiring.backups import Asked, Read
from tasks import showing
from tasks.policies import backup_task, step_task, until_whole


def _me(operator: str) -> str:
    return f"{operator or 'prefect'}, run {flow_run.name} ({flow_run.id}), attempt {flow_run.run_count}"


@contextmanager
def taking(environment: str, kind: str, operator: str) -> Iterator[str]:
    """Hold the kind's lease while the block takes one backup; the value is its id."""
    session = begin(environment, kind, _me(operator), _Bar(f"backup-{environment}-{kind}"), str(flow_run.id or ""))
    try:
        yield session
    finally:
        backups.end(session)


def anew(take: Callable[[], Taken]) -> Taken:
    """``take``, begun anew, a few times at most, where what was read can never be whole."""
    return until_whole(take, get_run_logger().warning, backups.wait)


@backup_task(name="look", task_run_name="look at {kind}")
def unchanged(environment: str, kind: str) -> str:
    """Why there is nothing to take, "" when there is."""
    why = backups.unchanged(environment, kind)
    get_run_logger().info("%s", why or f"A backup of {kind} is due.")
    return why


@step_task(name="begin", task_run_name="begin {kind}")
def begin(environment: str, kind: str, holder: str, bar: _Bar, run: str) -> str:
    """All that can be refused, the kind's lease, and what will be written."""
    session = backups.begin(environment, kind, holder, bar.tell, run)
    bar.expects(partial(backups.expected, session))
    how = "goes on" if backups.resumed(session) else "begins"
    get_run_logger().info("Backup %s of %s %s: %d objects.", session, kind, how, len(backups.keys(session)))
    return session


def write_all(session: str) -> None:
    """Every object as a task run of its own, as many at a time as the environment says; raises the first failure."""
    for written in as_completed([write.submit(session, key) for key in backups.keys(session)]):
        written.result()


@step_task(name="write", task_run_name="write {key}")
def write(session: str, key: str) -> str:
    """One object, read once, in every destination, read back from each."""
    size, documents = backups.write(session, key)
    told = report.written(key, size, documents)
    get_run_logger().info("%s", told)
    return told


@step_task(name="publish", task_run_name="publish {session}")
def publish(session: str) -> Taken:
    """The manifest, last."""
    taken, log = backups.publish(session), get_run_logger()
    say = log.warning if report.ends(taken.manifest) else log.info
    say("%s", report.taken(taken.manifest, taken.lacking))
    return taken


@backup_task(name="measure", task_run_name="measure")
def measure(environment: str) -> None:
    """The metrics of backups, where the environment wants them."""
    if why := backups.measure(environment):
        get_run_logger().warning("%s", why)


def conclude(taken: Taken) -> dict[str, Any]:
    """The backup in a few values. Raises Permanent when a destination lacks it: it exists, and is degraded."""
    if taken.degraded:
        raise Permanent(report.taken(taken.manifest, taken.lacking))
    return report.backup_summary(taken.manifest)


@backup_task(name="read back", task_run_name="read back {id}")
def verify(environment: str, id: str, asked: Asked) -> list[Verification]:
    """Copies read back and compared with their manifests; the results are kept as evidence."""
    found = backups.verify_backups(environment, id, asked, _Bar(f"verify-{environment}").tell_size)
    for one in found:
        get_run_logger().info("%s", report.verification(one))
    return found


@backup_task(name="audit", task_run_name="audit {environment}")
def audit(environment: str, read: Read) -> Report:
    """3-2-1-1-0 now, finding by finding, with a table and a page to read."""
    found = backups.audit_backups(environment, read, _Bar(f"audit-{environment}").tell_size)
    showing.soon("standings", partial(_show_audit, found))
    showing.settle()
    for line in report.audit_lines(found):
        get_run_logger().info("%s", line)
    return found


def _show_audit(found: Report) -> None:
    key, headline = f"audit-{found.environment}", report.audit_headline(found)
    create_table_artifact(report.audit_table(found), key=key, description=headline)
    create_table_artifact(report.findings_table(found), key=f"{key}-findings", description=headline)
    create_markdown_artifact(report.audit_markdown(found), key=f"{key}-report", description=headline)


@backup_task(name="repair", task_run_name="repair {id}")
def repair(environment: str, id: str, operator: str) -> list[Repaired]:
    """Every copy of a backup made complete from a good one."""
    found = backups.repair_backup(environment, id, _me(operator))
    for one in found:
        get_run_logger().info("%s", report.repaired(one.destination, one.written, one.why))
    return found


@backup_task(name="prune", task_run_name="prune {environment}")
def prune(environment: str, kind: str, dry: bool, operator: str) -> PruneReport:
    """What goes and what stays, with reasons, and, but for a dry run, done; a table shows it."""
    found = pruning.prune_backups(environment, kind, _me(operator), dry=dry)
    headline = prune_report.headline(found)
    key, shown = f"prune-{environment}", prune_report.table(found)
    showing.soon(key, partial(create_table_artifact, shown, key=key, description=headline))
    showing.settle()
    for line in prune_report.lines(found):
        get_run_logger().info("%s", line)
    return found


def conclude_prune(found: PruneReport) -> dict[str, Any]:
    """The report. Raises Permanent when something could not be done."""
    if not found.ok:
        raise Permanent(" ".join([prune_report.headline(found), *prune_report.failures(found)]))
    return prune_report.as_json(found)


def conclude_verification(found: list[Verification]) -> list[dict[str, Any]]:
    """The results. Raises Permanent with a sentence for each copy that is not as it was written."""
    bad = [report.verification(one) for one in found if not one.good]
    if bad:
        raise Permanent(" ".join(bad))
    return [asdict(one) for one in found]


def conclude_audit(found: Report) -> dict[str, Any]:
    """The report. Raises Permanent with its faults when 3-2-1-1-0 does not hold."""
    if not found.holds:
        raise Permanent("\n".join([report.audit_headline(found), *report.faults(found)]))
    return asdict(found)


def conclude_repair(found: list[Repaired]) -> list[dict[str, Any]]:
    """The results. Raises Permanent when a destination is still no copy."""
    if any(one.why for one in found):
        raise Permanent(" ".join(report.repaired(one.destination, one.written, one.why) for one in found))
    return [asdict(one) for one in found]


class _Bar:
    """Bytes, documents and rate of what is going on, in the log and as an artifact; it never waits for Prefect."""

    _EVERY = 5.0

    def __init__(self, key: str) -> None:
        self._key, self._began = key, time.monotonic()
        self._told, self._size = self._began, 0
        self._log, self._artifact = get_run_logger(), None
        self._expected: Callable[[], int] = int

    def expects(self, expected: Callable[[], int]) -> None:
        """How many bytes there will be, as far as one knows."""
        self._expected = expected

    def tell_size(self, size: int) -> None:
        """So many bytes more."""
        self._size += size
        self.tell(self._size, 0)

    def tell(self, size: int, documents: int) -> None:
        """So much altogether."""
        now = time.monotonic()
        if now - self._told < self._EVERY:
            return
        self._told = now
        expected = self._expected()
        told = report.progress(size, documents, now - self._began, expected)
        self._log.info("%s", told)
        showing.soon(self._key, partial(self._show, told, report.percentage(size, expected)))

    def _show(self, told: str, share: float) -> None:
        if self._artifact is None:
            self._artifact = create_progress_artifact(share, key=self._key, description=told)
        else:
            update_progress_artifact(self._artifact, share, description=told)
