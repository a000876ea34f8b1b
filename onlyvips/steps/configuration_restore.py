"""A restore of the configuration: compared by the server itself, then object by object, each in one write, read back.

An object is replaced on the condition that it is what was compared, so a run that died goes on when it is run again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onlyvips.core.configuration import keep
from onlyvips.core.configuration_restore import (
    Change,
    Releases,
    check_releases,
    comparable,
    in_order,
    missing_secrets,
    name_of,
    onto,
    open_services,
    others,
    scaled_names,
    selected,
)
from onlyvips.core.configuration_restored import ConfigurationPlan, RestoredConfiguration, check_plan
from onlyvips.core.kinds import KindName, parse_kind
from onlyvips.core.points import Point
from onlyvips.core.restore import Source
from onlyvips.errors import Conflict, OnlyVipsError, Permanent, Refused
from onlyvips.ports import Clock, Manifest
from onlyvips.ports.configuration import Applier, Inventory, Served
from onlyvips.steps.configuration import BESIDE, MANIFESTS
from onlyvips.steps.opened import Sink, open_object
from onlyvips.steps.sound import Reader

_CONFIG_MAPS = Served("v1", "ConfigMap", "configmaps")
_LEASES = Served("coordination.k8s.io/v1", "Lease", "leases")


@dataclass(frozen=True)
class Place:
    """The cluster: read, written, ``kinds`` of it are its configuration. ``objects`` names those of some services;
    ``automatic`` are managers that write back by themselves."""

    inventory: Inventory
    applier: Applier
    kinds: Sequence[KindName]
    objects: Callable[[Sequence[str]], Sequence[str]]
    automatic: Sequence[str] = ()

    def releases(self) -> Releases:
        """What open releases drive, now."""
        services = open_services(self.inventory.objects(_CONFIG_MAPS), self.inventory.objects(_LEASES))
        return Releases(services, frozenset(self.objects(services)))


@dataclass(frozen=True)
class Ready:
    """A plan, and the kinds of what it writes, by name."""

    plan: ConfigurationPlan
    served: Mapping[str, Served]


# --- the backup ------------------------------------------------------------------------------------------------------


def read_backup(point: Point, reader: Reader) -> tuple[list[Manifest], list[dict[str, Any]], tuple[str, ...]]:
    """Manifests, Secrets without values, and what was wrong with copies. Raises Refused where none is good."""
    by_key, flaws = {one.record.key: one for one in point.sources}, list[str]()
    found = [json.loads(_opened(by_key[key], point, reader, flaws)) for key in (MANIFESTS, BESIDE)]
    return found[0]["items"], found[1]["secrets"], tuple(flaws)


def _opened(source: Source, point: Point, reader: Reader, flaws: list[str]) -> bytes:
    facts, wrong = {fact.name: fact.value for fact in point.manifest.facts}, list[str]()
    for name in source.destinations:
        pieces = list[bytes]()
        try:
            chunks = reader.stores[name].read(source.key)
            why = open_object(chunks, source.record, reader.identities, None, facts, _into(pieces))
        except OnlyVipsError as error:
            why = str(error)
        if not why:
            flaws.extend(wrong)
            return b"".join(pieces)
        wrong.append(f"{name}: {source.key} {why}")
    raise Refused(
        f"No good copy is left of {source.key}, so nothing was changed: "
        f"{' · '.join(wrong) or 'no destination has it'}. Where it does not open, see that the identity "
        "is the right one; else restore another backup by --at."
    )


def _into(pieces: list[bytes]) -> Sink:
    return lambda found: pieces.append(found.data)


# --- the plan --------------------------------------------------------------------------------------------------------


def prepare(point: Point, reader: Reader, place: Place, names: Sequence[str]) -> Ready:
    """What a restore would do, by what the server would make of it; nothing is stored. Raises Refused."""
    items, secrets, flaws = read_backup(point, reader)
    namespace = place.inventory.describe()["namespace"]
    wanted = in_order(selected(items, names))
    if elsewhere := {str(one["metadata"].get("namespace", namespace)) for one in wanted} - {namespace}:
        raise Refused(
            f"The backup is of namespace {', '.join(sorted(elsewhere))}, the environment's is {namespace}: nothing was "
            "changed."
        )
    live, served, keys = _live(place, wanted)
    scaled = scaled_names(wanted, [one for one in live.values() if one["kind"] == "HorizontalPodAutoscaler"])
    changes, same, wrong = list[Change](), list[str](), list[str]()
    for one in wanted:
        name = name_of(one)
        try:
            change = _change(one, live.get(name), served[one["apiVersion"], one["kind"]], name in scaled, place)
        except Conflict:
            raise
        except Permanent as error:
            wrong.append(f"{name}: {error}")
            continue
        changes += [change] if change else []
        same += [] if change else [name]
    declared = keep(live.values()).manifests
    plan = ConfigurationPlan(
        point,
        namespace,
        tuple(changes),
        tuple(same),
        tuple(others(declared, items)) if not names else (),
        tuple(missing_secrets(secrets, keys)) if not names else (),
        tuple(wrong),
        (*point.notes, *_notes(changes, live, place)),
        flaws,
    )
    return Ready(plan, {name_of(one): served[one["apiVersion"], one["kind"]] for one in wanted})


def _live(
    place: Place, wanted: Sequence[Manifest]
) -> tuple[dict[str, Manifest], dict[tuple[str, str], Served], dict[str, list[str]]]:
    """Objects by name; where each kind of the backup is; the keys of each Secret."""
    asked = [parse_kind(f"{api}/{kind}") for api, kind in dict.fromkeys((o["apiVersion"], o["kind"]) for o in wanted)]
    mine = {(one.group, one.kind) for one in asked}
    every = [*asked, *(one for one in place.kinds if (one.group, one.kind) not in mine)]
    served = place.inventory.served(every)
    found, keys = dict[str, Manifest](), dict[str, list[str]]()
    for kind in served:
        for one in place.inventory.objects(kind):
            if kind.kind == "Secret":
                keys[one["metadata"]["name"]] = list(one.get("data") or {})
            else:
                found[name_of(one)] = one
    return found, {(one.api, one.kind): one for one in served}, keys


def _change(wanted: Manifest, live: Manifest | None, kind: Served, scaled: bool, place: Place) -> Change | None:
    """What would be done to one object, by a dry run of the server; None where nothing would."""
    name = name_of(wanted)
    if live is None:
        made = place.applier.create(kind, wanted, dry=True)
        return Change(name, wanted, None, comparable(made, scaled), scaled)
    write = onto(live, wanted, scaled)
    before = comparable(live, scaled)
    if before == comparable(write, scaled):
        return None
    after = comparable(place.applier.replace(kind, write, dry=True), scaled)
    if before == after:
        return None
    return Change(name, write, before, after, scaled, place.applier.owners(kind, write))


def _notes(changes: Sequence[Change], live: Mapping[str, Manifest], place: Place) -> list[str]:
    found = list[str]()
    for one in changes:
        if back := sorted(set(one.owners) & set(place.automatic)):
            found.append(f"{', '.join(back)} writes {one.name} by itself and will write it again: suspend it before")
        labels = live.get(one.name, {}).get("metadata", {}).get("labels") or {}
        if labels.get("app.kubernetes.io/managed-by") == "Helm":
            found.append(f"{one.name} is of a Helm chart, which will not know of this: rather helm rollback")
    return found


def check(ready: Ready, place: Place, at: str) -> None:
    """Raise Refused for what a run would be refused with."""
    check_plan(ready.plan, at)
    check_releases(ready.plan.changes, place.releases())


# --- doing it --------------------------------------------------------------------------------------------------------


def restore_configuration(
    ready: Ready, place: Place, at: str, clock: Clock, tell: Callable[[], None]
) -> RestoredConfiguration:
    """Do it. Raises Refused, with nothing changed, for what ``check`` says; Permanent, which names what was done, where
    somebody else is at work."""
    began, plan = clock.monotonic(), ready.plan
    check(ready, place, at)
    written = dict[str, Manifest]()
    for one in plan.changes:
        tell()
        try:
            check_releases([one], place.releases())
            written[one.name] = comparable(_write(one, ready.served[one.name], place), one.scaled)
        except Permanent as error:
            if not written:
                raise
            raise Permanent(f"{', '.join(written)} were written, then: {error} Run it again.") from error
    _read_back(ready, place, written)
    return RestoredConfiguration(
        backup=plan.point.name,
        created=tuple(one.name for one in plan.changes if one.creates),
        changed=plan.overwritten,
        same=len(plan.same),
        others=len(plan.others),
        secrets=plan.secrets,
        flaws=plan.flaws,
        seconds=clock.monotonic() - began,
    )


def _write(change: Change, kind: Served, place: Place) -> Manifest:
    if change.creates:
        return place.applier.create(kind, change.write, dry=False)
    return place.applier.replace(kind, change.write, dry=False)


def _read_back(ready: Ready, place: Place, written: Mapping[str, Manifest]) -> None:
    """Every object that was written is as the server's dry run said."""
    changes = {one.name: one for one in ready.plan.changes}
    live = dict[str, Manifest]()
    for kind in {ready.served[name] for name in written}:
        live |= {name_of(one): one for one in place.inventory.objects(kind)}
    wrong = [
        name
        for name in written
        if name not in live or comparable(live[name], changes[name].scaled) != changes[name].after
    ]
    if wrong:
        raise Permanent(
            f"{', '.join(wrong)} read back otherwise than they were written, for somebody else writes there: look at "
            "`restore plan`, stop who writes, then run it again."
        )
