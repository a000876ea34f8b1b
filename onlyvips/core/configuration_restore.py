"""What a restore of the configuration changes: each object as it is, as it would be, and the difference. Pure."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onlyvips.core.configuration import LAST_APPLIED, OF_CONTROLLERS, declared, scaled_by, unscaled
from onlyvips.core.manifests import MANAGED, PREFIX
from onlyvips.core.redaction import hidden
from onlyvips.errors import Refused

Manifest = dict[str, Any]
_ORDER = (
    *("ServiceAccount", "Role", "RoleBinding", "LimitRange", "ResourceQuota", "NetworkPolicy", "ConfigMap"),
    *("PersistentVolumeClaim", "Service", "Deployment", "StatefulSet", "DaemonSet", "CronJob", "PodDisruptionBudget"),
    *("HorizontalPodAutoscaler", "Gateway", "ReferenceGrant", "HTTPRoute", "GRPCRoute", "Ingress"),
)
"""What others need comes first; kinds that are not named come last, in the order of the backup."""
_STAYS = ("uid", "resourceVersion", "ownerReferences", "creationTimestamp", "generation")
_ASSIGNED = {
    "Service": ("clusterIP", "clusterIPs", "healthCheckNodePort"),
    "PersistentVolumeClaim": ("volumeName",),
}
_ANY = "*"


def name_of(one: Manifest) -> str:
    """``Deployment/backend``: what a person calls it by."""
    return f"{one['kind']}/{one['metadata']['name']}"


def in_order(manifests: Iterable[Manifest]) -> list[Manifest]:
    """As they are applied."""
    ranks = {kind: rank for rank, kind in enumerate(_ORDER)}
    return sorted(manifests, key=lambda one: ranks.get(one["kind"], len(ranks)))


def is_of_a_release(one: Manifest) -> bool:
    """Whether it is a record, a snapshot or a copy of a release of ours."""
    labels = one["metadata"].get("labels") or {}
    return MANAGED.items() <= labels.items() or str(one["metadata"]["name"]).startswith("onlyvips-release-")


def selected(manifests: Iterable[Manifest], names: Sequence[str]) -> list[Manifest]:
    """Those that were asked for, ``KIND/NAME=KIND/NAME`` or ``KIND/*=KIND/*``; all where nothing was. Raises Refused
    for what the backup has not."""
    every = [one for one in manifests if not is_of_a_release(one)]
    asked = [name.partition("=")[0] for name in names]
    found = [one for one in every if not asked or {name_of(one), f"{one['kind']}/{_ANY}"} & set(asked)]
    here = {name_of(one) for one in found} | {f"{one['kind']}/{_ANY}" for one in found}
    if absent := [name for name in asked if name not in here]:
        raise Refused(f"The backup has no {', '.join(absent)}: nothing was changed.")
    return found


def check_names(names: Sequence[str]) -> None:
    """Raise Refused for what names no objects, or would give one another name."""
    for name in names:
        source, _, target = name.partition("=")
        if source != target or source.count("/") != 1 or not all(source.split("/")):
            raise Refused(
                f"`{name}` says no objects: write KIND/NAME=KIND/NAME, or KIND/*=KIND/*; an object comes back under "
                "its own name alone. Nothing was read."
            )


# --- one object ------------------------------------------------------------------------------------------------------


def onto(live: Manifest, wanted: Manifest, scaled: bool) -> Manifest:
    """What is put in the place of ``live``: all that is wanted, and what the server and controllers gave it. With
    ``scaled`` its replicas are those that it has."""
    made = copy.deepcopy(wanted)
    metadata, has = made["metadata"], live["metadata"]
    metadata |= {key: has[key] for key in _STAYS if key in has}
    given = {key: text for key, text in (has.get("annotations") or {}).items() if key.startswith(_NOT_DECLARED)}
    if given:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **given}
    spec, had = made.get("spec"), live.get("spec") or {}
    if isinstance(spec, dict):
        for key in (*_ASSIGNED.get(made["kind"], ()), *(("replicas",) if scaled else ())):
            if key in had and (key == "replicas" or key not in spec):
                spec[key] = copy.deepcopy(had[key])
    if "status" in live:
        made["status"] = copy.deepcopy(live["status"])
    return made


_NOT_DECLARED = (*OF_CONTROLLERS, LAST_APPLIED)


def comparable(one: Manifest, scaled: bool) -> Manifest:
    """What of a live object is compared: what is declared, without the replicas of what is ``scaled``."""
    found = declared(one)
    return unscaled(found) if scaled and "spec" in found else found


@dataclass(frozen=True)
class Change:
    """An object that is made or changed: ``before`` and ``after`` as they are compared (``before`` None where there is
    none), ``write`` what is sent. ``owners`` are managers with the fields that they own and would lose."""

    name: str
    write: Manifest
    before: Manifest | None
    after: Manifest
    scaled: bool
    owners: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def creates(self) -> bool:
        return self.before is None


def diff(change: Change) -> Iterator[str]:
    """A unified diff, with what looks like a secret not shown."""
    before, after = hidden(change.before, change.after, "live"), hidden(change.after, change.before, "of the backup")
    here, there = (_lines(one) if one else [] for one in (before, after))
    yield from difflib.unified_diff(here, there, f"live {change.name}", f"backup {change.name}", lineterm="", n=2)


def _lines(one: Manifest) -> list[str]:
    return json.dumps(_by_line(one), indent=1, sort_keys=True, ensure_ascii=False).splitlines()


def _by_line(value: Any) -> Any:
    """A text of several lines as a list of them, so that those that differ are seen alone."""
    if isinstance(value, Mapping):
        return {key: _by_line(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_by_line(each) for each in value]
    return value.split("\n") if isinstance(value, str) and "\n" in value else value


# --- the whole -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Releases:
    """What open releases hold: their services, and the objects of those."""

    services: tuple[str, ...]
    objects: frozenset[str]


def open_services(config_maps: Iterable[Manifest], leases: Iterable[Manifest]) -> tuple[str, ...]:
    """Services with a release that is open, or somebody who holds the right to drive one."""
    found = set[str]()
    for one in config_maps:
        labels = one["metadata"].get("labels") or {}
        if MANAGED.items() <= labels.items() and labels.get(f"{PREFIX}/state") == "open":
            found.add(str(labels.get(f"{PREFIX}/service", one["metadata"]["name"])))
    for one in leases:
        name = str(one["metadata"]["name"])
        if name.startswith("onlyvips-release-") and (one.get("spec") or {}).get("holderIdentity"):
            found.add(name.removeprefix("onlyvips-release-"))
    return tuple(sorted(found))


def check_releases(changes: Iterable[Change], releases: Releases) -> None:
    """Raise Refused where an object that an open release drives would be changed, or what scales it."""
    found = ((one.name, {one.name, *scaled_names([one.write])}) for one in changes)
    if driven := [name for name, about in found if about & releases.objects]:
        services = ", ".join(releases.services)
        raise Refused(
            f"A release of {services} is open and drives {', '.join(driven)}: nothing was changed by this. Let it end, "
            f"or take it back (`onlyvips release abort`; a dead one: `onlyvips release reconcile`), then run it again."
        )


def missing_secrets(beside: Iterable[Mapping[str, Any]], live: Mapping[str, Iterable[str]]) -> list[str]:
    """Secrets of the backup that are not there, or lack keys, in words; their values are in no backup of this kind."""
    found = list[str]()
    for one in beside:
        name, keys = str(one["name"]), set(map(str, one["keys"]))
        if name not in live:
            found.append(f"Secret/{name} (keys {', '.join(sorted(keys)) or 'none'}) is not there")
        elif lacking := keys - set(live[name]):
            found.append(f"Secret/{name} lacks {', '.join(sorted(lacking))}")
    return found


def others(live: Iterable[Manifest], back: Iterable[Manifest]) -> list[str]:
    """What is there, declared, and not in the backup."""
    names = {name_of(one) for one in back}
    return [name_of(one) for one in live if name_of(one) not in names and not is_of_a_release(one)]


def scaled_names(*manifests: Iterable[Manifest]) -> set[str]:
    """What HorizontalPodAutoscalers scale, by the names that people call them by."""
    return {f"{kind}/{name}" for each in manifests for kind, name in scaled_by(each)}
