"""ConfigMaps and Secrets that the version before reads by name: what they held, and who changed them since. Pure.

What one holds is told by its seal, ten hex digits of a hash, and kept in a copy whose name ends with it. A rollback
puts back only what hooks of the release itself changed; what anybody else changed is left, and named.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from onlyvips.core.action import Action
from onlyvips.core.manifests import fingerprint
from onlyvips.core.referred import Kind

Manifest = dict[str, Any]
_FIRST = ("create-canary", "stop", "restore-stable", "scale-stable", "put-back", "remove-canary", "remove-leftovers")


@dataclass(frozen=True)
class Kept:
    """One of them; ``copy`` holds what it held before the release."""

    kind: Kind
    name: str
    copy: str

    @property
    def key(self) -> str:
        """``Kind/name``."""
        return f"{self.kind}/{self.name}"

    @property
    def seal(self) -> str:
        """Of what it held."""
        return self.copy.rpartition("-")[2]


@dataclass(frozen=True)
class Witness:
    """What hooks of the release did to them. ``hook`` is the last one whose beginning was seen, ``strange`` are those
    that somebody else had changed by then, ``wrote`` the seals of what hooks left; by ``Kind/name``."""

    hook: str = ""
    strange: tuple[str, ...] = ()
    wrote: tuple[tuple[str, str], ...] = ()


def witness_of(data: Mapping[str, Any]) -> Witness:
    """From JSON."""
    wrote = tuple((key, seal) for key, seal in data.get("wrote", ()))
    return Witness(str(data.get("hook", "")), tuple(data.get("strange", ())), wrote)


def seal_of(manifest: Manifest | None) -> str:
    """Ten hex digits that stand for what a ConfigMap or a Secret holds (of a Secret for its values, decoded); "" for
    one that is gone."""
    if manifest is None:
        return ""
    data, binary = manifest.get("data") or {}, manifest.get("binaryData") or {}
    if manifest["kind"] == "Secret":
        return fingerprint({key: base64.b64decode(text).decode(errors="surrogateescape") for key, text in data.items()})
    return fingerprint([data, binary] if binary else data)


def compare(kept: Kept, seal: str, witness: Witness) -> Literal["same", "ours", "theirs"]:
    """Whether what is live, by its seal, is what was there before, what a hook of ours made of it, or somebody's."""
    if seal == kept.seal:
        return "same"
    ours = seal and dict(witness.wrote).get(kept.key) == seal and kept.key not in witness.strange
    return "ours" if ours else "theirs"


def before_hook(witness: Witness, hook: str, kept: Sequence[Kept], seals: Mapping[str, str]) -> Witness:
    """Seen before ``hook`` begins, once: what is changed by then, no hook changed."""
    if witness.hook == hook:
        return witness
    strange = [one.key for one in kept if compare(one, seals[one.key], witness) == "theirs"]
    return replace(witness, hook=hook, strange=tuple(dict.fromkeys([*witness.strange, *strange])))


def after_hook(witness: Witness, kept: Sequence[Kept], seals: Mapping[str, str]) -> Witness:
    """Seen after it ended: what is changed by now, and was not before, it changed."""
    wrote = dict(witness.wrote)
    for one in kept:
        if one.key not in witness.strange and seals[one.key] not in ("", one.seal):
            wrote[one.key] = seals[one.key]
    return replace(witness, wrote=tuple(wrote.items()))


def restore_first(kept: Sequence[Kept], restored: bool, action: Action) -> Action:
    """On the way back: before pods of the old version start or the new one's traces go, what they read is put back.
    Users go first: a weight waits for nothing."""
    due = action.kind in _FIRST or (action.kind == "enter" and action.phase == "evidence")
    if not kept or restored or not due:
        return action
    return Action("restore-configuration", "the old version reads what it read before, where nobody else changed it")


def left_sentence(kept: Kept, seal: str) -> str:
    """What a person is told of one that is not as it was."""
    name = f"{kept.kind} {kept.name}"
    where = f"; what it held is in {kept.kind} {kept.copy}" if kept.copy != kept.name else ""
    if not seal:
        return f"{name} was removed by somebody since the release began, and is not made again{where}"
    return f"{name} was changed by somebody since the release began, and is left as it is{where}"
