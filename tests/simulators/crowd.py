"""The users of one rule of an HTTPRoute, as shares of its traffic: each with the cookie that it was last given, some of
them testers. A router of its own reading: the most headers that match win, of several rules the first."""

from __future__ import annotations

import re
from typing import Any

Manifest = dict[str, Any]

TESTER = ("X-Tester", "canary")
_TESTERS = 0.01


class Crowd:
    """Who comes with which cookie."""

    def __init__(self) -> None:
        self.cookies: dict[str, float] = {"": 1.0}

    def shares(self, rules: list[Manifest], index: int) -> dict[str, float]:
        """The share of the traffic that each Service gets under these rules; users take the cookies of the answers."""
        found: dict[str, float] = {}
        for entry, part in _parts(_rule(rules, index, dict([TESTER])), _TESTERS):
            found[entry["name"]] = found.get(entry["name"], 0.0) + part
        cookies: dict[str, float] = {}
        for cookie, share in self.cookies.items():
            for entry, part in _parts(_rule(rules, index, {"Cookie": f"theme=dark; {cookie}"}), share):
                found[entry["name"]] = found.get(entry["name"], 0.0) + part * (1 - _TESTERS)
                given = _given(entry) or cookie
                cookies[given] = cookies.get(given, 0.0) + part
        if cookies:
            self.cookies = cookies
        return found


def _rule(rules: list[Manifest], index: int, request: dict[str, str]) -> Manifest:
    """The weighted rule, or one beside it that leads the request elsewhere."""
    beside = [rule for at, rule in enumerate(rules) if at != index and _matches(rule, request)]
    return beside[0] if beside else rules[index]


def _matches(rule: Manifest, request: dict[str, str]) -> bool:
    return any(_fits(match.get("headers") or [], request) for match in rule.get("matches") or [])


def _fits(headers: list[Manifest], request: dict[str, str]) -> bool:
    def fits(header: Manifest) -> bool:
        value = request.get(header["name"], "")
        if header.get("type") == "RegularExpression":
            return re.fullmatch(header["value"], value) is not None
        return bool(header["value"] == value)

    return bool(headers) and all(map(fits, headers))


def _parts(rule: Manifest, share: float) -> list[tuple[Manifest, float]]:
    entries = [(entry, entry.get("weight", 1)) for entry in rule["backendRefs"]]
    total = sum(weight for _, weight in entries)
    return [(entry, share * weight / total) for entry, weight in entries if weight]


def _given(entry: Manifest) -> str:
    """The cookie that an answer by way of this entry sets."""
    for each in entry.get("filters") or []:
        for header in each["responseHeaderModifier"].get("add") or []:
            if header["name"] == "Set-Cookie":
                return str(header["value"]).partition(";")[0]
    return ""
