"""Rules and cookies that keep users to a version: added in one patch with the weight, and gone with it."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips import environment as environments
from onlyvips.core import affinity, httproute, plan
from onlyvips.core.affinity import Keeping
from onlyvips.core.forecast import Found, forecast
from onlyvips.environment import delivery
from tests.core.decisions import PLAN, RECORD
from tests.core.test_forecast import AROUND
from tests.core.test_httproute import OTHERS, Manifest, backend, route, rule

KEEP = Keeping("r-1", True, False, plan.Testers("X-Tester", "canary"))
ROOT = {"path": {"type": "PathPrefix", "value": "/"}}
PAGES = route(
    rule("panel", backend("main-app", 1), matches=[{"path": {"type": "PathPrefix", "value": "/panel"}}]),
    rule("pages", backend("pages", 100), matches=[ROOT], timeouts={"request": "5s"}),
    rule("beta", backend("beta", 1), matches=[{**ROOT, "headers": [{"name": "X-Beta", "value": "1"}]}]),
)
APP = "pages", "pages-canary"


def weighed(before: Manifest, weight: int, keep: Keeping | None = KEEP, index: int = 1) -> Manifest:
    after: Manifest = jsonpatch.apply_patch(before, httproute.weigh(before, index, *APP, weight, keep))
    return after


def cookies(after: Manifest, index: int = 1) -> dict[str, str]:
    """What each backend of the weighted rule sets."""
    entries = after["spec"]["rules"][index]["backendRefs"]
    return {one["name"]: one["filters"][-1]["responseHeaderModifier"]["add"][0]["value"] for one in entries}


def sent_to(after: Manifest, cookie: str = "", header: str = "") -> list[str]:
    """Where a request for / goes: to the rule with the most headers that match, of several to the first."""
    best: tuple[int, list[str]] = (-1, [])
    given = {"Cookie": cookie, "X-Tester": header}
    for each in after["spec"]["rules"]:
        for match in each["matches"]:
            headers = match.get("headers") or []
            fits = all(
                re.fullmatch(one["value"], given.get(one["name"], ""))
                if one.get("type") == "RegularExpression"
                else given.get(one["name"]) == one["value"]
                for one in headers
            )
            if fits and match["path"]["value"] == "/" and len(headers) > best[0]:
                best = len(headers), [one["name"] for one in each["backendRefs"]]
    return best[1]


def test_whoever_was_answered_by_one_version_is_sent_to_it_again() -> None:
    after = weighed(PAGES, 10)
    for name, cookie in cookies(after).items():
        assert sent_to(after, cookie.partition(";")[0]) == [name]
        assert sent_to(after, f"theme=dark; {cookie.partition(';')[0]}; lang=de") == [name]
    assert sent_to(after) == ["pages", "pages-canary"]
    assert sent_to(after, "theme=dark") == ["pages", "pages-canary"]


@pytest.mark.parametrize("cookie", ["x{}", "{}5", "other={}", "onlyvips-affinity-pages2=r-1.10.canary"])
def test_a_cookie_that_only_looks_like_it_keeps_nobody(cookie: str) -> None:
    after = weighed(PAGES, 10)
    ours = cookies(after)["pages-canary"].partition(";")[0]
    assert sent_to(after, cookie.format(ours)) == ["pages", "pages-canary"]


def test_testers_get_the_canary_whatever_cookie_they_have() -> None:
    after = weighed(PAGES, 10)
    stable = cookies(after)["pages"].partition(";")[0]
    assert sent_to(after, stable, "canary") == ["pages-canary"]
    assert sent_to(after, header="somebody") == ["pages", "pages-canary"]
    alone = weighed(PAGES, 10, replace(KEEP, sticky=False))
    assert sent_to(alone, header="canary") == ["pages-canary"]
    assert "filters" not in alone["spec"]["rules"][1]["backendRefs"][0]


def test_another_weight_and_another_release_draw_anew() -> None:
    old = cookies(weighed(PAGES, 10))["pages-canary"].partition(";")[0]
    for after in (weighed(weighed(PAGES, 10), 25), weighed(PAGES, 10, replace(KEEP, release="r-2"))):
        assert sent_to(after, old) == ["pages", "pages-canary"]
        assert len(after["spec"]["rules"]) == 6


@pytest.mark.parametrize(("weight", "keep"), [(0, KEEP), (100, KEEP), (30, None)])
def test_nobody_is_kept_when_all_go_one_way_or_the_release_goes_back(weight: int, keep: Keeping | None) -> None:
    after = weighed(weighed(PAGES, 50), weight, keep)
    assert after == weighed(PAGES, weight, None)
    assert not affinity.keeps(after, 1, *APP)


def test_the_application_keeps_its_own_cookies_and_filters() -> None:
    own = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "X-A", "value": "1"}]}}
    pages = copy.deepcopy(PAGES)
    pages["spec"]["rules"][1]["backendRefs"][0]["filters"] = [own]
    after = weighed(pages, 10)
    for entry in after["spec"]["rules"][1]["backendRefs"]:
        assert entry["filters"][0] == own
        assert list(entry["filters"][1]["responseHeaderModifier"]) == ["add"]  # `set` would drop the application's own
    assert all(each["backendRefs"][0]["filters"] == [own] for each in after["spec"]["rules"][3:])
    assert jsonpatch.apply_patch(after, httproute.forget(after, 1, *APP)) == pages


def test_in_a_frame_of_another_site_the_cookie_is_for_frames() -> None:
    assert "SameSite=Lax" in cookies(weighed(PAGES, 10))["pages"]
    framed = cookies(weighed(PAGES, 10, replace(KEEP, embedded=True)))["pages"]
    assert framed.endswith("Path=/; HttpOnly; SameSite=None; Secure; Partitioned")


def test_what_somebody_changed_is_seen() -> None:
    after = weighed(PAGES, 10)
    assert affinity.as_wanted(after, 1, *APP, 10, KEEP)
    assert affinity.as_wanted(PAGES, 1, *APP, 0, KEEP)

    def changed(change: Any) -> Manifest:
        other = copy.deepcopy(after)
        change(other["spec"]["rules"])
        return other

    hands = [
        changed(lambda rules: rules.pop(4)),
        changed(lambda rules: rules[4]["backendRefs"][0].update(name="pages")),
        changed(lambda rules: rules[1]["backendRefs"][0].pop("filters")),
        changed(lambda rules: rules.append(rule("mine", backend("pages-canary", 1), matches=[ROOT]))),
        changed(lambda rules: rules[3]["matches"][0]["headers"][0].update(value="all")),
    ]
    for hand in hands:
        assert not affinity.as_wanted(hand, 1, *APP, 10, KEEP)
        assert httproute.shape(hand, 1, *APP) != httproute.shape(after, 1, *APP)
        assert not affinity.keeps(jsonpatch.apply_patch(hand, httproute.forget(hand, 1, *APP)), 1, *APP)
    assert affinity.as_wanted(changed(lambda rules: rules[4].update(retry={"attempts": 1})), 1, *APP, 10, KEEP)
    assert affinity.as_wanted(weighed(PAGES, 10, None), 1, *APP, 10, None)


def test_rules_for_a_cookie_go_even_when_the_canary_has_no_entry_any_more() -> None:
    after = weighed(PAGES, 10)
    after["spec"]["rules"][1]["backendRefs"].pop()
    after["spec"]["rules"][1]["backendRefs"][0]["weight"] = 100
    assert jsonpatch.apply_patch(after, httproute.forget(after, 1, *APP)) == PAGES


def test_a_rule_without_a_name_is_still_found_among_those_for_its_cookie() -> None:
    pages = copy.deepcopy(PAGES)
    for each in pages["spec"]["rules"]:
        del each["name"]
    after = weighed(pages, 10)
    assert not any("name" in each for each in after["spec"]["rules"])
    assert httproute.rule_index(after, "pages", *APP) == 1


SERVICE = replace(PLAN.service, name="pages", service="pages", sticky=True, testers=KEEP.testers)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda rules: rules.extend(copy.deepcopy(rules[:1]) * 11), "14 rules, and the release needs 3 of the 16"),
        (lambda rules: rules[1].update(matches=[ROOT] * 33), "more than 128 matches"),
        (
            lambda rules: rules[1].update(matches=[{"headers": [{"name": "x-tester", "value": "1"}]}]),
            "matches header x-tester itself",
        ),
        (
            lambda rules: rules[1].update(matches=[{"headers": [{"name": "cookie", "value": "1"}]}]),
            "matches header cookie itself",
        ),
        (
            lambda rules: rules[1]["backendRefs"][0].update(filters=[{"type": "ResponseHeaderModifier"}]),
            "a ResponseHeaderModifier at pages",
        ),
        (lambda rules: rules[2].update(name="pages-onlyvips-stable"), "a rule pages-onlyvips-stable"),
        (lambda rules: rules.append(rule("mine", backend("pages-canary", 1))), "for pages-canary already"),
    ],
)
def test_a_route_that_cannot_keep_users_is_told_why(change: Any, why: str) -> None:
    pages = copy.deepcopy(PAGES)
    change(pages["spec"]["rules"])
    assert why in affinity.obstacle(pages, 1, *APP, SERVICE)
    assert affinity.obstacle(PAGES, 1, *APP, SERVICE) == ""


@given(OTHERS, OTHERS, st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=5), st.booleans())
def test_any_walk_changes_the_rule_and_what_is_beside_it_alone(
    before: list[Manifest], after: list[Manifest], walk: list[tuple[int, bool]], named: bool
) -> None:
    original = route(*before, rule("pages" if named else "", backend("pages", 100), matches=[ROOT]), *after)
    live, index = copy.deepcopy(original), len(before)
    for weight, kept in walk:
        keep = KEEP if kept else None
        live = weighed(live, weight, keep, index)
        assert httproute.rule_index(live, "pages", *APP) == index
        assert httproute.is_weighed(live, index, *APP, weight, keep)
        assert [*live["spec"]["rules"][:index], *live["spec"]["rules"][index + 1 :]][: len(before) + len(after)] == [
            *before,
            *after,
        ]
    assert jsonpatch.apply_patch(live, httproute.forget(live, index, *APP)) == original


def kept_in_the_lab(**changes: Any) -> plan.ReleasePlan:
    """The plan of the lab's front-end as its file would give it with these keys."""
    testers = delivery.Testers(header="X-Tester", value="canary")
    keys = {"assets": "versioned", "affinity": "cookie", "embedded": True, "testers": testers}
    lab = environments.load("lab", Path(__file__).parents[2] / "deployments/environments")
    service = lab.services["miniapp"].model_copy(update=keys)
    lab = lab.model_copy(update={"services": {**lab.services, "miniapp": service}})
    return environments.release_plan(lab, "miniapp", "v2", **changes)


def test_the_environment_says_who_is_kept_and_the_forecast_tells_it() -> None:
    made = kept_in_the_lab()
    assert (made.service.sticky, made.service.embedded) == (True, True)
    assert made.service.testers == plan.Testers("X-Tester", "canary")
    told = [step.what for step in forecast(made, "v2", Found("img:v1", 2), AROUND).steps]
    assert any("by cookie onlyvips-affinity-miniapp, in frames of other sites too" in one for one in told)
    assert any("whoever sends `X-Tester: canary` gets the canary" in one for one in told)


def test_by_another_strategy_nobody_is_kept() -> None:
    service = kept_in_the_lab(strategy="rolling").service
    assert (service.strategy, service.sticky, service.embedded, service.testers) == ("rolling", False, False, None)


@pytest.mark.parametrize("phase", ["rollback", "evidence", "together", "closed"])
def test_on_the_way_back_and_after_it_nobody_is_kept(phase: Any) -> None:
    assert affinity.keeping(SERVICE, replace(RECORD, phase="canary")) is not None
    assert affinity.keeping(SERVICE, replace(RECORD, phase=phase)) is None
