"""Mistakes in where an environment wants approvals."""

from __future__ import annotations

from tests.core.broken_environments import Case

BROKEN = {
    "an approval before no stage": Case(
        "    stages: [50%]  ",
        "    stages: [40%]  ",
        "release.approvals.stages[0]",
        "no stage of 40%: there are 10%, 25%",
    ),
    "approvals that fall": Case(
        "    stages: [50%]  ", "    stages: [50%, 10%]", "release.approvals.stages", "must rise"
    ),
    "no time to approve": Case("    within: 4h  ", "    within: 1s", "release.approvals.within", "give people longer"),
    "more approvals than people": Case(
        "    at_least: 1\n", "    at_least: 3\n    by: [ada, bob]\n", "release.approvals.at_least", "`by` names 2"
    ),
    "no deadline": Case("    within: 4h  ", "    ", "release.approvals.within", "this key is missing"),
    "an unknown approval": Case("    four_eyes:", "    for_eyes:", "release.approvals.for_eyes", "`four_eyes`?"),
}
ELSEWHERE = {"no deadline": "  approvals:"}
