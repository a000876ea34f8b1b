"""Mistakes in what an environment says of users and testers of a canary; see ``broken_environments``."""

from __future__ import annotations

from tests.core.broken_environments import Case

BROKEN = {
    "affinity": Case(
        "    deployment: bot", "    deployment: bot\n@@    affinity: cookie", "services.bot.affinity", "only a canary"
    ),
    "unknown affinity": Case(
        "strategy: canary", "strategy: canary\n@@    affinity: cokie", "services.backend.affinity", "mean `cookie`?"
    ),
    "embedded without a cookie": Case(
        "strategy: canary", "strategy: canary\n@@    embedded: true", "services.backend.embedded", "there is none"
    ),
    "testers of blue-green": Case(
        "image: ghcr.io/onlyvips/miniapp",
        "image: ghcr.io/onlyvips/miniapp\n@@    testers: {header: X-Tester, value: canary}",
        "services.miniapp.testers",
        "blue-green has not",
    ),
    "testers by what all send": Case(
        "strategy: canary",
        "strategy: canary\n@@    testers: {header: User-Agent, value: tester}",
        "services.backend.testers",
        "name one that only testers send",
    ),
    "testers' header": Case(
        "strategy: canary",
        "strategy: canary\n@@    testers: {header: 'X Tester', value: canary}",
        "services.backend.testers.header",
        "a header's name",
    ),
    "canary of a front-end": Case(
        "image: ghcr.io/onlyvips/miniapp\n    strategy: blue-green",
        "image: ghcr.io/onlyvips/miniapp\n@@    strategy: canary",
        "services.miniapp.strategy",
        "write `affinity: cookie`",
    ),
}
