"""Where a release's record lives: one ConfigMap a release, found by labels.

``record.json`` is the driver's and is written through its fence; ``commands.json`` is what people asked, written by
anybody, so that an abort never waits for a lease; ``told.json`` is the news that was sent, written by who sent it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from onlyvips.core.manifests import MANAGED, PREFIX, object_of, own_metadata
from onlyvips.core.record import Command, Record, Told, from_json, to_json
from onlyvips.errors import Conflict, Permanent, Transient, UnknownOutcome
from onlyvips.ports import Cluster, Manifest
from onlyvips.steps import group_records
from onlyvips.steps.fence import Fence

SERVICE, STATE, RUN, NEWS = f"{PREFIX}/service", f"{PREFIX}/state", f"{PREFIX}/run", f"{PREFIX}/news"
_KIND = {f"{PREFIX}/kind": "release"}


def config_map(release: str) -> str:
    """The name of a release's ConfigMap."""
    return f"onlyvips-release-{release}"


def every(cluster: Cluster, service: str = "", **labels: str) -> list[Record]:
    """All records in the namespace, oldest first; of one service, and by state or run, when asked.

    A closed one that another version of this program wrote, and this one cannot read, is passed over.
    """
    wanted = {**MANAGED, **_KIND, **({SERVICE: service} if service else {})}
    wanted |= {f"{PREFIX}/{key}": value for key, value in labels.items()}
    found = (_parse_or_pass(each) for each in cluster.list("ConfigMap", wanted))
    return sorted((record for record in found if record is not None), key=lambda record: record.created)


def _parse_or_pass(manifest: Manifest) -> Record | None:
    try:
        return _parse(manifest)
    except Permanent:
        if manifest["metadata"]["labels"].get(STATE) == "closed":
            return None
        raise


def find_open(cluster: Cluster, service: str) -> Record | None:
    """The service's open release, None when there is none."""
    found = every(cluster, service, state="open")
    return found[0] if found else None


def load(cluster: Cluster, release: str) -> Record:
    """The record of ``release`` with the commands that people gave meanwhile. Raises Permanent when there is none."""
    found = cluster.get("ConfigMap", config_map(release))
    if found is None:
        raise Permanent(f"There is no release {release} in this environment: see `onlyvips release status`.")
    return group_records.with_group(cluster, _parse(found))


def find(cluster: Cluster, release: str) -> Record | None:
    """The record of ``release``, None when there is none."""
    found = cluster.get("ConfigMap", config_map(release))
    return _parse(found) if found is not None else None


def _parse(manifest: Manifest) -> Record:
    data = manifest["data"]
    commands = tuple(Command(**command) for command in json.loads(data.get("commands.json", "[]")))
    told = tuple(Told(**told) for told in json.loads(data.get("told.json", "[]")))
    return replace(from_json(data["record.json"]), commands=commands, told=told)


def create(cluster: Cluster, fence: Fence, record: Record, run: str) -> None:
    """Write a new record, labelled with the run that began it."""
    own = own_metadata(record.id, record.service, fence.epoch)
    own["labels"] |= {**_KIND, SERVICE: record.service, STATE: "open", RUN: run}
    fence.create(object_of("ConfigMap", config_map(record.id), own, data={"record.json": to_json(record)}))


def save(fence: Fence, record: Record) -> None:
    """Write the record under our epoch; its labels follow ``open``: of a closed one news may be owed. Commands are left
    as they are."""
    state = "open" if record.open else "closed"

    def change(live: Manifest) -> Sequence[Manifest]:
        if live["data"]["record.json"] == to_json(record) and live["metadata"]["labels"][STATE] == state:
            return ()
        return (
            {"op": "add", "path": "/data/record.json", "value": to_json(record)},
            {"op": "add", "path": f"/metadata/labels/{STATE.replace('/', '~1')}", "value": state},
            *(() if record.open else (news_label("owed"),)),
        )

    fence.patch("ConfigMap", config_map(record.id), change)


def command(cluster: Cluster, release: str, asked: Command) -> None:
    """Add a command to a release that another process drives. Needs no lease."""
    for _ in range(6):
        found = cluster.get("ConfigMap", config_map(release))
        if found is None:
            raise Permanent(f"There is no release {release} in this environment: see `onlyvips release status`.")
        given = json.loads(found["data"].get("commands.json", "[]"))
        if any(one["name"] == asked.name and one["by"] == asked.by and one["at"] == asked.at for one in given):
            return
        value = json.dumps([*given, asdict(asked)])
        try:
            cluster.patch(
                "ConfigMap",
                found["metadata"]["name"],
                found["metadata"]["resourceVersion"],
                [{"op": "add", "path": "/data/commands.json", "value": value}],
            )
            return
        except (Conflict, UnknownOutcome):
            continue
    raise Permanent(f"The {asked.name} of release {release} could not be written: its record changes all the time.")


def news_label(stands: str) -> Manifest:
    """The change that says how the news of a closed release stands: ``owed``, or ``over``."""
    return {"op": "add", "path": f"/metadata/labels/{NEWS.replace('/', '~1')}", "value": stands}


def news_over(cluster: Cluster, release: str) -> None:
    """Write down that nobody is owed news of a closed release any more. Needs no lease."""
    _add(cluster, release, lambda _: news_label("over"), f"That the news of {release} is over")


def note_told(cluster: Cluster, release: str, told: Told) -> None:
    """Write down what a target was given, or did not take: the newest of it counts. Needs no lease."""

    def noted(found: Manifest) -> Manifest:
        known = json.loads(found["data"].get("told.json", "[]"))
        others = [one for one in known if (one["news"], one["target"]) != (told.news, told.target)]
        value = json.dumps([*others, asdict(told)], ensure_ascii=False)
        return {"op": "add", "path": "/data/told.json", "value": value}

    _add(cluster, release, noted, f"That {told.target} was told of {release}")


def _add(cluster: Cluster, release: str, change: Callable[[Manifest], Manifest], what: str) -> None:
    for _ in range(6):
        if (found := cluster.get("ConfigMap", config_map(release))) is None:
            return
        name, version = found["metadata"]["name"], found["metadata"]["resourceVersion"]
        try:
            cluster.patch("ConfigMap", name, version, [change(found)])
            return
        except (Conflict, UnknownOutcome):
            continue
    raise Transient(f"{what} could not be written: its record changes all the time.")


def kept(cluster: Cluster, record: Record, kind: str) -> bool:
    """False only where the snapshot is there without ``kind``: there was none before the release."""
    found = cluster.get("ConfigMap", record.snapshot)
    return found is None or kind in found["data"]


def snapshot_of(cluster: Cluster, record: Record, kind: str) -> Manifest:
    """What ``kind`` looked like before the release. Raises Permanent when the snapshot is gone."""
    found = cluster.get("ConfigMap", record.snapshot)
    if found is None or kind not in found["data"]:
        raise Permanent(
            f"The snapshot {record.snapshot} has no {kind}: stable cannot be put back from it; `kubectl rollout undo` "
            f"of the Deployment of {record.service} does, once you have looked."
        )
    manifest: Manifest = json.loads(found["data"][kind])
    return manifest
