"""Back to what an earlier release replaced: a release of its own, with the recorded template, whole."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from flows.commands import following, release, run
from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core.past import choose, pasts
from onlyvips.core.plan import Stage
from onlyvips.core.record import Record
from onlyvips.errors import Refused
from onlyvips.steps import records
from onlyvips.steps.opening import Start
from onlyvips.wiring import rollbacks
from tests.core.broken_environments import PRODUCTION
from tests.core.decisions import RECORD
from tests.procedures.in_place import Bot, Rolling
from tests.procedures.test_release_command import PROMOTED
from tests.procedures.theatre import GOOD, IMAGE, OLD, PLAN, Killed, Process, Theatre
from tests.simulators.platform import Version

THEATRES = [Bot, Rolling, Theatre]
LONG = replace(PLAN, stages=(Stage(10, 600.0), Stage(50, 600.0)))


@pytest.fixture
def theatre(monkeypatch: pytest.MonkeyPatch) -> Theatre:
    """A platform in memory on which GOOD was promoted over OLD; stages last ten minutes each."""
    theatre = Theatre(LONG)
    released(theatre, monkeypatch)
    return theatre


def released(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    """Production's environment, ``theatre``, and GOOD promoted on it."""
    loaded = environments.from_text(PRODUCTION, "production", "production.yaml")
    monkeypatch.setattr(environments, "load", lambda _: loaded)
    monkeypatch.setattr(wiring, "cluster_of", lambda _: theatre.cluster)
    monkeypatch.setattr(wiring, "metrics_of", lambda _: theatre.platform.metrics)
    monkeypatch.setattr(wiring, "_driven", {})
    theatre.process("first").release(GOOD)
    theatre.settle()


def go_back(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, to: str = "", holder: str = "second", at: Any = lambda *_: None
) -> Record:
    """A rollback by a process of its own, to its end."""
    process: Process = theatre.process(holder, run="run-2")
    monkeypatch.setattr(wiring, "site_of", lambda *_: process.site)
    monkeypatch.setattr(wiring, "_driven", {})
    name = rollbacks.begin("production", "backend", to, Start("", "Ada", "run-2", holder))
    try:
        return process._drive(wiring.driven(name), at)
    finally:
        if process.alive:
            process.lease.release()


def template(theatre: Theatre) -> Any:
    found = theatre.cluster.see("Deployment", "backend")
    assert found is not None
    return json.loads(json.dumps(found["spec"]["template"]))


