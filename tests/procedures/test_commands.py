"""The commands around a release: whose release it is, what is told of it, and with which exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType

from flows.commands import embedded, following, release
from onlyvips import wiring
from onlyvips.core.record import Record
from onlyvips.errors import Driven, Fenced, OnlyVipsError, Permanent, Refused, Transient
from onlyvips.steps import opening, records
from onlyvips.steps.opening import Start
from onlyvips.wiring import places, reconciling
from tasks import releases
from tests.core.decisions import RECORD
from tests.procedures.theatre import GOOD, Theatre

ASKED = following.Asked("lab", "backend", GOOD, "Ada", quiet=True)
CLOSED = replace(RECORD, phase="closed", result="promoted")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PAUSE", 0.001)
    monkeypatch.setattr(following, "_LAST_READS", 0.05)


def answers(*each: Any) -> Callable[..., Any]:
    """A function that gives (or raises) each in turn, then the last one for ever."""
    left = list(each)

    def answer(*_: Any, **__: Any) -> Any:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, BaseException):
            raise found
        return found

    return answer


# Whose release it is.


def killed_in_the_canary(theatre: Theatre, run: str) -> None:
    process = theatre.process(f"run one ({run}), attempt 1", run)

    def die(rollout: Any, action: Any) -> None:
        if rollout.record().weight == 10:
            process.die()

    with pytest.raises(BaseException, match="^$"):
        process.release(GOOD, at_action=die)


def test_a_release_is_found_by_the_run_that_went_on_with_it() -> None:
    theatre = Theatre()
    killed_in_the_canary(theatre, "run-1")
    done = theatre.process("run two (run-2), attempt 1", "run-2").release(GOOD)
    for run in ("run-1", "run-2"):
        found = opening.of_run(theatre.cluster, run)
        assert found is not None
        assert (found.id, found.result) == (done.id, "promoted")
    assert opening.of_run(theatre.cluster, "run-3") is None
    assert opening.of_run(theatre.cluster, "") is None
    assert opening.already_closed(theatre.cluster, "run-2") is not None, "its retry begins no other release"


def test_a_run_drives_a_release_until_another_one_went_on_with_it() -> None:
    theatre = Theatre()
    killed_in_the_canary(theatre, "run-1")
    assert opening.drives(theatre.record(), theatre.cluster, "run-1")
    assert not opening.drives(theatre.record(), theatre.cluster, "run-2")
    assert not opening.drives(theatre.record(), theatre.cluster, "")
    second = theatre.process("run two (run-2), attempt 1", "run-2")
    opening.open_release(second.site, Start(GOOD, "Ada", "run-2", second.holder))
    assert not opening.drives(theatre.record(), theatre.cluster, "run-1"), "cancelling it aborts nobody's release"
    assert opening.drives(theatre.record(), theatre.cluster, "run-2")


def test_begin_asked_again_by_the_same_run_is_the_same_release(monkeypatch: pytest.MonkeyPatch) -> None:
    theatre = Theatre()
    process = theatre.process("run one (run-1), attempt 1")
    monkeypatch.setattr(wiring.environments, "load", lambda name: name)
    monkeypatch.setattr(wiring, "site_of", lambda *_: process.site)
    monkeypatch.setattr(wiring, "check_calendar", lambda _: None)
    start = Start(GOOD, "Ada", "run-1", process.holder)
    first = wiring.begin("simulated", "backend", start)
    try:
        assert wiring.begin("simulated", "backend", start) == first
        assert wiring.run_here() == "run-1"
    finally:
        wiring.let_go("run-1")
    assert process.lease.holder() == ""


def test_orphans_are_left_when_a_release_began_before_the_lease_was_taken() -> None:
    theatre = Theatre()
    process, other = theatre.process("reconciler"), theatre.process("run one (run-1), attempt 1")
    begun: list[Any] = []
    real = process.lease.acquire
    orphan = {"name": "backend-canary", "labels": {**opening.MANAGED, "track": "canary", opening.RELEASE: "gone"}}
    theatre.cluster.create({"kind": "Service", "metadata": orphan, "spec": {"selector": {}, "ports": []}})

    def acquire(holder: str) -> int:
        epoch = real(holder)
        if not begun:
            found = replace(RECORD, id="new", service="backend", version=GOOD)
            fence = opening.Fence(other, "backend", epoch, lambda: None)
            records.create(other, fence, found, "run-1")
            begun.append(found)
        return epoch

    process.lease.acquire = acquire  # type: ignore[method-assign]
    assert opening.remove_orphans(process.site, "reconciler") == ()
    assert theatre.cluster.see("Service", "backend-canary") is not None


# What is told of a run on a server.


def follow(read: Callable[..., Record | None], ended: Callable[..., str | None]) -> Record:
    return following._follow(ASKED, read, ended)


def test_a_release_that_is_closed_is_told_whatever_the_run_says() -> None:
    assert follow(answers(RECORD, CLOSED), answers(None, "Crashed: gone")) == CLOSED


def test_only_a_run_that_says_refused_is_a_refusal() -> None:
    for kind in ("Refused", "Driven", "EnvironmentInvalid"):
        with pytest.raises(Refused, match="^not so$"):
            follow(answers(None), answers(f"Failed: Flow run encountered an exception: {kind}: not so"))
    for end in ("Crashed: the process died", "Failed: ValueError: odd", ""):
        with pytest.raises(
            Permanent, match="no record of it could be read: see `onlyvips release status -e lab`"
        ) as told:
            follow(answers(None), answers(end))
        assert not isinstance(told.value, Refused)


def test_a_run_that_ended_while_the_cluster_is_away_is_read_again() -> None:
    away = Transient("The cluster does not answer.")
    assert follow(answers(away, away, CLOSED), answers("Crashed: gone")) == CLOSED
    with pytest.raises(Permanent, match="no record of it could be read") as told:
        follow(answers(away), answers("Crashed: gone"))
    assert not isinstance(told.value, Refused)


def test_a_refusal_in_mid_release_is_not_a_refusal_of_the_command() -> None:
    with pytest.raises(Permanent, match="env:KEY is not set. Release r1") as told:
        follow(answers(RECORD), answers("Failed: Refused: env:KEY is not set."))
    assert not isinstance(told.value, Refused)


def test_prefect_away_is_unknown_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = following.Watched(answers(OSError("no route")), "http://ui/run")
    assert watched.ended() is None
    monkeypatch.setattr(following, "_PATIENCE", -1.0)
    with pytest.raises(Permanent, match="Prefect has not answered.*no route"):
        watched.ended()


def test_no_worker_is_told_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(following, "_NO_WORKER_AFTER", -1.0)
    late = following.Watched(lambda: State(type=StateType.SCHEDULED, name="Late"), "http://ui/run")
    assert [late.ended(), late.ended()] == [None, None]
    assert capsys.readouterr().err.count("No worker has taken the run yet") == 1
    taken = following.Watched(answers(State(type=StateType.RUNNING), State(type=StateType.SCHEDULED)), "http://ui/run")
    assert [taken.ended(), taken.ended()] == [None, None]
    assert capsys.readouterr().err == ""


# In this process.


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A flow that raises ``error`` after it wrote ``record``."""
    stage = SimpleNamespace(error=None, record=None, mine=True)
    import flows.release

    def run(**_: str) -> None:
        if stage.error is not None:
            raise stage.error

    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "CRITICAL")
    monkeypatch.setattr(flows.release, "release", run)
    monkeypatch.setattr(wiring, "run_here", lambda: "run-1")
    monkeypatch.setattr(wiring, "release_of_run", lambda *_: answers(stage.record)())
    monkeypatch.setattr(wiring, "driven_by", lambda *_: stage.record if stage.mine else None)
    monkeypatch.setattr(embedded, "begin", lambda: None)
    monkeypatch.setattr(embedded, "wait", lambda: None)
    yield stage


