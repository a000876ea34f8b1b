"""Mistakes in what an environment says of blue-green; see ``broken_environments``."""

from __future__ import annotations

from tests.core.broken_environments import Case

BROKEN = {
    "blue-green of another Service": Case(
        "main_service: main-app",
        "main_service: other",
        "strategies.blue_green.service",
        "platform.main_service is `other`",
    ),
    "blue-green behind another Service": Case(
        "deployment: miniapp\n    service: main-app",
        "deployment: miniapp\n@@    service: miniapp",
        "services.miniapp.service",
        "write `service: main-app`",
    ),
    "blue-green without a route": Case(
        "    route: {name: onlyvips, rule: miniapp} ",
        "    # none ",
        "services.miniapp.route",
        "the other colour is tested",
    ),
    "a warm window without a look": Case(
        "keep_warm: 30m", "keep_warm: 30s", "strategies.blue_green.keep_warm", "before anybody could look"
    ),
    "no smoke test": Case(
        ", service: miniapp}", ", service: showcu-panel}", "strategies.blue_green.smoke_test.requests", "untested"
    ),
    "smoke test of nobody": Case(
        ", service: miniapp}",
        ", service: minapp}",
        "strategies.blue_green.smoke_test.requests[0].service",
        "mean `miniapp`?",
    ),
    "smoke test that is no path": Case(
        "{path: /panel", "{path: panel", "strategies.blue_green.smoke_test.requests[1].path", "begins with a slash"
    ),
    "one colour": Case("[blue, green]", "[blue, blue]", "strategies.blue_green.colours", "must differ"),
}
ELSEWHERE = {
    "blue-green of another Service": "    service: main-app\n    label",
    "blue-green without a route": "  miniapp:\n    kind",
    "no smoke test": "      requests:",
}
