"""What of a configuration is not shown to who looks at a difference: what is secret by its name or by its look. Pure.

A guess, for nothing says what is secret: rather too much is hidden than too little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_TELLING = re.compile(
    r"pass|secret|token|credential|private|api.?key|signing|dsn|(?:key|pwd)$|(?:^|[^a-z])pw$", re.IGNORECASE
)
_USER_OF_URL = re.compile(r"//[^/@\s]+@")
_A_NAME = re.compile(r"(?:Name|Ref|Policy)$|^topologyKey$")
_BESIDE_A_KEY = {"name", "operator", "path", "effect", "value", "values"}
"""What stands beside ``key`` where Kubernetes itself calls something so: a field of a Secret, a label, a taint."""
_WORD = re.compile(r"(?<![\w+/-])(?<!sha256:)[\w+/-]{24,}={0,2}")
_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_SAID = re.compile(r"""([\w.-]+)(["']?[ \t]*[:=][ \t]*)""")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"' + r"|'[^']*'")
_TO_THE_NEXT = re.compile(r"[^;]*")
_OPENS = re.compile(r"(?:[|>][+-]?\d?|[\[{])?\s*")
"""What stands behind the colon where the value comes in the lines below."""
Show = Callable[[str], str]


def hidden(value: Any, other: Any, whose: str) -> Any:
    """``value`` without what is secret; where that is not as in ``other``, it is still seen that they differ."""
    if isinstance(value, Mapping):
        return _hidden_mapping(value, other if isinstance(other, Mapping) else {}, whose)
    if isinstance(value, list):
        return [hidden(each, _peer(each, number, other), whose) for number, each in enumerate(value)]
    if isinstance(value, str):
        return _mark(value, other, whose) if _is_a_key(value) else _hidden_text(value, other, whose)
    return value


def _hidden_mapping(value: Mapping[str, Any], peers: Mapping[str, Any], whose: str) -> dict[str, Any]:
    named = bool(_TELLING.search(str(value.get("name", ""))))
    found = dict[str, Any]()
    for key, each in value.items():
        telling = (key == "value" and named) or _is_telling(key)
        if key == "key" and _BESIDE_A_KEY & set(value):
            telling = False
        secret = telling and isinstance(each, str)
        found[key] = _mark(each, peers.get(key), whose) if secret else hidden(each, peers.get(key), whose)
    return found


def _hidden_text(value: str, other: Any, whose: str) -> str:
    """A text, whose lines may be those of a file: without what stands behind a telling name, and what looks secret."""
    theirs = set[str]()

    def note(secret: str) -> str:
        theirs.add(secret)
        return ""

    def show(secret: str) -> str:
        same = not isinstance(other, str) or secret in theirs
        return "(not shown)" if same else f"(not shown: {whose})"

    for _ in _lines(other if isinstance(other, str) else "", note):
        pass
    return "\n".join(_lines(value, show))


def _lines(text: str, show: Show) -> Iterator[str]:
    below = -1
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip())
        if below >= 0 and line.strip() and depth > below:
            yield line[:depth] + show(line[depth:])
            continue
        below = below if below >= 0 and not line.strip() else -1
        shown, opens = _line(line, show)
        below = depth if opens else below
        yield shown


def _line(line: str, show: Show) -> tuple[str, bool]:
    """The line, and whether what it names comes below it."""
    found, at, opens = "", 0, False
    for said in _SAID.finditer(line):
        if said.start() < at or not _is_telling(said[1]):
            continue
        quoted = _QUOTED.match(line, said.end())
        secret = quoted or _TO_THE_NEXT.match(line, said.end())
        assert secret is not None
        found += _plain(line[at : said.end()], show)
        opens = said[2].strip().endswith(":") and bool(_OPENS.fullmatch(line, said.end()))
        found += secret[0] if opens or not secret[0] else show(secret[0])
        at = secret.end()
    return found + _plain(line[at:], show), opens


def _plain(text: str, show: Show) -> str:
    text = _USER_OF_URL.sub(lambda user: f"//{show(user[0][2:-1])}@", text)
    return _WORD.sub(lambda word: show(word[0]) if _is_a_key(word[0]) else word[0], text)


def _mark(value: str, other: Any, whose: str) -> str:
    return "(not shown)" if other is None or value == other else f"(not shown: {whose})"


def _is_telling(key: str) -> bool:
    return bool(_TELLING.search(key)) and not _A_NAME.search(key)


def _is_a_key(value: str) -> bool:
    """Whether a text looks like a key or a token, whatever it is called."""
    if "PRIVATE KEY-----" in value or value.startswith("eyJ") or _HEX.fullmatch(value):
        return True
    kinds = (str.isdigit, str.islower, str.isupper)
    return bool(re.fullmatch(r"[A-Za-z0-9+/_=-]{24,}", value)) and all(any(map(kind, value)) for kind in kinds)


def _peer(value: Any, number: int, other: Any) -> Any:
    """The item of another list that goes by the same name, else the one at the same place."""
    if not isinstance(other, list):
        return None
    if isinstance(value, Mapping) and "name" in value:
        return next((one for one in other if isinstance(one, Mapping) and one.get("name") == value["name"]), None)
    return other[number] if number < len(other) else None