def test_a_release_gone_on_with_is_told_as_it_ended(here: SimpleNamespace) -> None:
    here.record = CLOSED
    assert following.in_this_process(ASKED) == CLOSED
    here.error, here.record = Permanent("was rolled back"), replace(CLOSED, result="rolled-back")
    assert following.in_this_process(ASKED).result == "rolled-back"


@pytest.mark.parametrize(
    "error", [Transient("The cluster is away."), Fenced("Taken over."), Refused("env:KEY is unset.")]
)
def test_what_stays_open_is_told_with_what_to_do(here: SimpleNamespace, error: OnlyVipsError) -> None:
    here.error, here.record = error, RECORD
    with pytest.raises(
        Permanent, match=f"{error} Release r1.*Start {GOOD} again to go on, or `onlyvips release rec"
    ) as told:
        following.in_this_process(ASKED)
    assert not isinstance(told.value, Refused)


def test_a_refusal_before_a_record_is_a_refusal(here: SimpleNamespace) -> None:
    here.error = Driven("Bob drives this release and is alive: nothing was changed.")
    with pytest.raises(Refused, match="Bob drives"):
        following.in_this_process(ASKED)


def test_a_cluster_that_is_away_at_the_end_is_told(here: SimpleNamespace) -> None:
    here.error, here.record = Transient("No answer."), Transient("No answer.")
    with pytest.raises(Permanent, match="what is open is not known"):
        following.in_this_process(ASKED)


