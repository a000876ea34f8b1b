"""Mistakes in what an environment says of its configuration; see ``broken_environments``."""

from __future__ import annotations

from tests.core.broken_environments import PRODUCTION, Case

BROKEN = {
    "unknown kind": Case(
        "      - Deployment\n", "@@      - Deploymnt\n", "backup.configuration.kinds[7]", "did you mean `Deployment`?"
    ),
    "kind of nobody": Case(
        "      - CronJob", "      - Certificate", "backup.configuration.kinds[9]", "write it as group/version/Kind"
    ),
    "pods": Case("      - CronJob", "      - v1/Pod", "backup.configuration.kinds[9]", "controllers make it"),
    "jobs": Case("      - CronJob", "      - Job", "backup.configuration.kinds[9]", "would run it again"),
    "kind asked for twice": Case(
        "      - CronJob", "      - apps/v1/Deployment", "backup.configuration.kinds[9]", "is asked for already"
    ),
    "no kinds": Case("", "", "backup.configuration.kinds", "at least one entry is needed here"),
    "configuration of nothing": Case("", "", "backup.configuration", "this key is missing"),
    "seldom looks": Case("look_every: 1h", "look_every: 48h", "backup.configuration.look_every", "at most backup"),
    "changes of secrets": Case(
        "      every: 24h\n      how: daily V",
        "      on_change: true\n      how: daily V",
        "recovery.protected[5].on_change",
        "nobody sees a change of secrets",
    ),
}

SPECIAL: dict[str, list[tuple[str, str]]] = {
    "no kinds": [
        (PRODUCTION[PRODUCTION.index("    kinds:\n") : PRODUCTION.index("    repository:")], "@@    kinds: []\n"),
    ],
    "configuration of nothing": [
        (PRODUCTION[PRODUCTION.index("  configuration:") : PRODUCTION.index("  secrets:     ")], ""),
        ("backup:\n", "@@backup:\n"),
    ],
}
