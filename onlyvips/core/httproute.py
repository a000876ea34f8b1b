"""The service's rule in a shared HTTPRoute: read its split, and say as JSON Patch what to change and nothing else.

Every patch tests the name of the rule and of each entry it touches, so that a list that somebody reordered meanwhile
is refused by the apiserver instead of written to.
"""

from __future__ import annotations

import json
from typing import Any

from onlyvips.core import affinity
from onlyvips.core.affinity import Keeping
from onlyvips.errors import Permanent, Refused

Manifest = dict[str, Any]
Operations = list[Manifest]


def rule_index(route: Manifest, rule: str, service: str, canary: str = "") -> int | None:
    """Where the rule is: by its name, or, where rules have no names, the one rule that leads to ``service``; of
    several, the one that lists ``canary``.

    Raises Refused when more than one rule could be meant.
    """
    rules = route.get("spec", {}).get("rules") or []
    found = [index for index, each in enumerate(rules) if each.get("name") == rule]
    if not found:
        nameless = [index for index, each in enumerate(rules) if not each.get("name") and service in _names(each)]
        found = [index for index in nameless if not affinity.is_sticky(rules[index], service)]
    if len(found) > 1 and len(ours := [index for index in found if lists(route, index, canary)]) == 1:
        return ours[0]
    if len(found) > 1:
        raise Refused(
            f"HTTPRoute {route['metadata']['name']} has {len(found)} rules for {service} and no one rule named {rule}: "
            "nothing was changed; give the rule a name."
        )
    return found[0] if found else None


def names(route: Manifest, index: int) -> list[str]:
    """Backends of the rule."""
    return _names(route["spec"]["rules"][index])


def _names(rule: Manifest) -> list[str]:
    return [reference["name"] for reference in rule.get("backendRefs") or []]


def others(route: Manifest, index: int, stable: str, canary: str) -> list[str]:
    """Backends of the rule that are neither stable nor the canary."""
    return [name for name in _names(route["spec"]["rules"][index]) if name not in (stable, canary)]


def lists(route: Manifest, index: int, canary: str) -> bool:
    """Whether the rule has an entry for the canary, of whatever weight."""
    return canary in _names(route["spec"]["rules"][index])


def canary_weight(route: Manifest, index: int, canary: str) -> int:
    """The canary's share of the rule in whole percent, 0 when it has no entry."""
    references = route["spec"]["rules"][index].get("backendRefs") or []
    weights = {reference["name"]: int(reference.get("weight", 1)) for reference in references}
    total = sum(weights.values())
    return round(100 * weights.get(canary, 0) / total) if total else 0


def _tests(route: Manifest, index: int) -> Operations:
    rule = route["spec"]["rules"][index]
    base = f"/spec/rules/{index}"
    named = [{"op": "test", "path": f"{base}/name", "value": rule["name"]}] if rule.get("name") else []
    entries = [
        {"op": "test", "path": f"{base}/backendRefs/{at}/name", "value": name} for at, name in enumerate(_names(rule))
    ]
    return named + entries


def weigh(
    route: Manifest, index: int, stable: str, canary: str, weight: int, keep: Keeping | None = None
) -> Operations:
    """Give the canary ``weight`` percent and stable the rest; the canary's entry is added after the others. Rules and
    cookies for those whom ``keep`` says come and go in the same patch."""
    operations = _weights(route, index, stable, canary, weight, keep)
    return operations + _beside(route, index, stable, canary, weight, keep)


def _weights(route: Manifest, index: int, stable: str, canary: str, weight: int, keep: Keeping | None) -> Operations:
    base, rule = f"/spec/rules/{index}/backendRefs", route["spec"]["rules"][index]
    operations = _tests(route, index)
    for at, reference in enumerate(rule.get("backendRefs") or []):
        if reference["name"] in (stable, canary):
            value = weight if reference["name"] == canary else 100 - weight
            operations.append({"op": "add", "path": f"{base}/{at}/weight", "value": value})
            wanted = affinity.with_cookie(reference, stable, weight, keep)
            operations += _filters(f"{base}/{at}/filters", reference, wanted)
    for name, value in ((stable, 100 - weight), (canary, weight)):
        if name not in _names(rule):
            model = affinity.without_cookie(_model(route, index, stable, canary))
            entry = {**{key: kept for key, kept in model.items() if key != "weight"}, "name": name, "weight": value}
            entry = affinity.with_cookie(entry, stable, weight, keep)
            operations.append({"op": "add", "path": f"{base}/-", "value": entry})
    return operations


def _filters(path: str, before: Manifest, after: Manifest) -> Operations:
    if before.get("filters") == after.get("filters"):
        return []
    if "filters" not in after:
        return [{"op": "remove", "path": path}]
    return [{"op": "add", "path": path, "value": after["filters"]}]


def _beside(route: Manifest, index: int, stable: str, canary: str, weight: int, keep: Keeping | None) -> Operations:
    """What is to become of the rules beside: the old ones go, the last first, and the new ones come at the end, where
    they shift no rule of others and win against none that is as specific."""
    rules = route["spec"]["rules"]
    operations: Operations = []
    for at in reversed(affinity.beside(rules, index, stable, canary)):
        path = f"/spec/rules/{at}"
        operations += [{"op": "test", "path": path, "value": rules[at]}, {"op": "remove", "path": path}]
    wanted = affinity.wanted_rules(rules[index], stable, canary, weight, keep) if keep else []
    return operations + [{"op": "add", "path": "/spec/rules/-", "value": rule} for rule in wanted]


def is_weighed(route: Manifest, index: int, stable: str, canary: str, weight: int, keep: Keeping | None = None) -> bool:
    """Whether ``weigh`` has nothing to do."""
    weighed = canary_weight(route, index, canary) == weight
    return weighed and affinity.as_wanted(route, index, stable, canary, weight, keep)


def shape(route: Manifest, index: int, stable: str, canary: str) -> str:
    """All that decides who gets the canary, to be compared: the rule's backends and the rules beside."""
    rules = route["spec"]["rules"]
    every = [rules[index].get("backendRefs"), *(rules[at] for at in affinity.beside(rules, index, stable, canary))]
    return json.dumps(every, sort_keys=True)


def _model(route: Manifest, index: int, stable: str, canary: str) -> Manifest:
    """An entry to make the other one from. Raises Permanent when somebody removed both."""
    references = route["spec"]["rules"][index].get("backendRefs") or []
    found = [reference for reference in references if reference["name"] in (stable, canary)]
    if not found:
        raise Permanent(
            f"The rule of HTTPRoute {route['metadata']['name']} leads neither to {stable} nor to {canary} any more: "
            f"nothing was written to it; put {stable} back."
        )
    return dict(found[0])


def forget(route: Manifest, index: int, stable: str, canary: str) -> Operations:
    """Take the canary's entry out and give stable all, with all that kept users; no operations when there is none."""
    listed, kept = lists(route, index, canary), affinity.keeps(route, index, stable, canary)
    if not (listed or kept):
        return []
    base, names = f"/spec/rules/{index}/backendRefs", _names(route["spec"]["rules"][index])
    operations = _weights(route, index, stable, canary, 0, None) if listed else _tests(route, index)
    if stable in names and not listed:
        entry = route["spec"]["rules"][index]["backendRefs"][names.index(stable)]
        operations += _filters(f"{base}/{names.index(stable)}/filters", entry, affinity.without_cookie(entry))
    if listed:
        operations.append({"op": "remove", "path": f"{base}/{names.index(canary)}"})
    return operations + _beside(route, index, stable, canary, 0, None)
