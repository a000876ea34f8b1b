"""The verbs of a release for Prefect: thin tasks over ``onlyvips.steps``, and the artifacts that show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any

from prefect import Flow, get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run

from onlyvips import wiring
from onlyvips.core import report
from onlyvips.core.action import Action
from onlyvips.core.phases import Phase
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.errors import Driven, OnlyVipsError, Permanent
from onlyvips.steps.opening import Start
from onlyvips.wiring import evidence, rollbacks
from tasks import approving, showing
from tasks.policies import rollout_task

_bars: dict[str, Any] = {}


def driving(
    environment: str, service: str, version: str, operator: str, override: str = ""
) -> AbstractContextManager[str]:
    """Hold the service's lease while the block runs; give it up whatever happens, so that the reconciler may come."""
    return _held(environment, lambda: begin(environment, service, version, operator, override))


def going_back(environment: str, service: str, to: str, operator: str) -> AbstractContextManager[str]:
    """As ``driving``, of a release that brings back what an earlier one replaced."""
    return _held(environment, lambda: begin_back(environment, service, to, operator))


@contextmanager
def _held(environment: str, open_one: Callable[[], str]) -> Iterator[str]:
    run = str(flow_run.id or "")
    try:
        release = open_one()
        while wiring.waits_for_approval(release):
            wiring.let_go(run)  # nobody holds the lease of a release that waits for an approval
            approving.wait(environment, release)
            release = open_one()  # checked again, for it may be another day
        with suppress(OnlyVipsError):
            get_run_logger().info("%s", report.headline(wiring.record(release)))
        yield release
    finally:
        wiring.let_go(run)


@rollout_task(name="begin", task_run_name="begin {service} {version} on {environment}")
def begin(environment: str, service: str, version: str, operator: str, override: str = "") -> str:
    """Take the lease, run the preflight, write the record; or go on with the release that this run began before."""
    run = str(flow_run.id or "")
    holder = f"run {flow_run.name} ({run}), attempt {flow_run.run_count}"
    start = Start(version, operator or "prefect", run, holder, override=override)
    return wiring.begin(environment, service, start)


@rollout_task(name="begin", task_run_name="begin rollback of {service} on {environment}")
def begin_back(environment: str, service: str, to: str, operator: str) -> str:
    """As ``begin``, for a rollback to what an earlier release replaced."""
    run = str(flow_run.id or "")
    holder = f"run {flow_run.name} ({run}), attempt {flow_run.run_count}"
    return rollbacks.begin(environment, service, to, Start("", operator or "prefect", run, holder))


@rollout_task(name="decide", task_run_name="decide in {phase}")
def upcoming(release: str, phase: Phase) -> Action | None:
    """What comes next in ``phase``; None when the record has left it."""
    if wiring.record(release).phase != phase:
        return None
    action = wiring.driven(release).next()
    return None if wiring.record(release).phase != phase else action


@rollout_task(name="act", task_run_name="{action.title}: {action.reason}")
def act(release: str, action: Action) -> str:
    """Do it, or, when a retry finds that something else is due by now, leave that to the next decision."""
    rollout = wiring.driven(release)
    now = rollout.next()
    if (now.kind, now.number, now.what) != (action.kind, action.number, action.what):
        return f"decided anew: {now.reason}"
    observed = rollout.perform(now)
    get_run_logger().info("%s: %s", now.title, observed)
    show(release)
    return observed


def through(release: str, phase: Phase) -> None:
    """Observe, decide and act until the record leaves ``phase``."""
    while (action := upcoming(release, phase)) is not None:
        act(release, action)


def show(release: str) -> None:
    """Bring the release's artifacts up to date, in good time: the release does not wait for it."""
    record, plan = wiring.record(release), wiring.driven(release).plan
    showing.soon("report", partial(_show_report, record, plan))
    showing.soon("progress", partial(_show_bar, record, plan))


def _show_report(record: Record, plan: ReleasePlan) -> None:
    create_markdown_artifact(report.markdown(record, plan), key=_key(record), description=report.headline(record))


def _show_bar(record: Record, plan: ReleasePlan) -> None:
    done, headline = report.progress(record, plan), report.headline(record)
    if record.id in _bars:
        update_progress_artifact(_bars[record.id], done, description=headline)
    else:
        _bars[record.id] = create_progress_artifact(done, key=f"{_key(record)}-progress", description=headline)


def _key(record: Record) -> str:
    return f"release-{record.environment}-{record.service}"


def conclude(release: str) -> dict[str, Any]:
    """The outcome of a closed release. Raises Permanent with its sentence when it was not promoted."""
    record = wiring.record(release)
    showing.soon("evidence", partial(_show_evidence, record))
    showing.settle()
    if record.result != "promoted":
        raise Permanent(f"{report.headline(record)}. {report.advice(record)}")
    get_run_logger().info("%s", report.headline(record))
    return report.summary(record)


def _show_evidence(record: Record) -> None:
    """The document, and the page of it that people read."""
    shown = (("evidence", evidence.places(record), "Evidence"), ("page", evidence.page_places(record), "The page"))
    for key, places, text in shown:
        for place in places:
            create_link_artifact(
                place,
                link_text=f"{text} of {record.id}",
                key=f"{_key(record)}-{key}",
                description=report.headline(record),
            )


def go_back(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A cancelled run aborts the release that it drives: written in the record, and finished once its lease is dead."""
    environment, service = flow_run.parameters["environment"], flow_run.parameters["service"]
    log = flow_run_logger(flow_run, flow)
    try:
        if wiring.driven_by(environment, service, str(flow_run.id)) is None:
            log.info("This run drives no open release of %s: nothing was aborted.", service)
            return
        wiring.abort(environment, service, by="a cancelled run", reason=f"run {flow_run.name} was cancelled")
        finished, _ = wiring.reconcile(environment, service, holder=f"cancellation of {flow_run.name}")
        if finished is not None:
            log.info("%s. %s", report.headline(finished), report.advice(finished))
    except Driven as alive:
        log.info("%s It hears the abort itself.", alive)
    except OnlyVipsError as error:
        log.error("The abort is not finished: %s See `onlyvips release status`, then reconcile.", error)
