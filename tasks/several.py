"""The verbs of a release of all services for Prefect: its own steps as tasks, each service by those of ``releases``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

from prefect import Flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run

from onlyvips import wiring
from onlyvips.core import group as groups
from onlyvips.core.action import Action
from onlyvips.core.many import MEMBERS, Do, Kind, arrived
from onlyvips.core.phases import Phase
from onlyvips.errors import Driven, Fenced, OnlyVipsError, Permanent
from onlyvips.steps.opening import Start
from onlyvips.wiring import several
from tasks import approving, releases, showing
from tasks.policies import rollout_task


@contextmanager
def driving(environment: str, version: str, operator: str, override: str = "") -> Iterator[str]:
    """Hold the Lease of the whole while the block runs; give it up whatever happens."""
    run = str(flow_run.id or "")
    try:
        group = begin(environment, version, operator, override)
        while waits_for_approval(group):
            several.let_go(run)  # nobody holds the Lease of what waits for an approval
            approving.wait(environment, group)
            group = begin(environment, version, operator, override)  # checked again, for it may be another day
        yield group
    finally:
        several.let_go(run)


@rollout_task(name="read", task_run_name="does {group} wait for an approval")
def waits_for_approval(group: str) -> bool:
    """Whether it waits for one before anything changes."""
    return several.waits_for_approval(group)


@rollout_task(name="begin", task_run_name="begin {version} of all services on {environment}")
def begin(environment: str, version: str, operator: str, override: str = "") -> str:
    """Take the Lease of the whole, run the preflight of every service, write the record; or go on with it."""
    run = str(flow_run.id or "")
    holder = f"run {flow_run.name} ({run}), attempt {flow_run.run_count}"
    return several.begin(environment, Start(version, operator or "prefect", run, holder, override=override))


@rollout_task(name="decide", task_run_name="decide about all services")
def upcoming(group: str) -> Do | None:
    """What comes next for the whole."""
    return several.driven(group).next()


@rollout_task(name="act", task_run_name="{do.title}: {do.reason}")
def act(group: str, do: Do) -> str:
    """Do what is about all services."""
    observed = several.driven(group).perform(do)
    get_run_logger().info("%s: %s", do.title, observed)
    return observed


def through(group: str, *kinds: Kind) -> None:
    """Decide and act for as long as one of ``kinds`` comes next."""
    while (do := upcoming(group)) is not None and do.kind in kinds:
        if do.kind in MEMBERS:
            _drive(group, do)
        else:
            act(group, do)
        show(group)


def _drive(group: str, do: Do) -> None:
    """One service's own release, to where the whole wants it."""
    with ExitStack() as held:
        release = _take(held, group, do)
        if do.kind == "back":
            _take_back(group, do, release)
            return
        while release and (phase := _left(do, release)) is not None:
            releases.through(release, phase)


def _take_back(group: str, do: Do, release: str) -> None:
    """One service back, or on to the next one where this one stands still."""
    driver = several.driven(group)
    try:
        while release and (phase := _left(do, release)) is not None:
            while (action := releases.upcoming(release, phase)) is not None:
                if not (_moves(group, do, action) if action.kind == "wait" else driver.moves(do, action)):
                    _pass_over(group, do, action.reason)
                    return
                releases.act(release, action)
    except (Driven, Fenced):
        raise
    except Permanent as error:
        _pass_over(group, do, str(error), error)


@rollout_task(name="read", task_run_name="has {do.service} to be waited for")
def _moves(group: str, do: Do, action: Action) -> bool:
    """Whether the others wait for this one."""
    return several.driven(group).moves(do, action)


@rollout_task(name="pass over", task_run_name="pass over {do.service}: {why}")
def _pass_over(group: str, do: Do, why: str, error: Permanent | None = None) -> None:
    """The others go back meanwhile. Raises ``error`` where they all stand still."""
    several.driven(group).pass_over(do, why, error)


@rollout_task(name="take", task_run_name="take {do.title}")
def _take(held: ExitStack, group: str, do: Do) -> str:
    """Drive the release of one service until ``held`` ends: its id; "" when it cannot be, so that all go back."""
    rollout = held.enter_context(several.member(group, do))
    return rollout.release if rollout is not None else ""


@rollout_task(name="read", task_run_name="read {release}")
def _left(do: Do, release: str) -> Phase | None:
    """The phase that comes next for one service; None when it is where the whole wants it."""
    record = wiring.record(release)
    return None if arrived(do, record) else record.phase


def show(group: str) -> None:
    """Bring the artifact of the whole up to date; a cluster that blinks costs the artifact, never the release."""
    with suppress(OnlyVipsError):
        found = several.driven(group).group()
        showing.soon("all services", partial(_show, found))


def _show(found: groups.Group) -> None:
    text = groups.markdown(found)
    key = f"release-{found.environment}-all-services"
    create_markdown_artifact(text, key=key, description=groups.headline(found))


def conclude(group: str) -> dict[str, Any]:
    """The outcome. Raises Permanent with its sentence when not all were promoted, or only a person may go on."""
    found = _ended(group)
    showing.settle()
    if found.open or found.result != "promoted":
        raise Permanent(f"{groups.headline(found)}. {groups.advice(found)}")
    get_run_logger().info("%s", groups.headline(found))
    return groups.summary(found)


@rollout_task(name="read", task_run_name="read {group}")
def _ended(group: str) -> groups.Group:
    """The record of the whole."""
    return several.driven(group).group()


def go_back(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A cancelled run aborts what it drives: written in the record, and finished once its Lease is dead."""
    environment, log = flow_run.parameters["environment"], flow_run_logger(flow_run, flow)
    try:
        if several.driven_by(environment, str(flow_run.id)) is None:
            log.info("This run drives no open release: nothing was aborted.")
            return
        several.abort(environment, by="a cancelled run", reason=f"run {flow_run.name} was cancelled")
        done = several.reconcile(environment, holder=f"cancellation of {flow_run.name}")
        if done is not None:
            log.info("%s. %s", groups.headline(done), groups.advice(done))
    except Driven as alive:
        log.info("%s It hears the abort itself.", alive)
    except OnlyVipsError as error:
        log.error("The abort is not finished: %s See `onlyvips release status`, then reconcile.", error)
