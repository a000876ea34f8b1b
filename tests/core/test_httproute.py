"""Patches of a shared HTTPRoute: they change the canary's share of one rule, and nothing else whatever it holds."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core import httproute
from onlyvips.errors import Permanent, Refused

Manifest = dict[str, Any]


def backend(name: str, weight: int | None = None, **more: Any) -> Manifest:
    return {"name": name, "port": 8000, **({} if weight is None else {"weight": weight}), **more}


def route(*rules: Manifest) -> Manifest:
    return {"metadata": {"name": "onlyvips"}, "spec": {"hostnames": ["api.onlyvips.com"], "rules": list(rules)}}


def rule(name: str, *references: Manifest, **more: Any) -> Manifest:
    return {**({"name": name} if name else {}), "backendRefs": list(references), **more}


SHARED = route(
    rule("miniapp", backend("main-app", 1), matches=[{"path": {"type": "PathPrefix", "value": "/"}}]),
    rule("backend", backend("backend", 100, group=""), filters=[{"type": "RequestHeaderModifier"}]),
    rule("panel", backend("main-app", 1)),
)


def weighed(before: Manifest, weight: int) -> Manifest:
    index = httproute.rule_index(before, "backend", "backend")
    assert index is not None
    after: Manifest = jsonpatch.apply_patch(before, httproute.weigh(before, index, "backend", "backend-canary", weight))
    return after


def test_the_canary_is_added_with_its_weight_and_looks_like_stable() -> None:
    after = weighed(SHARED, 10)
    assert after["spec"]["rules"][1]["backendRefs"] == [
        backend("backend", 90, group=""),
        backend("backend-canary", 10, group=""),
    ]
    assert httproute.lists(after, 1, "backend-canary") and not httproute.lists(SHARED, 1, "backend-canary")


def test_everything_else_stays_equal() -> None:
    after = weighed(weighed(SHARED, 10), 50)
    after["spec"]["rules"][1]["backendRefs"] = SHARED["spec"]["rules"][1]["backendRefs"]
    assert after == SHARED


def test_forgetting_brings_back_what_was_there() -> None:
    after = weighed(SHARED, 30)
    assert jsonpatch.apply_patch(after, httproute.forget(after, 1, "backend", "backend-canary")) == SHARED
    assert httproute.forget(SHARED, 1, "backend", "backend-canary") == []


@pytest.mark.parametrize("operations", ["weigh", "forget"])
@pytest.mark.parametrize("how", ["rules", "entries", "renamed", "removed"])
def test_a_list_that_somebody_reordered_meanwhile_is_not_written_to(operations: str, how: str) -> None:
    read = weighed(SHARED, 10)
    if operations == "weigh":
        patch = httproute.weigh(read, 1, "backend", "backend-canary", 25)
    else:
        patch = httproute.forget(read, 1, "backend", "backend-canary")
    live = copy.deepcopy(read)
    if how == "rules":
        live["spec"]["rules"].reverse()
        live["spec"]["rules"].insert(0, live["spec"]["rules"].pop(1))
    elif how == "entries":
        live["spec"]["rules"][1]["backendRefs"].reverse()
    elif how == "renamed":
        live["spec"]["rules"][1]["name"] = "other"
    else:
        live["spec"]["rules"][1]["backendRefs"].pop(0)
    with pytest.raises(jsonpatch.JsonPatchException):
        jsonpatch.apply_patch(live, patch)


def test_a_rule_is_found_by_its_name_or_by_the_only_one_that_leads_to_the_service() -> None:
    assert httproute.rule_index(SHARED, "backend", "backend") == 1
    assert httproute.rule_index(SHARED, "nowhere", "nobody") is None
    nameless = route(rule("", backend("main-app")), rule("", backend("backend")))
    assert httproute.rule_index(nameless, "backend", "backend") == 1
    assert httproute.rule_index({"spec": {}}, "backend", "backend") is None


def test_two_rules_that_could_be_meant_are_refused() -> None:
    twice = route(rule("", backend("backend")), rule("", backend("backend")))
    with pytest.raises(Refused, match="has 2 rules for backend and no one rule named backend"):
        httproute.rule_index(twice, "backend", "backend")


def test_strangers_in_the_rule_are_named() -> None:
    shared = route(rule("backend", backend("backend", 50), backend("shadow", 50), backend("backend-canary", 0)))
    assert httproute.others(shared, 0, "backend", "backend-canary") == ["shadow"]


@pytest.mark.parametrize(
    ("references", "share"),
    [
        ([backend("backend")], 0),
        ([backend("backend", 90), backend("backend-canary", 10)], 10),
        ([backend("backend"), backend("backend-canary")], 50),
        ([backend("backend", 0), backend("backend-canary", 0)], 0),
        ([backend("backend", 0), backend("backend-canary", 7)], 100),
        ([], 0),
    ],
)
def test_the_share_is_read_in_percent_of_all_weights(references: list[Manifest], share: int) -> None:
    assert httproute.canary_weight(route(rule("backend", *references)), 0, "backend-canary") == share


OTHERS = st.lists(
    st.builds(
        lambda name, service, port: rule(
            name, {"name": service, "port": port, "weight": 1}, timeouts={"request": "5s"}
        ),
        st.sampled_from(["miniapp", "panel", ""]),
        st.sampled_from(["main-app", "static"]),
        st.integers(1, 65535),
    ),
    max_size=4,
)


@given(OTHERS, OTHERS, st.lists(st.integers(0, 100), min_size=1, max_size=5), st.booleans())
def test_any_walk_through_weights_in_any_route_changes_the_shares_alone(
    before: list[Manifest], after: list[Manifest], weights: list[int], named: bool
) -> None:
    original = route(*before, rule("backend" if named else "", backend("backend", 100)), *after)
    live, index = copy.deepcopy(original), len(before)
    for weight in weights:
        assert httproute.rule_index(live, "backend", "backend") == index
        live = weighed(live, weight)
        assert httproute.canary_weight(live, index, "backend-canary") == weight
        assert [each for at, each in enumerate(live["spec"]["rules"]) if at != index] == [*before, *after]
    back = jsonpatch.apply_patch(live, httproute.forget(live, index, "backend", "backend-canary"))
    assert back == original


def test_a_rule_that_was_left_with_the_canary_alone_gets_stable_back() -> None:
    """Else the only weight in the rule would be 0, and every request would fail."""
    alone = route(rule("backend", backend("backend-canary", 100)))
    after = weighed(alone, 0)
    names = {entry["name"]: entry["weight"] for entry in after["spec"]["rules"][0]["backendRefs"]}
    assert names == {"backend-canary": 0, "backend": 100}
    forgotten = jsonpatch.apply_patch(alone, httproute.forget(alone, 0, "backend", "backend-canary"))
    assert [entry["name"] for entry in forgotten["spec"]["rules"][0]["backendRefs"]] == ["backend"]


def test_a_rule_that_leads_to_neither_is_not_written_to() -> None:
    with pytest.raises(Permanent, match="neither to backend nor to backend-canary"):
        weighed(route(rule("backend", backend("stranger", 1))), 10)