def test_ctrl_c_aborts_only_what_this_command_drives(here: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    monkeypatch.setattr(wiring, "abort", lambda *_, **__: did.append("abort"))
    monkeypatch.setattr(wiring, "reconcile", lambda *_, **__: did.append("reconcile"))
    here.error, here.record, here.mine = KeyboardInterrupt(), RECORD, False
    with pytest.raises(KeyboardInterrupt):
        following.in_this_process(ASKED)
    assert did == []
    here.mine, here.record = True, replace(CLOSED, result="rolled-back")
    assert following.in_this_process(ASKED).result == "rolled-back"
    assert did == ["abort", "reconcile"]


# Abort and reconcile.


def test_reconcile_goes_on_with_the_next_service(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(reconciling, "services", lambda *_: ["first", "second", "third"])
    monkeypatch.setattr(wiring, "reconcile", answers(Refused("env:KEY is unset."), Driven("Bob lives."), (CLOSED, ())))
    assert release.reconcile(environment="lab") == 1
    out, err = capsys.readouterr()
    assert "first: env:KEY is unset." in err
    assert "second: Bob lives." in out
    assert "third: Release r1" in out


def test_an_abort_tries_again_when_the_driver_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    world = SimpleNamespace(record=RECORD, tried=0)

    def finish() -> None:
        world.tried += 1
        if world.tried < 2:
            raise Driven("Bob lives.")
        world.record = CLOSED

    monkeypatch.setattr(wiring, "load_record", lambda *_: world.record)
    assert following.until_closed(ASKED, "r1", finish=finish, silence=0.01) == CLOSED
    assert world.tried == 2


# A cancelled run, and where the cluster is.


def test_a_cancelled_run_aborts_only_the_release_that_it_drives(monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    monkeypatch.setattr(wiring, "driven_by", lambda *asked: RECORD if asked[2] == "mine" else None)
    monkeypatch.setattr(wiring, "abort", lambda *_, **__: did.append("abort"))
    monkeypatch.setattr(wiring, "reconcile", answers(Driven("It lives.")))
    logged: list[str] = []
    log = SimpleNamespace(info=lambda text, *_: logged.append(text), error=lambda text, *_: logged.append(text))
    monkeypatch.setattr(releases, "flow_run_logger", lambda *_: log)
    parameters = {"environment": "lab", "service": "backend"}
    for run in ("another", "mine"):
        flow_run: Any = SimpleNamespace(id=run, name="blue-fox", parameters=parameters)
        releases.go_back(None, flow_run, None)  # type: ignore[arg-type]
    assert did == ["abort"]
    monkeypatch.setattr(wiring, "abort", answers(Transient("No answer.")))
    releases.go_back(None, flow_run, None)  # type: ignore[arg-type]
    assert ["nothing was aborted" in logged[0], "hears the abort" in logged[1], "not finished" in logged[2]] == [
        True
    ] * 3


def test_kubeconfig_automatic_is_looked_for_as_kubectl_does(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: Any = SimpleNamespace(endpoints=SimpleNamespace(kubeconfig="automatic"))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    assert places.kubeconfig_of(loaded) == Path.home() / ".kube/config"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert places.kubeconfig_of(loaded) is None
    monkeypatch.setenv("KUBECONFIG", "/keys/config")
    assert places.kubeconfig_of(loaded) == Path("/keys/config")
