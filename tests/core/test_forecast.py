"""What a plan tells before anything begins: every step in the order of the phases, with its numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from onlyvips.core.around import Around, Backup
from onlyvips.core.forecast import Forecast, Found, forecast, lines, to_dict
from onlyvips.core.phases import phases_of
from onlyvips.core.plan import (
    ChartPlan,
    ConfigPlan,
    HookPlan,
    Index,
    MigrationPlan,
    ReleasePlan,
    SecretPlan,
    Stage,
    Strategy,
)
from onlyvips.core.spans import span
from onlyvips.core.windows import Calendar, Freeze
from tests.core.decisions import PLAN
from tests.core.test_windows import WORK, at

FOUND = Found("img:v1", 10)
JOB = MigrationPlan("migration-v090", "i", ("m",), "db", "s", "k", (Index("users", (("telegramId", 1),), True),))
FULL = replace(
    PLAN,
    stages=(Stage(10, 1800.0), Stage(25, 3600.0), Stage(50, 7200.0)),
    waits=replace(PLAN.waits, look=60.0, propagation=30.0),
    migration=JOB,
    secrets=(SecretPlan("backend-jwt", "backend-jwt-v1", (("JWT_SECRET", "env:SECRET_OF_THE_LAB"),)),),
    configs=(ConfigPlan("backend-settings", "backend-old", ("LEVEL",), "/srv/configs"),),
)


AROUND = Around(Calendar(), at("2026-11-26T12:00"), Backup("onlyvips", ("s3-a", "s3-b, off site, locked"), 2))


def of(plan: ReleasePlan, strategy: Strategy = "canary", around: Around = AROUND, **found: Any) -> Forecast:
    service = replace(plan.service, strategy=strategy)
    return forecast(replace(plan, service=service), "v2", replace(FOUND, **found), around)


def text(told: Forecast) -> str:
    return "\n".join(lines(told))


def test_each_stage_is_told_with_its_weight_pods_hold_and_looks() -> None:
    stages = [step for step in of(FULL).steps if step.weight]
    told = [(step.weight, step.pods, step.looks, step.seconds) for step in stages]
    assert told == [(10, 1, 30, 1800.0), (25, 3, 60, 3600.0), (50, 5, 120, 7200.0)]
    assert "stage 2 of 3: 25 % of requests on 3 pods, held for 1 h with 60 looks, one each 1 min" in stages[1].what


def test_it_takes_at_least_its_holds_and_the_waits_for_the_router() -> None:
    assert of(FULL).at_least == 1800 + 3600 + 7200 + 4 * 30


def test_the_router_is_told_and_by_pods_what_is_left_of_stable() -> None:
    assert "router gateway-api: weights in rule backend of HTTPRoute onlyvips" in text(of(FULL))
    by_pods = replace(FULL, service=replace(FULL.service, router="replica-ratio"), stages=(Stage(10, 1800.0),))
    told = text(of(by_pods))
    assert "router replica-ratio: Service backend leads to all pods, so the share is that of pods" in told
    assert "10 % of requests on 1 pod, and stable asks for 9, held for 30 min" in told
    assert "backend is scaled to 0" in told and "as long as pods of stable need to start" in told


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_every_strategy_tells_its_phases_in_the_order_in_which_they_come(strategy: Strategy) -> None:
    told = list(dict.fromkeys(step.phase for step in of(FULL, strategy).steps))
    assert told == [phase for phase in phases_of(strategy) if phase not in ("rollback", "closed")]
    assert of(FULL, strategy).back


def test_secrets_migration_and_what_a_rollback_leaves_are_told_without_any_reference_or_value() -> None:
    said = text(of(FULL))
    assert "make Secret backend-jwt-<hash of its values> beside backend-jwt-v1, with JWT_SECRET" in said
    told = "ConfigMap backend-settings-<hash of its texts> beside backend-old, with LEVEL, each file of /srv/configs"
    assert told in said and "old ConfigMaps (backend-old): a rollback needs them" in said
    assert "run Job migration-v090" in said and "indexes users(telegramId)" in said
    assert "a rollback does not undo them" in said
    assert "SECRET_OF_THE_LAB" not in said + str(to_dict(of(FULL)))


def test_what_would_refuse_it_is_told_in_full_and_what_is_not_known_is_not_made_up() -> None:
    told = of(FULL, image="", capacity=0, refusals=("The cluster is away.", "No oplog."))
    said = text(told)
    assert "- The cluster is away." in said and "- No oplog." in said
    assert "what runs now could not be seen" in said and "Nothing known would refuse it" not in said
    assert {step.pods for step in told.steps} == {0}
    assert to_dict(told)["ok"] is False and to_dict(of(FULL))["ok"] is True


def test_the_image_is_told_with_its_digest() -> None:
    digest = f"sha256:{'a' * 64}"
    assert f"It brings {PLAN.service.image}:v2@{digest}." in text(of(replace(FULL, digest=digest)))
    assert f"It brings {PLAN.service.image}:v2." in text(of(FULL))


@pytest.mark.parametrize(
    ("calendar", "told"),
    [
        (Calendar(), "the environment has no release windows, and no freeze to come"),
        (Calendar((WORK,)), "now, until Thu 2026-11-26 17:00 CET, when the window closes"),
        (
            Calendar((WORK,), (Freeze(at("2026-11-26T14:00"), at("2026-12-01T09:00"), "audit"),)),
            "now, until Thu 2026-11-26 14:00 CET, when a freeze begins (audit)",
        ),
        (
            Calendar((WORK,), (Freeze(at("2026-11-26T10:00"), at("2026-11-29T09:00"), "audit"),)),
            "not now: releases are frozen until Sun 2026-11-29 09:00 CET (audit); the next time is Mon 2026-11-30",
        ),
    ],
)
def test_windows_and_freezes_in_force_are_told_with_what_comes_next(calendar: Calendar, told: str) -> None:
    said = of(FULL, around=replace(AROUND, calendar=calendar))
    assert told in said.when[0]
    assert to_dict(said)["outlook"]["open"] is not said.when[0].startswith("not now")


def test_a_release_that_outlasts_its_window_says_when_it_ends() -> None:
    late = replace(AROUND, calendar=Calendar((WORK,)), now=at("2026-11-26T15:00"))
    assert "not before Thu 2026-11-26 18:32 CET: what is open goes on" in of(FULL, around=late).when[1]
    assert len(of(FULL, around=replace(late, now=at("2026-11-26T12:00"))).when) == 1


def test_the_backup_is_told_with_every_place_it_goes_to() -> None:
    (step,) = [step for step in of(FULL).steps if step.phase == "backup"]
    assert "database onlyvips, encrypted for 2 recipients, to 2 places (s3-a; s3-b, off site, locked)" in step.what


def test_hooks_are_steps_where_they_come() -> None:
    plan = replace(
        FULL, before=(HookPlan("warn", "i:1", ("w",), 60.0),), after=(HookPlan("crawl", "i:1", ("c",), 90.0),)
    )
    steps = of(plan).steps
    assert steps[0].what.startswith("run Job warn (i:1), for at most 1 min; it is tried once")
    assert steps[-2].what.startswith("run Job crawl") and steps[-1].phase == "evidence"


def test_the_point_of_no_return_and_the_way_back_later_are_told() -> None:
    assert of(FULL).no_return.startswith("none: until it is closed it can go back")
    contract = replace(AROUND, contract=HookPlan("drop-old", "i:1", ("d",), 60.0))
    assert "the contract migration drop-old runs with `--all` alone" in of(FULL, around=contract).no_return
    assert f"release rollback -e {PLAN.environment} -s {PLAN.service.name}` brings img:v1 back" in of(FULL).later[0]
    chart = replace(FULL, chart=ChartPlan("onlyvips", "tag", "id", (), 60.0, path="/chart"))
    for told in (of(FULL, "blue-green"), of(chart)):
        assert "release rollback" not in " ".join(told.later)
        assert told.no_return.endswith("after that by a release of the old version")
    assert of(chart).later[0] == "its chart had img:v1; to have it again, release that version"


def test_who_is_told_is_told_and_that_nobody_is() -> None:
    assert "nobody: people.notifications.targets names no target" in of(FULL).told[0]
    chat = replace(AROUND, told=(("chat", ("started", "promoted")),), escalate_after=300.0)
    assert of(FULL, around=chat).told == (
        "chat: started, promoted",
        "nobody, when a question is not answered: no target wants `escalation`",
    )
    pager = replace(chat, told=(("pager", ("escalation",)),))
    assert of(FULL, around=pager).told[-1] == "escalation comes when nobody has answered for 5 min"


def test_what_it_is_judged_by_is_told_with_its_numbers() -> None:
    told = "\n".join(of(FULL).judge)
    assert "api-errors: goes back when surely more than 5 % of requests fail, once 100 were seen" in told
    assert "promoted when its pods are up" in of(FULL, "rolling").judge[0]


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