def test_the_whole_recorded_template_comes_back_with_its_secrets_and_nothing_else_changes(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = theatre.secrets()
    backups, jobs = theatre.backups, theatre.cluster.see("Job", "migration-v090")
    record = go_back(theatre, monkeypatch)
    assert theatre.assert_outcome("promoted").id == record.id and theatre.stable_image() == OLD
    back = template(theatre)
    assert back["spec"]["containers"][0]["envFrom"] == [
        {"secretRef": {"name": "backend-jwt-0000000000"}},
        {"configMapRef": {"name": "backend-settings"}},
    ]
    assert back["metadata"]["labels"] == {"app": "backend", "track": "stable", "version": OLD}
    assert (theatre.secrets(), theatre.backups) == (before, backups)
    assert theatre.cluster.see("Job", "migration-v090") == jobs


@pytest.mark.parametrize("make", THEATRES)
def test_every_strategy_goes_back_and_a_bot_that_the_metrics_do_not_know_stays_there(
    make: type[Theatre], monkeypatch: pytest.MonkeyPatch
) -> None:
    theatre = make()
    released(theatre, monkeypatch)
    record = go_back(theatre, monkeypatch)
    assert theatre.assert_outcome("promoted").id == record.id and theatre.stable_image() == OLD
    assert record.judged == (make is not Bot)


def test_it_is_looked_at_in_every_stage_and_held_in_none_for_longer_than_a_look(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = theatre.clock.monotonic()
    record = go_back(theatre, monkeypatch)
    assert {look.stage for look in record.looks} == {0, 1}
    assert theatre.route_writes[-4:] == [10, 50, 100, 0]
    assert theatre.clock.monotonic() - began < 300


def test_a_version_that_fails_its_looks_is_not_brought_back(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    theatre.platform.versions[OLD] = Version(errors=0.5)
    assert "api-errors" in go_back(theatre, monkeypatch).reason
    theatre.settle()
    assert theatre.stable_image() == GOOD and theatre.leftovers() == [] and theatre.platform.lost_requests == 0


def test_what_was_rolled_back_can_be_brought_again_by_its_name(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = records.every(theatre.cluster, "backend")[0]
    go_back(theatre, monkeypatch)
    theatre.settle()
    names = [past.name for past in rollbacks.listed("production", "backend")]
    assert names == [first.id, f"before-{first.id}"]
    process = theatre.process("third", run="run-3")
    monkeypatch.setattr(wiring, "site_of", lambda *_: process.site)
    monkeypatch.setattr(wiring, "_driven", {})
    name = rollbacks.begin("production", "backend", first.id, Start("", "Ada", "run-3", "third"))
    process._drive(wiring.driven(name), lambda *_: None)
    assert theatre.assert_outcome("promoted").to_image == f"{IMAGE}:{GOOD}"


def test_an_open_rollback_is_gone_on_with_by_its_name_or_none_and_another_target_is_refused(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = records.every(theatre.cluster, "backend")[0]
    with pytest.raises(Killed):
        go_back(theatre, monkeypatch, at=lambda rollout, action: action.kind == "look" and rollout.tools.cluster.die())
    before = theatre.record()
    with pytest.raises(
        Refused, match=rf"goes back to before-{first.id}, is still open .* so going back to {first.id} "
    ):
        go_back(theatre, monkeypatch, to=first.id, holder="third")
    assert theatre.record() == before
    go_back(theatre, monkeypatch, to=f"before-{first.id}", holder="fourth")
    assert theatre.assert_outcome("promoted").id == before.id and theatre.stable_image() == OLD


@pytest.mark.parametrize("kind", ["snapshot", "create-canary", "look", "set-weight", "replace-stable", "remove-canary"])
@pytest.mark.parametrize("comes", ["a retry", "nobody"])
def test_killed_anywhere_it_is_finished_by_a_retry_or_taken_back_by_the_reconciler(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, kind: str, comes: str
) -> None:
    def die(rollout: Any, action: Any) -> None:
        if action.kind == kind:
            rollout.tools.cluster.die()

    with pytest.raises(Killed):
        go_back(theatre, monkeypatch, at=die)
    if comes == "a retry":
        go_back(theatre, monkeypatch, holder="third")
        assert theatre.assert_outcome("promoted") and theatre.stable_image() == OLD
        return
    theatre.process("reconciler").reconcile()
    record = theatre.record()
    assert not record.open and theatre.stable_image() == (OLD if record.result == "promoted" else GOOD)
    theatre.settle()
    assert theatre.leftovers() == [] and theatre.broken_rules == [] and theatre.platform.lost_requests == 0


def test_a_release_of_the_same_version_does_not_go_on_with_a_rollback(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []

    def ask(rollout: Any, action: Any) -> None:
        if action.kind == "look" and not refused:
            with pytest.raises(Refused, match="is still open") as told:
                theatre.process("other", run="run-3").release(OLD)
            refused.append(str(told.value))

    go_back(theatre, monkeypatch, at=ask)
    assert refused and theatre.stable_image() == OLD


@pytest.mark.parametrize(("kind", "name"), [("Secret", "backend-jwt-0000000000"), ("ConfigMap", "backend-settings")])
def test_a_secret_or_configmap_that_is_gone_is_refused_by_its_name(theatre: Theatre, kind: str, name: str) -> None:
    theatre.cluster.drop(kind, name)
    with pytest.raises(Refused, match=f"needs {kind} {name}, which is gone: nothing was changed"):
        rollbacks.target_of("production", "backend", "")


def test_blue_green_is_refused_by_name(theatre: Theatre) -> None:
    with pytest.raises(Refused, match="miniapp is released by blue-green, whose recorded colours do not come back"):
        rollbacks.target_of("production", "miniapp", "")


def test_only_promoted_releases_replaced_something_and_the_newest_is_first() -> None:
    promoted = replace(RECORD, phase="closed", result="promoted", snapshot="s")
    first = replace(promoted, id="r1", from_release="", from_image="img:v0", snapshot="s1")
    failed = replace(promoted, id="r2", result="rolled-back", from_release="r1", snapshot="s2")
    third = replace(promoted, id="r3", from_release="r1", from_image="img:v1", snapshot="s3")
    found = pasts([first, failed, third])
    assert [(past.name, past.image, past.snapshot) for past in found] == [
        ("r1", "img:v1", "s3"),
        ("before-r1", "img:v0", "s1"),
    ]
    assert choose(found, "backend", "") == found[0] and choose(found, "backend", "before-r1") == found[1]
    with pytest.raises(Refused, match="cannot go back to `r9`: nothing was changed; there is r1, before-r1"):
        choose(found, "backend", "r9")
    with pytest.raises(Refused, match="No release of backend was promoted yet"):
        choose([], "backend", "")


def test_the_command_lists_and_goes_back_to_what_was_named(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(following, "in_this_process", lambda one, **_: asked.append(one) or PROMOTED)
    monkeypatch.setattr(release, "_told", lambda *_: 0)
    where = ["release", "rollback", "-e", "production", "-s", "backend"]
    assert run([*where, "--list"]) == 0
    listed = capsys.readouterr().out.split()[0]
    assert listed.startswith("before-backend-") and asked == []
    assert run([*where, "--local"]) == 0
    assert following._parameters(asked[0])["to"] == listed
    assert "A migration is not undone." in capsys.readouterr().out
    assert run([*where, "--to", "nonsense"]) == 2
