"""``onlyvips release hold|resume|promote|watch`` and their deployments: what is written, what is said, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prefect.utilities.callables import parameter_schema

from flows.commands import asking, run
from flows.release_command import release_command
from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core.record import Record
from onlyvips.errors import Driven, Refused
from onlyvips.steps import records
from onlyvips.wiring import commanding, several
from tasks import commanding as tasks
from tests.conftest import ROOT
from tests.core.broken_environments import PRODUCTION
from tests.core.decisions import RECORD
from tests.procedures.test_release_faults import Once
from tests.procedures.theatre import GOOD, Killed, Theatre

WHERE = ["-e", "production", "-s", "backend"]


@pytest.fixture
def theatre(monkeypatch: pytest.MonkeyPatch) -> Theatre:
    """A platform in memory that every command of this process sees."""
    theatre = Theatre()
    loaded = environments.from_text(PRODUCTION, "production", "production.yaml")
    monkeypatch.setattr(environments, "load", lambda _: loaded)
    monkeypatch.setattr(wiring, "cluster_of", lambda _: theatre.cluster)
    monkeypatch.setattr(asking, "me", lambda: "ada@console")
    monkeypatch.setattr(asking.time, "sleep", lambda _: None)
    return theatre


def during(theatre: Theatre, kind: str, *asked: Callable[[], Any]) -> list[Any]:
    """What each of ``asked`` answers at the first action of a kind of a release that is running."""
    told: list[Any] = []
    theatre.process("first").release(GOOD, Once(kind, lambda: told.extend(each() for each in asked)))
    return told


def press(*words: str) -> Callable[[], int]:
    return lambda: run(["release", *words, *WHERE])


def test_hold_resume_and_promote_are_written_with_who_and_why_and_said_in_a_sentence(
    theatre: Theatre, capsys: Any
) -> None:
    codes = during(theatre, "look", press("hold", "--reason", "odd"), press("resume"), press("promote"))
    out = " ".join(capsys.readouterr().out.split())
    assert codes == [0, 0, 0]
    assert "is held at 10 %: looks go on and a failing one still rolls back; not resumed within 4 h, it goes" in out
    given = theatre.assert_outcome("promoted").commands
    assert [(one.name, one.by, one.reason, one.proven) for one in given] == [
        ("hold", "ada@console", "odd", False),
        ("resume", "ada@console", "", False),
        ("promote", "ada@console", "", False),
    ]


def test_a_command_that_would_change_nothing_says_so_and_writes_nothing(theatre: Theatre, capsys: Any) -> None:
    assert during(theatre, "look", press("resume")) == [0]
    assert "is not held by anybody" in capsys.readouterr().out
    assert theatre.record().commands == ()


@pytest.mark.parametrize(
    ("kind", "word", "sentence"),
    [
        ("back-up", "promote", "has no traffic yet (phase backup)"),
        ("remove-canary", "hold", "is past its last hold"),
        ("write-evidence", "hold", "is over: there is nothing to hold"),
    ],
)
def test_a_command_too_early_or_too_late_is_refused_and_writes_nothing(
    theatre: Theatre, capsys: Any, kind: str, word: str, sentence: str
) -> None:
    assert during(theatre, kind, press(word)) == [2]
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert theatre.assert_outcome("promoted").commands == ()


@pytest.mark.parametrize("word", ["hold", "resume", "promote", "watch"])
def test_without_an_open_release_there_is_nothing_to_ask(theatre: Theatre, capsys: Any, word: str) -> None:
    assert press(word)() == 2
    assert f"No release of backend is open in production: there is nothing to {word}." in capsys.readouterr().err


def test_with_json_the_answer_is_in_it(theatre: Theatre, capsys: Any) -> None:
    during(theatre, "look", press("promote", "--json"))
    told = json.loads(capsys.readouterr().out)
    assert told["phase"] == "canary" and "skips its remaining holds" in told["answer"]


def test_who_asks_what_nobody_drives_is_told(theatre: Theatre, capsys: Any) -> None:
    def dies(rollout: Any, action: Any) -> None:
        if action.kind == "look":
            process.lease.release()
            press("hold")()
            process.die()

    process = theatre.process("first")
    with pytest.raises(BaseException):  # noqa: B017, PT011 - it was killed
        process.release(GOOD, dies)
    assert "Nobody drives it now: start the same version again" in " ".join(capsys.readouterr().out.split())


def test_watch_tells_each_event_once_as_a_line_until_the_end_and_exits_as_the_release_did(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    seen: list[Record] = []
    theatre.process("first").release(GOOD, lambda *_: seen.append(theatre.record()))
    seen.append(theatre.record())
    monkeypatch.setattr(commanding, "open_release", lambda *_: seen[0])
    monkeypatch.setattr(wiring, "load_record", lambda *_: seen.pop(0))
    last = seen[-1]
    assert press("watch", "--json")() == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [one["kind"] for one in told]
    assert kinds.count("step") == len(last.steps) and kinds.count("look") == len(last.looks)
    assert kinds[-1] == "end" and told[-1]["result"] == "promoted"


def test_ctrl_c_ends_the_watching_and_not_the_release(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(wiring, "load_record", interrupted)
    assert during(theatre, "look", press("watch")) == [130]
    assert "the release goes on by itself" in capsys.readouterr().err
    assert theatre.assert_outcome("promoted").commands == ()


ACTIONS = ("abort", "hold", "resume", "promote", "approve")


def test_every_command_has_a_deployment_with_its_action_set() -> None:
    deployments = {one["name"]: one for one in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    for action in ACTIONS:
        assert deployments[f"release-{action}"]["parameters"] == {"action": action}
        assert deployments[f"release-{action}"]["entrypoint"] == "flows.release_command.release_command"


def test_the_form_lets_the_service_be_left_out_which_means_the_release_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[str, ...]]()
    assert parameter_schema(release_command).required == ["environment", "action"]
    monkeypatch.setattr(tasks, "ask", lambda *given: asked.append(given) or {})
    release_command.fn("production", "approve", reason="seen", by="Bob")
    assert asked == [("production", "", "approve", "Bob", "seen", "", "")]


def test_the_flow_asks_as_the_command_line_does(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "get_run_logger", lambda: SimpleNamespace(info=lambda *_: None))
    monkeypatch.setattr(tasks, "ask", tasks.ask.fn)

    def hold() -> Any:
        return release_command.fn("production", "hold", "backend", "odd", "Bob")

    def resume() -> Any:
        return release_command.fn("production", "resume", "backend")

    held, _ = during(theatre, "look", hold, resume)
    assert "is held at 10 %" in held["answer"]
    given = theatre.record().commands
    assert [(one.name, one.by, one.reason) for one in given][0] == ("hold", "Bob", "odd")
    assert given[1].by.startswith("prefect run")
    with pytest.raises(Refused, match="there is nothing to hold"):
        hold()


@pytest.mark.parametrize("alive", [True, False])
def test_an_abort_by_the_flow_is_finished_there_where_nobody_drives(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    def reconcile(*_: Any, **more: Any) -> Any:
        assert more["attended"]
        if alive:
            raise Driven("Bob lives.")
        return None, ()

    monkeypatch.setattr(wiring, "reconcile", reconcile)
    asked = during(theatre, "look", lambda: commanding.go_back("production", "backend", by="Ada", reason="odd"))
    assert ("It goes back by itself." in asked[0][1]) is alive
    assert theatre.assert_outcome("rolled-back").reason == "Ada asked for an abort: odd"


def test_an_abort_of_one_of_several_services_is_asked_of_the_driver_of_all(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    process = theatre.process("run one (run-1), attempt 1")
    with pytest.raises(Killed):
        process.release(GOOD, at_action=lambda _, action: process.die() if action.kind == "look" else None)
    member = replace(theatre.record(), group="g")
    monkeypatch.setattr(records, "find_open", lambda *_: member)
    monkeypatch.setattr(wiring.group_records, "load", lambda _, name: name)
    monkeypatch.setattr(several, "ask_to_go_back", lambda _, group, command: asked.append((group, command.reason)))
    commanding.ask("production", "backend", "abort", by="Ada", reason="odd")
    assert asked == [("g", "odd")]
    assert theatre.record().commands == ()


def test_a_service_that_waits_for_the_others_has_the_driver_of_all() -> None:
    cluster = Theatre().cluster
    lease = {"holderIdentity": "run one", "renewTime": "2026-01-01T00:00:00Z"}
    cluster.create({"kind": "Lease", "metadata": {"name": "onlyvips-release-all-services"}, "spec": lease})
    assert wiring.driver_of(cluster, replace(RECORD, group="g")).holder == "run one"
    assert wiring.driver_of(cluster, RECORD).holder == ""
