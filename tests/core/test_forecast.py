"""What a plan tells before anything begins: every step in the order of the phases, with its numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from onlyvips.core.forecast import Forecast, Found, forecast, lines, to_dict
from onlyvips.core.phases import phases_of
from onlyvips.core.plan import Index, MigrationPlan, ReleasePlan, SecretPlan, Stage, Strategy
from onlyvips.core.spans import span
from tests.core.decisions import PLAN

FOUND = Found("img:v1", 10)
JOB = MigrationPlan("migration-v090", "i", ("m",), "db", "s", "k", (Index("users", (("telegramId", 1),), True),))
FULL = replace(
    PLAN,
    stages=(Stage(10, 1800.0), Stage(25, 3600.0), Stage(50, 7200.0)),
    waits=replace(PLAN.waits, look=60.0, propagation=30.0),
    migration=JOB,
    secrets=(SecretPlan("backend-jwt", "backend-jwt-v1", (("JWT_SECRET", "env:SECRET_OF_THE_LAB"),)),),
)


def of(plan: ReleasePlan, strategy: Strategy = "canary", **found: Any) -> Forecast:
    service = replace(plan.service, strategy=strategy)
    return forecast(replace(plan, service=service), "v2", replace(FOUND, **found))


def test_each_stage_is_told_with_its_weight_pods_hold_and_looks() -> None:
    stages = [step for step in of(FULL).steps if step.weight]
    told = [(step.weight, step.pods, step.looks, step.seconds) for step in stages]
    assert told == [(10, 1, 30, 1800.0), (25, 3, 60, 3600.0), (50, 5, 120, 7200.0)]
    assert "stage 2 of 3: 25 % of requests on 3 pods, held for 1 h with 60 looks, one each 1 min" in stages[1].what


def test_it_takes_at_least_its_holds_and_the_waits_for_the_router() -> None:
    assert of(FULL).at_least == 1800 + 3600 + 7200 + 4 * 30


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_every_strategy_tells_its_phases_in_the_order_in_which_they_come(strategy: Strategy) -> None:
    told = list(dict.fromkeys(step.phase for step in of(FULL, strategy).steps))
    assert told == [phase for phase in phases_of(strategy) if phase not in ("rollback", "closed")]
    assert of(FULL, strategy).back


def test_secrets_migration_and_what_a_rollback_leaves_are_told_without_any_reference_or_value() -> None:
    text = "\n".join(lines(of(FULL)))
    assert "make Secret backend-jwt-<hash of its values> beside backend-jwt-v1, with JWT_SECRET" in text
    assert "run Job migration-v090" in text and "indexes users(telegramId)" in text
    assert "a rollback does not undo them" in text
    assert "SECRET_OF_THE_LAB" not in text + str(to_dict(of(FULL)))


def test_what_would_refuse_it_is_told_in_full_and_what_is_not_known_is_not_made_up() -> None:
    told = of(FULL, image="", capacity=0, refusals=("The cluster is away.", "No oplog."))
    text = "\n".join(lines(told))
    assert "- The cluster is away." in text and "- No oplog." in text
    assert "what runs now could not be seen" in text and "Nothing known would refuse it" not in text
    assert {step.pods for step in told.steps} == {0}
    assert to_dict(told)["ok"] is False and to_dict(of(FULL))["ok"] is True


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (8.5, "8.5 s"),
        (0, "0 s"),
        (60, "1 min"),
        (5400, "1 h 30 min"),
        (86400 + 3600 + 60, "1 d 1 h"),
        (3605, "1 h 5 s"),
    ],
)
def test_lengths_of_time_as_people_say_them(seconds: float, text: str) -> None:
    assert span(seconds) == text
