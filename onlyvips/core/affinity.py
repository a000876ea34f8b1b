"""Users who keep to one version while a canary has traffic, and testers who always get it: by rules of an HTTPRoute.

The weighted rule's answers carry a cookie that says which of the two gave them; rules at the end of the list, which are
more specific by one header, send who comes with it to the same one again. Its value names the release and the weight,
so that another weight draws anew, and a route without these rules (a rollback, the end) is held by no old cookie.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onlyvips.core.plan import ServicePlan, Testers
from onlyvips.core.record import Record

Manifest = dict[str, Any]

_COOKIE = "onlyvips-affinity-"
_MODIFIER = "ResponseHeaderModifier"
_MOST_RULES, _MOST_MATCHES = 16, 128
"""Of one HTTPRoute."""
_EMBEDDED = "; SameSite=None; Secure; Partitioned"
_OWN = "; SameSite=Lax"


@dataclass(frozen=True)
class Keeping:
    """What a route does for ``release`` beside the weights: ``sticky`` users, in a frame of another site
    (``embedded``), and ``testers``."""

    release: str
    sticky: bool
    embedded: bool
    testers: Testers | None


def keeping(service: ServicePlan, record: Record) -> Keeping | None:
    """What the route is to do now; None where it keeps nobody, as on every way back."""
    return _keeping(service, record.id) if record.phase in ("canary", "promote") else None


def _keeping(service: ServicePlan, release: str) -> Keeping | None:
    if not (service.sticky or service.testers):
        return None
    return Keeping(release, service.sticky, service.embedded, service.testers)


def cookie_name(stable: str) -> str:
    """The cookie of the Service."""
    return f"{_COOKIE}{stable}"


def cookie_value(release: str, weight: int, track: str) -> str:
    """What it says of a user whom ``track`` answered at this weight."""
    return f"{release}.{weight}.{track}"


def wanted_rules(rule: Manifest, stable: str, canary: str, weight: int, keep: Keeping | None) -> list[Manifest]:
    """The rules beside ``rule`` at this weight, testers first: at one number of headers the first of the list wins."""
    if keep is None or weight in (0, 100):
        return []
    rules = []
    if (testers := keep.testers) is not None:
        header = {"type": "Exact", "name": testers.header, "value": testers.value}
        rules.append(_beside(rule, "testers", header, stable, canary, canary))
    for track, target in (("canary", canary), ("stable", stable)) if keep.sticky else ():
        held = re.escape(f"{cookie_name(stable)}={cookie_value(keep.release, weight, track)}").replace("\\-", "-")
        header = {"type": "RegularExpression", "name": "Cookie", "value": rf"^(.*;\s*)?{held}\s*(;.*)?$"}
        rules.append(_beside(rule, track, header, stable, canary, target))
    return rules


def _beside(rule: Manifest, what: str, header: Manifest, stable: str, canary: str, target: str) -> Manifest:
    """A copy of the rule for those who send ``header``: all of them to ``target``."""
    made = copy.deepcopy(rule)
    made["matches"] = [
        {**match, "headers": [*(match.get("headers") or []), header]} for match in made.get("matches") or [{}]
    ]
    model = next(entry for entry in made["backendRefs"] if entry["name"] in (stable, canary))
    made["backendRefs"] = [{**without_cookie(model), "name": target, "weight": 1}]
    if rule.get("name"):
        made["name"] = f"{rule['name']}-onlyvips-{what}"
    return made


def is_sticky(rule: Manifest, stable: str) -> bool:
    """Whether a rule is one that a release made for its cookie."""
    headers = [header for match in rule.get("matches") or [] for header in match.get("headers") or []]
    return any(header["name"] == "Cookie" and f"{cookie_name(stable)}=" in header["value"] for header in headers)


def beside(rules: Sequence[Manifest], index: int, stable: str, canary: str) -> list[int]:
    """Where rules are that go with the canary: those for the cookie, and those that lead to the canary alone."""
    return [
        at
        for at, rule in enumerate(rules)
        if at != index
        and (is_sticky(rule, stable) or [entry["name"] for entry in rule.get("backendRefs") or []] == [canary])
    ]


def with_cookie(entry: Manifest, stable: str, weight: int, keep: Keeping | None) -> Manifest:
    """The entry of the weighted rule with the cookie of this weight, and no other one of ours."""
    entry = without_cookie(entry)
    if keep is None or not keep.sticky or weight in (0, 100):
        return entry
    track = "stable" if entry["name"] == stable else "canary"
    cookie = f"{cookie_name(stable)}={cookie_value(keep.release, weight, track)}; Path=/; HttpOnly"
    cookie += _EMBEDDED if keep.embedded else _OWN
    told = {"type": _MODIFIER, "responseHeaderModifier": {"add": [{"name": "Set-Cookie", "value": cookie}]}}
    return {**entry, "filters": [*(entry.get("filters") or []), told]}


def without_cookie(entry: Manifest) -> Manifest:
    """The entry without a cookie of ours."""
    filters = entry.get("filters")
    if not filters or not any(map(_is_ours, filters)):
        return copy.deepcopy(entry)
    kept = [copy.deepcopy(each) for each in filters if not _is_ours(each)]
    bare = {key: copy.deepcopy(value) for key, value in entry.items() if key != "filters"}
    return {**bare, "filters": kept} if kept else bare


def _is_ours(filter: Manifest) -> bool:
    added = (filter.get("responseHeaderModifier") or {}).get("add") or []
    return any(each["name"] == "Set-Cookie" and each["value"].startswith(_COOKIE) for each in added)


def keeps(route: Manifest, index: int, stable: str, canary: str) -> bool:
    """Whether anything of the route keeps users of the service to a version, or leads to the canary alone."""
    rules = route["spec"]["rules"]
    cookies = any(_is_ours(each) for entry in rules[index].get("backendRefs") or [] for each in _filters(entry))
    return cookies or bool(beside(rules, index, stable, canary))


def _filters(entry: Manifest) -> list[Manifest]:
    return entry.get("filters") or []


def as_wanted(route: Manifest, index: int, stable: str, canary: str, weight: int, keep: Keeping | None) -> bool:
    """Whether the route keeps those whom ``keep`` says, and nobody else, at this weight."""
    rules = route["spec"]["rules"]
    rule = rules[index]
    entries = [entry for entry in rule.get("backendRefs") or [] if entry["name"] in (stable, canary)]
    if not entries or (keep is None and not keeps(route, index, stable, canary)):
        return True
    found = [rules[at] for at in beside(rules, index, stable, canary)]
    wanted = wanted_rules(rule, stable, canary, weight, keep)
    return _covers(found, wanted) and all(
        _covers(_filters(entry), _filters(with_cookie(entry, stable, weight, keep))) for entry in entries
    )


def _covers(found: Any, wanted: Any) -> bool:
    """Equal, but for keys that a server adds by itself."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and _covers(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(_covers, found, wanted))
    return bool(found == wanted)


