"""The preview's route: what users' requests meet on their way, a smoke test's meet too."""

from __future__ import annotations

from typing import Any

from onlyvips.core.colours import HEADER, preview_route

OWN = {"labels": {"onlyvips.com/release": "r1"}, "annotations": {}}
REWRITE = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}
TOLD = {"name": HEADER, "value": "r1"}


def preview(**rule: Any) -> dict[str, Any]:
    """The only rule of the preview of a rule with ``rule`` in it."""
    backend = {"name": "main-app", "port": 80, "weight": 1, "filters": [{"type": "RequestHeaderModifier"}]}
    found = {"name": "panel", "backendRefs": [backend], **rule}
    route = {"spec": {"parentRefs": [{"name": "public"}], "rules": [{"name": "other"}, found]}}
    (made,) = preview_route(route, 1, "main-app", "panel-preview", OWN)["spec"]["rules"]
    assert route["spec"]["rules"][1] == found, "the route itself is left as it is"
    return dict(made)


def test_the_rules_filters_and_timeouts_are_kept_and_ours_is_added() -> None:
    made = preview(filters=[REWRITE], timeouts={"request": "5s"}, matches=[{"path": {"value": "/panel"}}])
    ours = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [TOLD]}}
    assert made["filters"] == [REWRITE, ours] and made["timeouts"] == {"request": "5s"}
    assert made["matches"][0]["path"] == {"value": "/panel"}
    assert made["backendRefs"] == [
        {"name": "panel-preview", "port": 80, "filters": [{"type": "RequestHeaderModifier"}]}
    ]


def test_a_rule_that_sets_headers_of_answers_gets_one_more_for_there_may_be_one_such_filter() -> None:
    csp = {"name": "Content-Security-Policy", "value": "default-src 'self'"}
    theirs = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [csp], "remove": ["Server"]}}
    (one,) = preview(filters=[theirs])["filters"]
    assert one["responseHeaderModifier"] == {"set": [csp, TOLD], "remove": ["Server"]}
    assert theirs["responseHeaderModifier"] == {"set": [csp], "remove": ["Server"]}
