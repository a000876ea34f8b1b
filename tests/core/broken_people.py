"""Mistakes in what an environment says of people; see ``broken_environments``."""

from __future__ import annotations

from tests.core.broken_environments import Case

_WANTS = "people.notifications.targets.management.wants"
BROKEN = {
    "a webhook in the file": Case(
        "slack: {url: env:ONLYVIPS_SLACK_URL",
        "slack: {url: https://hooks.slack.com/services/T0/B0/hunter2-Sw0rdfish",
        "people.notifications.targets.slack.url",
        "a secret must be a reference",
    ),
    "an event that never comes": Case(
        "wants: [escalation]", "wants: [escalatoin]", f"{_WANTS}[0]", "did you mean `escalation`?"
    ),
    "a target that wants nothing": Case("wants: [escalation]", "wants: []", _WANTS, "at least one entry"),
}
