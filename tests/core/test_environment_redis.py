"""What the environment says of Redis' backup: a persistent one can be reached, of another one nothing is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from onlyvips import environment as environments

DIRECTORY = Path(__file__).parents[2] / "deployments" / "environments"
PRODUCTION = (DIRECTORY / "production.yaml").read_text()
LINES = PRODUCTION.splitlines(keepends=True)
ENDPOINT = next(line for line in LINES if line.startswith("  redis: env:"))
READER = next(line for line in LINES if line.startswith("  redis: {replica"))
ON = "redis: {role: cache, persistent: true} "
OFF = "redis: {role: cache, persistent: false}"


def edited(*changes: tuple[str, str]) -> environments.Environment:
    text = PRODUCTION
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return environments.from_text(text, "production", "production.yaml")


def sentences(environment: environments.Environment) -> list[str]:
    return [sentence for _, chapter in environments.describe(environment) for sentence in chapter]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            [(ENDPOINT, "")],
            "endpoints.redis: this key is missing: platform.redis is persistent, and its backup asks it there",
        ),
        ([(ON, OFF)], "backup.redis: platform.redis is not persistent, so it is not backed up: leave it out"),
        ([(READER, "  redis: {replika: true}\n")], "backup.redis.replika: "),
        ([(READER, "  redis: {replica: 1}\n")], "backup.redis.replica: "),
        ([(READER, "  redis: {}\n")], "backup.redis.replica: this key is missing"),
    ],
)
def test_a_redis_that_could_not_be_backed_up_is_refused(changes: list[tuple[str, str]], sentence: str):
    with pytest.raises(environments.EnvironmentInvalid) as raised:
        edited(*changes)
    assert sentence in str(raised.value)
    assert "production.yaml:" in str(raised.value)


def test_a_redis_that_keeps_nothing_is_neither_taken_nor_scheduled_nor_audited():
    found = edited((ON, OFF), (READER, ""), (ENDPOINT, ""))
    assert "redis" not in environments.kinds(found)
    assert "redis" not in environments.audit_plan(found).every
    assert "production-redis" not in [one.name for one in environments.schedules(found)]
    assert "Redis is not persistent, so it is not backed up." in sentences(found)


def test_what_is_backed_up_with_the_database_is_taken_as_often_as_it_and_at_the_same_moments():
    for period in ("6h", "4h"):
        found = edited(("    - kind: mongodb\n      every: 6h", f"    - kind: mongodb\n      every: {period}"))
        every = {one.name: one.every for one in environments.schedules(found)}
        assert every["production-redis"] == every["production-mongodb"] == int(period[0]) * 3600


@pytest.mark.parametrize(("replica", "told"), [("false", "."), ("true", ", which may be a replica.")])
def test_whether_a_replica_may_be_read_is_said(replica: str, told: str):
    found = edited((READER, f"  redis: {{replica: {replica}}}\n"))
    assert found.backup.redis and found.backup.redis.replica == (replica == "true")
    assert f"Redis: the RDB of the server at env:ONLYVIPS_REDIS_URL{told}" in sentences(found)


def test_without_a_word_about_replicas_the_primary_is_read():
    assert edited((READER, "")).backup.redis is None
