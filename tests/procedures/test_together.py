"""``onlyvips release start|abort --all``: what Ctrl-C takes back, and what it leaves alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

import flows.release_all
from flows.commands import asking, following, progress, running, together
from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core.many import Do
from onlyvips.errors import Permanent, Refused
from onlyvips.wiring import several
from tests.procedures.theatre import GOOD, Killed
from tests.procedures.troupe import Troupe

ASKED = {"environment": "lab", "version": GOOD, "operator": "Ada", "override": ""}
LAB: Any = SimpleNamespace(name="lab", waits=SimpleNamespace(lease=15.0))


STAGE = threading.RLock()
"""The simulated platform is for one thread at a time."""


@pytest.fixture
def theatre(monkeypatch: pytest.MonkeyPatch) -> Troupe:
    """Commands that meet this platform."""
    made = Troupe()
    for name in ("seen_of_run", "reconcile"):
        monkeypatch.setattr(several, name, in_turn(getattr(several, name)))
    monkeypatch.setattr(environments, "many_plan", lambda *_: made.many)
    monkeypatch.setattr(progress, "_PAUSE", 0.05)
    monkeypatch.setattr(environments, "load", lambda _: LAB)
    monkeypatch.setattr(wiring, "cluster_of", lambda _: made.cluster)
    monkeypatch.setattr(several, "site_of_all", lambda *_: made.actor("Ctrl-C").many)
    monkeypatch.setattr(wiring, "_runs", [])
    monkeypatch.setenv("PREFECT_API_URL", "")
    return made


def in_turn(ask: Callable[..., Any]) -> Callable[..., Any]:
    def asked(*given: Any, **named: Any) -> Any:
        with STAGE:
            return ask(*given, **named)

    return asked


def interrupted(theatre: Troupe, monkeypatch: pytest.MonkeyPatch, run: str, at: Callable[[Do], bool]) -> None:
    """The flow of this command: ``run`` drives until ``at``, then Ctrl-C."""

    def interrupt(do: Do) -> None:
        if at(do):
            raise KeyboardInterrupt

    def flow(**_: str) -> None:
        wiring.note_run(run)
        with STAGE:
            theatre.actor(f"run x ({run}), attempt 1", run).release_all(GOOD, interrupt)

    monkeypatch.setattr(flows.release_all, "release_all", flow)


def test_ctrl_c_takes_back_what_this_command_drives(
    theatre: Troupe, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    interrupted(theatre, monkeypatch, "mine", lambda do: do.title == "forward miniapp")
    assert together.start(LAB, ASKED, "", quiet=False, detach=False, local=False) == 1
    assert "Ada asked for an abort: Ctrl-C" in theatre.assert_all("rolled-back").reason
    assert "went back as one" in capsys.readouterr().out


def test_ctrl_c_aborts_nothing_that_somebody_else_drives(
    theatre: Troupe, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def meet(do: Do) -> None:
        if do.title == "forward miniapp":
            with pytest.raises(KeyboardInterrupt):
                together.start(LAB, ASKED, "", quiet=False, detach=False, local=False)

    def flow(**_: str) -> None:
        wiring.note_run("mine")
        raise KeyboardInterrupt

    monkeypatch.setattr(flows.release_all, "release_all", flow)
    theatre.actor("run y (other), attempt 1", "other").release_all(GOOD, meet)
    assert theatre.assert_all("promoted").commands == ()
    assert "This command drives no open release: nothing was aborted." in capsys.readouterr().err


def test_ctrl_c_once_all_are_promoted_says_that_nothing_goes_back(
    theatre: Troupe, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    interrupted(theatre, monkeypatch, "mine", lambda do: do.kind == "finish")
    with pytest.raises(KeyboardInterrupt):
        together.start(LAB, ASKED, "", quiet=False, detach=False, local=False)
    assert "all of backend, miniapp are promoted, and nothing goes back" in " ".join(capsys.readouterr().err.split())
    assert (theatre.group().commands, theatre.group().decision) == ((), "promoted")


@pytest.mark.parametrize(
    ("end", "error"),
    [("Failed: Flow run encountered an exception: Refused: No window.", Refused), ("Crashed: gone", Permanent)],
)
def test_what_the_preflight_refused_through_a_server_is_told_as_a_refusal(
    theatre: Troupe, monkeypatch: pytest.MonkeyPatch, end: str, error: type[Permanent]
) -> None:
    monkeypatch.setattr(running, "begin", lambda *_: SimpleNamespace(id="r", name="x"))
    monkeypatch.setattr(running, "address_of", lambda *_: "http://prefect")
    monkeypatch.setattr(following, "Watched", lambda *_: SimpleNamespace(ended=lambda: end))
    with pytest.raises(Permanent) as told:
        together.start(LAB, ASKED, "http://prefect", quiet=True, detach=False, local=False)
    assert type(told.value) is error


def test_detach_without_a_server_is_refused_and_nothing_is_started(
    theatre: Troupe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.release_all, "release_all", lambda **_: pytest.fail("it was started"))
    with pytest.raises(Refused, match="nothing was started"):
        together.start(LAB, ASKED, "", quiet=False, detach=True, local=False)


def test_an_abort_that_ends_before_all_are_back_does_not_exit_0(
    theatre: Troupe, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = theatre.actor("driver")
    with pytest.raises(Killed):
        actor.release_all(GOOD, lambda do: actor.die() if do.title == "forward miniapp" else None)
    found = replace(theatre.group(), decision="failed")
    monkeypatch.setattr(several, "load", lambda *_: found)
    monkeypatch.setattr(several, "reconcile", lambda *_, **__: None)
    monkeypatch.setattr(together, "_AT_MOST", 1.0)
    assert together.abort("lab", "Ada", "", 15.0, quiet=True) == 1


def test_one_in_this_process_tells_its_steps_and_what_comes_next_while_it_runs(
    theatre: Troupe, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    seen = ""

    def shown(line: str) -> bool:
        nonlocal seen
        seen += capsys.readouterr().out
        return line in seen

    def wait(do: Do) -> None:
        if (line := EXPECTED.get(do.title)) is None:
            return
        STAGE.release()
        until = time.monotonic() + 30.0
        while not shown(line) and time.monotonic() < until:
            time.sleep(0.02)
        STAGE.acquire()
        assert line in seen

    def flow(**_: str) -> None:
        wiring.note_run("mine")
        with STAGE:
            theatre.actor("run x (mine), attempt 1", "mine").release_all(GOOD, wait)

    monkeypatch.setattr(flows.release_all, "release_all", flow)
    assert together.start(LAB, ASKED, "", quiet=False, detach=False, local=True) == 0
    seen += capsys.readouterr().out
    assert "As asked (--local)" in seen and seen.count("backup simulated/mongodb") == 1
    assert seen.rstrip().endswith("Nothing to do.")


EXPECTED = {
    "back up": "back up: one backup for all services, before anything changes",
    "prepare backend": "is complete and was read back",
    "forward miniapp": "backend  ",
    "promote": "promote: all of backend, miniapp run v0.9.0",
}


def test_watching_all_tells_what_somebody_else_does_until_it_closes(
    theatre: Troupe, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    actor = theatre.actor("driver")
    with pytest.raises(Killed):
        actor.release_all(GOOD, lambda do: actor.die() if do.title == "forward miniapp" else None)
    theatre.clock.sleep(60.0)
    monkeypatch.setattr(together.time, "sleep", lambda _: theatre.actor("reconciler").reconcile_all())
    assert asking.watch(environment="lab", all=True) == 1
    said = capsys.readouterr().out
    assert "forward miniapp: 2 of 2 services" in said and "decided: all go back, in reverse order" in said
    assert "backend  " in said and "went back as one" in said
    with pytest.raises(Refused, match="there is nothing to watch"):
        asking.watch(environment="lab", all=True)
    with pytest.raises(Refused, match="Give one service"):
        asking.watch(environment="lab", service="backend", all=True)