def refusal(route: Manifest) -> str:
    """What a gateway says against the route as it is now (Gateway API, RouteParentStatus); empty where none does."""
    generation = int(route["metadata"].get("generation", 0))
    for parent in (route.get("status") or {}).get("parents") or []:
        for one in parent.get("conditions") or []:
            against = (one["type"], one["status"]) in (("Accepted", "False"), ("PartiallyInvalid", "True"))
            if against and int(one.get("observedGeneration", 0)) >= generation:
                said = " ".join(str(one.get("message", "")).split())[:200]
                return f"{parent.get('controllerName', 'a gateway')} says {one.get('reason', one['type'])}: {said}"
    return ""


def obstacle(route: Manifest, index: int, stable: str, canary: str, service: ServicePlan) -> str:
    """Why a release could not keep users of the service as its plan says; empty when it can."""
    if keeps(route, index, stable, canary):
        return f"has rules or a cookie for {canary} already"
    if (keep := _keeping(service, "planned")) is None:
        return ""
    if said := refusal(route):
        return f"is not taken as it is ({said})"
    rules = route["spec"]["rules"]
    more = wanted_rules(rules[index], stable, canary, 1, keep)
    if taken := {each.get("name") for each in rules} & {each.get("name") for each in more} - {None}:
        return f"has a rule {', '.join(sorted(map(str, taken)))}, a name that the release needs"
    if len(rules) + len(more) > _MOST_RULES:
        return f"has {len(rules)} rules, and the release needs {len(more)} of the {_MOST_RULES} that there may be"
    if sum(len(each.get("matches") or [{}]) for each in (*rules, *more)) > _MOST_MATCHES:
        return f"would have more than {_MOST_MATCHES} matches with the release's own"
    return _collision(rules[index], stable, canary, keep)


def _collision(rule: Manifest, stable: str, canary: str, keep: Keeping) -> str:
    headers = {header["name"].lower() for match in rule.get("matches") or [] for header in match.get("headers") or []}
    asked = {"cookie"} if keep.sticky else set[str]()
    if keep.testers is not None:
        asked.add(keep.testers.header.lower())
    if both := headers & asked:
        return f"matches header {', '.join(sorted(both))} itself, and a match names a header once"
    entries = [entry for entry in rule.get("backendRefs") or [] if entry["name"] in (stable, canary)]
    if keep.sticky and any(each.get("type") == _MODIFIER for entry in entries for each in _filters(entry)):
        return f"has a {_MODIFIER} at {stable}, where the cookie's must be and only one may: move it to the rule"
    return ""
