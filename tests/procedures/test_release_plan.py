"""``onlyvips release plan``: everything that would refuse a release is told at once, and nothing is written."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from flows.commands import release, run
from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.errors import Refused, Transient
from onlyvips.wiring import planning
from tests.core.broken_environments import PRODUCTION
from tests.procedures.theatre import GOOD, OLD, Theatre


@pytest.fixture
def theatre(monkeypatch: pytest.MonkeyPatch) -> Theatre:
    """Production's environment, a platform in memory, every other system well."""
    theatre = Theatre()
    loaded = environments.from_text(PRODUCTION, "production", "production.yaml")
    monkeypatch.setattr(environments, "load", lambda _: loaded)
    monkeypatch.setattr(wiring, "cluster_of", lambda _: theatre.cluster)
    monkeypatch.setattr(wiring, "checks_of", lambda *_: [])
    monkeypatch.setenv("ONLYVIPS_JWT_SECRET", "of-production")
    monkeypatch.setattr(wiring, "metrics_of", lambda _: theatre.platform.metrics)
    return theatre


def plan(version: str = GOOD, **more: Any) -> int:
    return release.planning.plan(environment="production", service="backend", version=version, **more)


def test_it_tells_every_step_and_writes_nothing(theatre: Theatre, capsys: Any) -> None:
    before = [list(theatre.cluster.all(kind, {})) for kind in ("Deployment", "ConfigMap", "Secret")]
    assert plan() == 0
    out = capsys.readouterr().out
    assert "it would replace ghcr.io/onlyvips/backend:v0.8.0 on 4 pods" in out
    assert "stage 2 of 3: 25 % of requests on 1 pod, held for 1 h" in out and "Nothing was changed." in out
    assert [list(theatre.cluster.all(kind, {})) for kind in ("Deployment", "ConfigMap", "Secret")] == before


def test_every_refusal_is_told_and_the_exit_code_says_so(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def refuse(error: Exception) -> Any:
        def check() -> None:
            raise error

        return check

    checks = [refuse(Refused("No oplog.")), lambda: None, refuse(Transient("The store is away."))]
    monkeypatch.setattr(wiring, "checks_of", lambda *_: checks)
    assert plan(OLD, json=True) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    runs, *others = told["found"]["refusals"]
    assert "runs v0.8.0 already" in runs and others == ["No oplog.", "The store is away."]


def test_a_secret_that_cannot_be_made_or_that_nothing_reads_is_told_with_file_line_and_key(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.delenv("ONLYVIPS_JWT_SECRET")
    text = PRODUCTION.replace("replaces: backend-jwt ", "replaces: backend-jwk ").replace(
        "name: backend-jwt ", "name: jwk "
    )
    monkeypatch.setattr(environments, "load", lambda _: environments.from_text(text, "production", "production.yaml"))
    assert plan(json=True) == 2
    unread, unset = json.loads(capsys.readouterr().out)["found"]["refusals"]
    assert unread.startswith(
        f"production.yaml:{line_of('replaces: backend-jwt ')}: release.secrets.backend[0].replaces: no"
    )
    assert "refers to Secret backend-jwk" in unread
    where = f"production.yaml:{line_of('values: {JWT_SECRET')}: release.secrets.backend[0].values.JWT_SECRET: "
    assert unset.startswith(f"{where}env:ONLYVIPS_JWT_SECRET is not set") and "othing was changed" in unset


def line_of(text: str) -> int:
    return PRODUCTION.count("\n", 0, PRODUCTION.index(text)) + 1


def test_a_release_that_is_open_is_told(theatre: Theatre, capsys: Any) -> None:
    told: list[int] = []

    def ask(rollout: object, action: object) -> None:
        if not told:
            told.append(plan())

    theatre.process("first").release(GOOD, ask)
    assert told == [2]
    assert f"of {GOOD} is open (phase prepare)." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("service", "strategy", "sentence"),
    [
        ("backend", "recreate", "services.backend.strategy: recreate stops a service before the new one runs"),
        (
            "showcu-panel",
            "canary",
            "services.showcu-panel.strategy: a weighted canary of a front-end with versioned assets",
        ),
        ("bot", "rolling", "services.bot.strategy: a polling bot never runs twice"),
    ],
)
def test_a_strategy_that_a_service_cannot_do_is_refused_with_its_key(
    theatre: Theatre, capsys: Any, service: str, strategy: str, sentence: str
) -> None:
    asked = ["release", "plan", "-e", "production", "-s", service, "-v", GOOD, "--strategy", strategy]
    assert run(asked) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(rf"production\.yaml:\d+: {re.escape(sentence)}", said)


def test_a_service_that_is_misspelt_is_refused_with_the_nearest(theatre: Theatre) -> None:
    with pytest.raises(Refused, match=r"has no service `bakend`; did you mean `backend`\? \(production.yaml:\d+: ser"):
        planning.foresee("production", "bakend", GOOD)


def test_stages_that_will_see_little_at_todays_traffic_are_told_as_warnings(theatre: Theatre, capsys: Any) -> None:
    assert plan() == 0
    where = f"production.yaml:{line_of('    stages:')}: strategies.canary.stages: stages 1, 2 and 3: "
    assert f"{where}backend's stable counted no request in the last 15 min" in capsys.readouterr().out
    theatre.platform.metrics.prometheus_away()
    assert plan(json=True) == 0
    (only,) = json.loads(capsys.readouterr().out)["warnings"]
    assert "today's traffic is not known (Prometheus did not answer: ConnectError)" in only


def test_another_version_than_the_releases_is_told_to_go_without_what_the_release_brings(
    theatre: Theatre, capsys: Any
) -> None:
    assert plan("v0.9.1", json=True) == 0
    first, *_ = json.loads(capsys.readouterr().out)["warnings"]
    assert first == (
        f"production.yaml:{line_of('  version: v0.9.0')}: release.version: the release is v0.9.0, so v0.9.1 changes "
        "the image alone, without its migration migration-v090, Secret backend-jwt."
    )


def test_without_access_to_the_cluster_the_steps_are_told_all_the_same(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def away(_: object) -> None:
        raise Refused("No access to the cluster.")

    monkeypatch.setattr(wiring, "cluster_of", away)
    assert plan(json=True) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["found"] == {"image": "", "capacity": 0, "refusals": ["No access to the cluster."]}
    assert [one["weight"] for one in told["steps"] if one["weight"]] == [10, 25, 50]
