"""Where the record of a release of several services lives: one ConfigMap, beside those of its members."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from onlyvips.core.group import Group, from_json, going_back, to_json
from onlyvips.core.manifests import MANAGED, PREFIX, object_of, own_metadata
from onlyvips.core.record import Command, Record, Told
from onlyvips.core.world import Together
from onlyvips.errors import Permanent, Transient
from onlyvips.ports import Cluster, Manifest
from onlyvips.steps.fence import Fence

LEASE = "all-services"
"""Stands for a service's name in the Lease and in the epoch of a release of several services."""
_STATE, _RUN, _NEWS = f"{PREFIX}/state", f"{PREFIX}/run", f"{PREFIX}/news"
_KIND = {f"{PREFIX}/kind": "release-of-several"}
_OWED = {"op": "add", "path": f"/metadata/labels/{_NEWS.replace('/', '~1')}", "value": "owed"}
"""Of a closed one news may be owed, as of a closed release of one service."""


def config_map(group: str) -> str:
    """The name of its ConfigMap."""
    return f"onlyvips-release-{group}"


def every(cluster: Cluster, **labels: str) -> list[Group]:
    """All in the namespace, oldest first; by state or run, when asked.

    A closed one that another version of this program wrote, and this one cannot read, is passed over.
    """
    wanted = {**MANAGED, **_KIND, **{f"{PREFIX}/{key}": value for key, value in labels.items()}}
    found = (_parse_or_pass(each) for each in cluster.list("ConfigMap", wanted))
    return sorted((group for group in found if group is not None), key=lambda group: group.created)


def _parse_or_pass(manifest: Manifest) -> Group | None:
    try:
        return _parse(manifest)
    except Permanent:
        if manifest["metadata"]["labels"].get(_STATE) == "closed":
            return None
        raise


def of_run(cluster: Cluster, run: str) -> Group | None:
    """The one that this run began or went on with, the newest; None while there is none."""
    if not run:
        return None
    begun = {group.id for group in every(cluster, run=run)}
    mine = [one for one in every(cluster) if one.id in begun or any(run in holder for holder in one.holders)]
    return mine[-1] if mine else None


def driven_by(cluster: Cluster, run: str) -> Group | None:
    """The open one that ``run`` was the last to drive; None when there is none, or somebody else went on with it."""
    found = of_run(cluster, run)
    if found is None or found.closed or (found.holders and run not in found.holders[-1]):
        return None
    return found


def find_open(cluster: Cluster) -> Group | None:
    """The open one, None when there is none."""
    found = every(cluster, state="open")
    return found[0] if found else None


def find(cluster: Cluster, group: str) -> Group | None:
    """The one with this id, None when it is not there."""
    found = cluster.get("ConfigMap", config_map(group)) if group else None
    return _parse(found) if found is not None else None


def load(cluster: Cluster, group: str) -> Group:
    """The one with this id and what people asked of it. Raises Permanent when there is none."""
    found = find(cluster, group)
    if found is None:
        raise Permanent(f"There is no release {group} in this environment: see `onlyvips release status`.")
    return found


def decision(cluster: Cluster, record: Record) -> Together:
    """What was decided about all services of the release that ``record`` is a part of."""
    if not record.group:
        return ""
    found = find(cluster, record.group)
    return found.decision if found is not None else "failed"


def with_group(cluster: Cluster, record: Record) -> Record:
    """The record of a member, which hears as an abort of its own that all go back."""
    if not record.group:
        return record
    found = find(cluster, record.group)
    command = Command("abort", "Nobody", record.created, f"the record of {record.group} is gone")
    command_of_all = going_back(found) if found is not None else command
    return replace(record, commands=(*record.commands, command_of_all)) if command_of_all else record


def create(fence: Fence, group: Group, run: str) -> None:
    """Write a new one, labelled with the run that began it."""
    own = own_metadata(group.id, LEASE, fence.epoch)
    own["labels"] |= {**_KIND, _STATE: "open", _RUN: run}
    fence.create(object_of("ConfigMap", config_map(group.id), own, data={"group.json": to_json(group)}))


def save(fence: Fence, group: Group) -> None:
    """Write it under our epoch. Commands are left as they are.

    Raises Transient where it would be promoted and somebody asked for an abort meanwhile: it is decided anew.
    """
    state, text = "open" if group.open else "closed", to_json(replace(group, commands=(), told=()))

    def change(live: Manifest) -> Sequence[Manifest]:
        before = _parse(live)
        if before.decision == "undecided" and group.decision == "promoted" and before.aborted:
            raise Transient("An abort was asked for just now: it is decided anew.", delay=0.0)
        if live["data"]["group.json"] == text and live["metadata"]["labels"][_STATE] == state:
            return ()
        return (
            {"op": "add", "path": "/data/group.json", "value": text},
            {"op": "add", "path": f"/metadata/labels/{_STATE.replace('/', '~1')}", "value": state},
            *(() if group.open else (_OWED,)),
        )

    fence.patch("ConfigMap", config_map(group.id), change)


def _parse(manifest: Manifest) -> Group:
    data = manifest["data"]
    commands = tuple(Command(**command) for command in json.loads(data.get("commands.json", "[]")))
    told = tuple(Told(**told) for told in json.loads(data.get("told.json", "[]")))
    return replace(from_json(data["group.json"]), commands=commands, told=told)
