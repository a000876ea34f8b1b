"""What a pod template refers to by name: its Secrets and ConfigMaps, and new names in their place. Pure.

Where Kubernetes lets a pod name one: envFrom, a variable's valueFrom, volumes, and sources of projected volumes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

Manifest = dict[str, Any]
Kind = Literal["ConfigMap", "Secret"]
KINDS: tuple[Kind, ...] = ("ConfigMap", "Secret")
Renamed = Mapping[Kind, Mapping[str, str]]
"""New names in the place of old ones."""

_OF: Mapping[Kind, tuple[str, str, str, str]] = {
    "ConfigMap": ("configMapRef", "configMapKeyRef", "configMap", "name"),
    "Secret": ("secretRef", "secretKeyRef", "secret", "secretName"),
}
"""In envFrom, in valueFrom, in a volume, and how the volume calls its name."""


def names_in(template: Manifest, kind: Kind) -> set[str]:
    """Every ConfigMap, or Secret, that a pod template refers to."""
    return {holder[key] for holder, key in _references(template, kind)}


def rename(template: Manifest, renamed: Renamed) -> None:
    """Let ``template``, in place, refer to the new names."""
    for kind in KINDS:
        for holder, key in list(_references(template, kind)):
            holder[key] = renamed.get(kind, {}).get(holder[key], holder[key])


def is_generation(name: str, *stems: str) -> bool:
    """Whether a name is one of the stems, or one with a fingerprint after it."""
    return any(re.fullmatch(rf"{re.escape(stem)}(-[0-9a-f]{{10}})?", name) for stem in stems)


def mentions(manifest: Manifest) -> set[str]:
    """Every text in an object that could be a name: whatever refers to something, it is among them."""
    return set(re.findall(r'"([a-z0-9][a-z0-9.-]*)"', json.dumps(manifest.get("spec") or {})))


def _references(template: Manifest, kind: Kind) -> Iterator[tuple[dict[str, Any], str]]:
    spec, (whole, one, volume_kind, called) = template["spec"], _OF[kind]
    for container in [*spec.get("containers", []), *spec.get("initContainers", [])]:
        for source in container.get("envFrom") or []:
            yield from _named(source.get(whole), "name")
        for variable in container.get("env") or []:
            yield from _named((variable.get("valueFrom") or {}).get(one), "name")
    for volume in spec.get("volumes") or []:
        yield from _named(volume.get(volume_kind), called)
        for source in (volume.get("projected") or {}).get("sources") or []:
            yield from _named(source.get(volume_kind), "name")


def _named(holder: dict[str, Any] | None, key: str) -> Iterator[tuple[dict[str, Any], str]]:
    if holder and key in holder:
        yield holder, key
