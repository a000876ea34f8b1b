"""A Kubernetes Job that a release runs once, to its end: the migration, and hooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onlyvips.core.manifests import PREFIX, RELEASE, annotations_of, own_metadata
from onlyvips.errors import Permanent
from onlyvips.ports import Clock, Cluster, Manifest
from onlyvips.steps.fence import Fence


@dataclass(frozen=True)
class Jobs:
    """Who runs Jobs: the release ``owner``, under the fence of ``service``. ``aborted`` hears that it has to go back;
    a job that takes longer than ``patience`` seconds to go away is not waited for."""

    cluster: Cluster
    clock: Clock
    fence: Fence
    owner: str
    service: str
    poll: float
    patience: float
    aborted: Callable[[], bool]


@dataclass(frozen=True)
class Wanted:
    """Job ``name``, which people call ``title``; ``asked`` is the fingerprint of what it does, ``make`` its manifest
    with given metadata; it has ``timeout`` seconds. ``again``: one of ours that failed is begun anew."""

    name: str
    title: str
    asked: str
    make: Callable[[Manifest], Manifest]
    timeout: float
    again: bool = False


class JobFailed(Permanent):
    """The Job ended without success: it failed, outlasted its time, or was deleted."""


def run(jobs: Jobs, wanted: Wanted) -> str | None:
    """Run it to its end, or believe one that did the same before; what it said last. None when an abort comes first.

    Raises JobFailed when it fails, outlasts its time or is deleted; Permanent when another one has its name.
    """
    return _finished(jobs, wanted, _job(jobs, wanted))


def _job(jobs: Jobs, wanted: Wanted) -> Manifest:
    """A Job that does this very thing: the one that is there, or a new one in place of another, or of one that failed
    for another release."""
    found = jobs.cluster.get("Job", wanted.name)
    if found is not None:
        same = annotations_of(found).get(f"{PREFIX}/plan") == wanted.asked
        ours = (found["metadata"].get("labels") or {}).get(RELEASE) == jobs.owner
        over = _condition(found, "Failed") or _condition(found, "Complete")
        if same and (ours and not wanted.again or _condition(found, "Failed") is None):
            return found
        if not over:
            raise Permanent(
                f"Job {wanted.name} is running and does something else than this release's {wanted.title}: it was left "
                "alone; see who started it, wait until it is done, then start the release again."
            )
        clear(jobs, wanted.name)
    return jobs.fence.create(wanted.make(own_metadata(jobs.owner, jobs.service, jobs.fence.epoch)))


def clear(jobs: Jobs, name: str) -> None:
    """Delete the Job and see it gone."""
    jobs.fence.delete("Job", name)
    until = jobs.clock.monotonic() + jobs.patience
    while jobs.cluster.get("Job", name) is not None:
        jobs.fence.progress()
        if jobs.clock.monotonic() > until:
            raise Permanent(f"The old Job {name} was deleted and does not go: see what holds it, then start again.")
        jobs.clock.sleep(jobs.poll)


def _condition(job: Manifest, kind: str) -> Manifest | None:
    conditions = (job.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind and one["status"] == "True"), None)


def _finished(jobs: Jobs, wanted: Wanted, job: Manifest) -> str | None:
    """Watch the Job to its end; None when an abort comes first."""
    until = jobs.clock.monotonic() + wanted.timeout
    while True:
        if _condition(job, "Complete"):
            return f"Job {wanted.name} is complete{last_words(jobs.cluster, wanted.name)}"
        if (failed := _condition(job, "Failed")) is not None:
            said = last_words(jobs.cluster, wanted.name)
            raise JobFailed(
                f"The {wanted.title} Job {wanted.name} failed ({failed.get('message', 'no message')}{said}): read the "
                "logs of its pods, put the cause right, and start the release again."
            )
        if jobs.clock.monotonic() > until:
            raise JobFailed(
                f"The {wanted.title} Job {wanted.name} is not done after {wanted.timeout:g} s: it was left running; "
                "start the release again when it is done."
            )
        jobs.fence.progress()
        jobs.clock.sleep(jobs.poll)
        if jobs.aborted():
            return None
        found = jobs.cluster.get("Job", wanted.name)
        if found is None:
            raise JobFailed(f"The {wanted.title} Job {wanted.name} was deleted while it ran: start the release again.")
        job = found


def last_words(cluster: Cluster, name: str) -> str:
    """The last line that a pod of the Job left as its termination message, after a colon; "" when none did."""
    lines = list[str]()
    for pod in cluster.list("Pod", {"job-name": name}):
        for status in (pod.get("status") or {}).get("containerStatuses") or []:
            lines += str(((status.get("state") or {}).get("terminated") or {}).get("message", "")).splitlines()
    said = [line.strip() for line in lines if line.strip()]
    return f": {said[-1][:500]}" if said else ""
