"""The environment's file: what is wrong in it is named with file, line, key and what is near."""

from __future__ import annotations

import pytest

from onlyvips import environment as environments
from tests.core import (
    broken_affinity,
    broken_approvals,
    broken_blue_green,
    broken_calendar,
    broken_charts,
    broken_configs,
    broken_configuration,
    broken_drills,
    broken_environments,
    broken_people,
    broken_routers,
)
from tests.core.broken_environments import PRODUCTION, SECRET

BROKEN = broken_environments.BROKEN | broken_configuration.BROKEN | broken_drills.BROKEN | broken_people.BROKEN
BROKEN |= broken_approvals.BROKEN | broken_blue_green.BROKEN | broken_calendar.BROKEN | broken_affinity.BROKEN
BROKEN |= broken_charts.BROKEN | broken_routers.BROKEN | broken_configs.BROKEN
SPECIAL = broken_environments.SPECIAL | broken_configuration.SPECIAL
ELSEWHERE = broken_environments.ELSEWHERE | broken_drills.ELSEWHERE | broken_blue_green.ELSEWHERE
ELSEWHERE |= broken_calendar.ELSEWHERE | broken_approvals.ELSEWHERE


def edited(case: str) -> tuple[str, int]:
    """The broken text and the line (from 1) where its problem is."""
    text = PRODUCTION
    for old, new in SPECIAL.get(case, [(BROKEN[case].old, BROKEN[case].new)]):
        assert old in text, f"{old!r} is not in production.yaml"
        text = text.replace(old, new, 1)
    if "@@" in text:
        position = text.index("@@")
    elif case in ELSEWHERE:
        position = text.index(ELSEWHERE[case])
    else:
        position = text.index(BROKEN[case].new) + (len(BROKEN[case].new) - len(BROKEN[case].new.lstrip("\n")))
    return text.replace("@@", ""), text.count("\n", 0, position) + 1


@pytest.mark.parametrize("case", BROKEN)
def test_every_mistake_is_named_with_file_line_and_key(case: str) -> None:
    text, line = edited(case)
    with pytest.raises(environments.EnvironmentInvalid) as error:
        environments.from_text(text, "production", "dir/production.yaml")
    sentences = error.value.sentences()
    wanted = [s for s in sentences if s.startswith(f"dir/production.yaml:{line}: {BROKEN[case].key}: ")]
    assert any(BROKEN[case].message in sentence for sentence in wanted), f"line {line} expected in {sentences}"
    assert SECRET not in str(error.value) and SECRET not in repr(error.value)


def test_all_mistakes_of_a_file_are_reported_at_once() -> None:
    changes = {
        "  poll: 2s": "  poll: 2",
        "alpha: 5%": "alpha: 50%",
        "cdn: cloudflare": "cdn: akamai",
        "[blue, green]": "[blue, blue]",
        "rpo: 1h": "rpo: 5m",
        "strategy: recreate": "strategy: rolling",
        "  lease: 60s": "  lease: 60s\n  lease: 70s",
    }
    text = PRODUCTION
    for old, new in changes.items():
        text = text.replace(old, new, 1)
    with pytest.raises(environments.EnvironmentInvalid) as error:
        environments.from_text(text, "production", "production.yaml")
    keys = {".".join(map(str, problem.path)) for problem in error.value.problems}
    assert keys >= {"waits.poll", "waits.lease", "analysis.alpha", "platform.cdn", "services.bot.strategy"}
    assert keys >= {"strategies.blue_green.colours", "backup.oplog_every"}
    lines = [problem.line for problem in error.value.problems]
    assert lines == sorted(lines)


def test_a_number_that_is_not_read_is_told_once() -> None:
    with pytest.raises(environments.EnvironmentInvalid) as error:
        environments.from_text(PRODUCTION.replace("workers: 4", "workers: 010"), "production", "production.yaml")
    assert len(error.value.problems) == 1


@pytest.mark.parametrize("text", ["", "- a", "just words", "# nothing\n", "name: [", "\x00", "a: " + "[" * 5000])
def test_what_is_not_a_mapping_is_refused_without_a_crash(text: str) -> None:
    with pytest.raises(environments.EnvironmentInvalid, match=r"x\.yaml:\d+: the file: "):
        environments.from_text(text, "x", "x.yaml")
