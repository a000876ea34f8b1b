"""The verbs of drills for Prefect: thin tasks over ``onlyvips.wiring.drills``, and the artifact that shows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from onlyvips.core import drills as core
from onlyvips.core.drills import DrillRecord
from onlyvips.errors import OnlyVipsError, Permanent
from onlyvips.wiring import backups, drills, trend
from tasks import showing
from tasks.policies import backup_task
from tasks.restores import Teller


@contextmanager
def rehearsing(environment: str, kind: str, at: str, operator: str) -> Iterator[str]:
    """Hold the lease of the environment's drills while the block does one; the value is its id. Whatever else ends the
    block, a cancelled run too: the drill is cleaned up, and its record says so."""
    holder = f"{operator or 'prefect'}, run {flow_run.name} ({flow_run.id}), attempt {flow_run.run_count}"
    id = begin(environment, kind, at, holder, Teller())
    try:
        yield id
    except BaseException as error:
        drills.end(id, error)
        raise
    drills.end(id)


@contextmanager
def noted(id: str) -> Iterator[None]:
    """What fails in the block makes the drill one that failed, and is not raised; a bug is, and fails it too."""
    try:
        yield
    except OnlyVipsError as error:
        get_run_logger().error("%s", error)
        drills.fail(id, str(error))


@backup_task(name="begin", task_run_name="begin")
def begin(environment: str, kind: str, at: str, holder: str, teller: Teller) -> str:
    """All that can be refused, and the lease."""
    id = drills.begin(environment, kind, at, holder, teller.tell)
    get_run_logger().info("Drill %s of %s begins.", id, kind)
    return id


@backup_task(name="clear", task_run_name="clear")
def clear(id: str) -> None:
    """What drills that died have left, removed and named."""
    for name in drills.clear(id):
        get_run_logger().warning("Removed %s, which an earlier drill had left.", name)


@backup_task(name="restore", task_run_name="restore {id}")
def restore(id: str) -> None:
    """The newest base and its slices; a later attempt begins anew."""
    found = drills.restore(id)
    get_run_logger().info("Restored to %s out of %s and %d slices.", found.reached, found.base, len(found.slices))


@backup_task(name="verify", task_run_name="verify {id}")
def verify(id: str) -> None:
    """The scratch database read again, each collection against what the objects say."""
    for one in drills.verify(id).compared:
        get_run_logger().info("%s: %d documents, %s.", one.target, one.documents, "equal" if one.equal else "NOT equal")


@backup_task(name="clean", task_run_name="clean {id}")
def clean(id: str) -> None:
    """The scratch database, removed."""
    for one in drills.clean(id):
        get_run_logger().error("It could not be removed: %s", one)


@backup_task(name="keep", task_run_name="keep the record of {id}")
def keep(id: str) -> DrillRecord:
    """The record, signed and stored."""
    record, kept = drills.keep(id)
    get_run_logger().info("%s, in %s.", kept.key, ", ".join(kept.stores))
    for refusal in kept.refusals:
        get_run_logger().warning("Not kept by %s", refusal)
    return record


@backup_task(name="show", task_run_name="show the trend")
def show(environment: str) -> None:
    """The trend for people, and the numbers for monitoring. No drill fails because it cannot be shown."""
    if why := backups.measure(environment):
        get_run_logger().warning("%s", why)
    key, told = f"drills-{environment}", f"Drills of {environment}"
    try:
        page = trend.markdown(environment)
    except OnlyVipsError as error:
        get_run_logger().warning("The trend is not shown: %s", error)
        return
    showing.soon(key, partial(create_markdown_artifact, page, key=key, description=told))
    showing.settle()


def conclude(record: DrillRecord) -> dict[str, Any]:
    """The record in plain values. Raises Permanent with its reasons when the drill failed."""
    if not record.passed:
        raise Permanent(core.headline(record))
    get_run_logger().info("%s", core.headline(record))
    return asdict(record)
