"""How far a restore is, noted in the target itself: a collection of ours that is there from before the first write to
after the last one. A restore that died goes on by it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onlyvips.core import little_bson as bson
from onlyvips.core.changes import Create, Drop, Put, Write
from onlyvips.core.manifest import moment
from onlyvips.core.oplog_entry import Position
from onlyvips.core.replayable import LAST
from onlyvips.core.restore import MARKER, RestorePlan
from onlyvips.core.swap import SHADOW, final
from onlyvips.errors import Fenced, Refused, Transient
from onlyvips.ports import TargetDatabase
from onlyvips.ports.live import LiveDatabase

_RESTORE, _HOLDER, _DONE, _SWAPPING, _RESTORED = "restore", "holder", "done ", "swapping", "restored"
_REPLAYING = "replaying"


@dataclass(frozen=True)
class Claim:
    """One run that begins or goes on with a restore: a ``nonce`` of its own; ``by`` whom, and ``since`` when."""

    nonce: str = field(default_factory=lambda: secrets.token_hex(8))
    by: str = "another run"
    since: str = ""


@dataclass
class Marker:
    """``done``: collections of the target whose base is there and verified; ``position``: the last entry replayed;
    ``swapping``: all of it is there, and shadows take their places; what ``stays`` and is ``remade`` then. ``claim`` is
    that of the run that writes; None: who looks. ``restored``: since when all of it is done but what comes after."""

    target: TargetDatabase
    namespace: str
    claim: Claim | None = None
    done: dict[str, tuple[int, int]] = field(default_factory=dict)
    replaying: bool = False
    position: Position | None = None
    resumed: bool = False
    swapping: bool = False
    stays: tuple[str, ...] = ()
    remade: tuple[str, ...] = ()
    restored: str = ""

    def note_done(self, namespace: str, documents: int, hash: int) -> None:
        """The base of this collection is there, verified: so many documents with this sum of hashes."""
        self.note(_DONE + namespace, bson.int64("documents", documents), bson.string("hash", f"{hash:032x}"))
        self.done[namespace] = documents, hash

    def note_replaying(self) -> None:
        """From now on the oplog is replayed on what is there."""
        if not self.replaying:
            self.note(_REPLAYING)
            self.replaying = True

    def note_position(self, position: Position) -> None:
        """Everything up to this entry is there."""
        self.note("position", bson.int64("seconds", position.seconds), bson.int64("ordinal", position.ordinal))
        self.position = position

    def note_swapping(self, stays: tuple[str, ...], remade: tuple[str, ...]) -> None:
        """All of it is there and verified; from now on what was there goes, but what ``stays``."""
        self.note(_SWAPPING, bson.string("beside", json.dumps([stays, remade])))
        self.swapping, self.stays, self.remade = True, stays, remade

    def note_restored(self, when: str) -> None:
        """All of it is in its place; what comes after a restore over the live database is not done yet."""
        self.note(_RESTORED, bson.string("when", when))
        self.restored = when

    @property
    def told(self) -> str:
        """How far it is, in words."""
        if not self.done:
            return "None of it is there yet."
        number = len(self.done)
        told = f"Of the base {number} collection{' is' if number == 1 else 's are'} there and compared"
        if self.position:
            told += f", the oplog is replayed up to {self.position.seconds}:{self.position.ordinal}"
        return f"{told}: a run with the same options goes on from there."

    def remove(self) -> None:
        """The restore is done."""
        self.still_ours()
        database, _, name = self.namespace.partition(".")
        try:
            self.target.apply([Drop(self.namespace)])
        except Transient:  # its answer may be all that is lost
            if name in self.target.collections(database):
                raise

    def note(self, name: str, *fields: bytes) -> None:
        """Keep ``fields`` under ``name``."""
        self.still_ours()
        self._put(name, *fields)

    def take(self, claim: Claim) -> None:
        """From now on this run writes, and whoever wrote before finds that out before its next write."""
        if self.namespace.partition(".")[2] not in self.target.collections(self.namespace.partition(".")[0]):
            self.target.apply([Create(self.namespace)])
        told = (bson.string(name, value) for name, value in vars(claim).items())
        self._put(_HOLDER, *told)
        self.claim = claim

    def still_ours(self) -> None:
        """One small read. Raises Fenced when another run goes on with this restore, or has ended it."""
        assert self.claim is not None
        found = self.kept(_HOLDER)
        if found and found["nonce"].text() == self.claim.nonce:
            return
        other = f"{found['by'].text()}, since {found['since'].text()}," if found else "another run, which has ended,"
        raise Fenced(
            f"This run was overtaken: {other} goes on with the restore into {self.namespace.partition('.')[0]}. This "
            "one has stopped and writes nothing more; nothing of what it did is lost. Look at the other run."
        )

    def kept(self, name: str) -> dict[str, bson.Element]:
        """What is kept under ``name``; nothing where there is no such thing."""
        asked = [bson.document(bson.string("_id", name))]
        found = [one for batch in self.target.documents(self.namespace, asked) for one in batch]
        return bson.fields(found[0]) if found else {}

    def _put(self, name: str, *fields: bytes) -> None:
        id = bson.string("_id", name)
        self.target.apply([Put(self.namespace, bson.document(id), bson.document(id, *fields))])


@dataclass(frozen=True)
class Ours:
    """``target`` for whoever writes for ``marker``: before each write it is seen that no other run took over."""

    marker: Marker
    target: LiveDatabase

    def describe(self) -> Mapping[str, str]:
        return self.target.describe()

    def collections(self, database: str) -> list[str]:
        return self.target.collections(database)

    def views(self, database: str) -> Mapping[str, str]:
        return self.target.views(database)

    def insert(self, namespace: str, documents: bytes) -> list[int]:
        self.marker.still_ours()
        return self.target.insert(namespace, documents)

    def documents(self, namespace: str, ids: Sequence[bytes] | None = None) -> Iterator[Sequence[bytes]]:
        return self.target.documents(namespace, ids)

    def apply(self, writes: Sequence[Write]) -> None:
        if writes:
            self.marker.still_ours()
            self.target.apply(writes)


def begin(plan: RestorePlan, target: TargetDatabase, claim: Claim) -> Marker:
    """Begin, or go on with what an earlier run of the same restore left, which writes nothing more from now on.

    Refused as ``look``; and when that run ended it meanwhile.
    """
    before = look(plan, target)
    before.take(claim)
    try:
        marker = look(plan, target)  # what the run before noted until it was overtaken
    except Refused:
        if not before.kept(_RESTORE):
            before.remove()
        raise
    marker.claim = claim
    if before.resumed and not marker.resumed:
        marker.remove()
        raise Refused("The run that this one was to go on with has ended the restore meanwhile: nothing was changed.")
    if not marker.resumed:
        told = (
            bson.string("plan", plan.identity),
            bson.string("at", told_until(plan)),
            bson.string("base", plan.base.id),
            bson.string("targets", json.dumps([to for _, to in plan.names.pairs])),
        )
        marker.note(_RESTORE, *told)
    return marker


def look(plan: RestorePlan, target: TargetDatabase) -> Marker:
    """What an earlier run of the same restore left, if anything; nothing is written.

    Raises Refused when the target has any of the collections and no such run left them, or when another restore is
    not done there.
    """
    marker = Marker(target, f"{plan.databases[0]}.{MARKER}")
    _read(marker, plan)
    if not marker.resumed and (there := occupied(plan, target)):
        raise Refused(
            f"The target already has {', '.join(there)}: nothing was changed. Only what the environment names is "
            "written over (--target live): restore beside it by --namespace 'DB.*=OTHER.*', or remove by hand what is "
            "there."
        )
    return marker


def base_under_way(plan: RestorePlan, target: TargetDatabase) -> str:
    """The id of the base by which a restore to the moment of ``plan`` was begun there and is not done; "" where none
    was, or it was by the plan's own. Another base may be whole by now, or the best one not."""
    marker = Marker(target, f"{plan.databases[0]}.{MARKER}")
    if MARKER not in target.collections(plan.databases[0]) or not (begun := marker.kept(_RESTORE)):
        return ""
    base = begun["base"].text()
    return base if begun["at"].text() == told_until(plan) and base != plan.base.id else ""


def told_until(plan: RestorePlan) -> str:
    """What ``--at`` must say for the very same restore."""
    until = plan.until
    if until is None:
        return f"{plan.base.id}-e{plan.base.epoch}"
    return moment(until.seconds) if until.ordinal == LAST else f"{until.seconds}:{until.ordinal}"


def occupied(plan: RestorePlan, target: TargetDatabase) -> list[str]:
    """Collections of the target that are in the way: those that come back; of a whole database, all of it."""
    found = [f"{name}.{one}" for name in plan.databases for one in target.collections(name) if one != MARKER]
    if plan.over is not None:
        return [one for one in found if one.partition(".")[2].startswith(SHADOW)]
    whole = {to.removesuffix(".*") for _, to in plan.names.pairs if to.endswith(".*")}
    coming = {one.target for one in plan.coming} | {to for _, to in plan.names.pairs}
    return [one for one in found if one in coming or one.partition(".")[0] in whole]


def finish(plan: RestorePlan, target: TargetDatabase) -> None:
    """What comes after a restore is done too: nothing is left of it. Nothing where another run is at it by now."""
    marker = look(plan, target)
    if marker.restored:
        target.apply([Drop(marker.namespace)])


def _read(marker: Marker, plan: RestorePlan) -> None:
    if MARKER not in marker.target.collections(plan.databases[0]):
        return
    found = [bson.fields(one) for batch in marker.target.documents(marker.namespace) for one in batch]
    kept = {told["_id"].text(): told for told in found}
    for name, told in kept.items():
        if name == "position":
            marker.position = Position(told["seconds"].number() or 0, told["ordinal"].number() or 0)
        elif name == _SWAPPING:
            marker.swapping = True
            stays, remade = json.loads(told["beside"].text())
            marker.stays, marker.remade = tuple(stays), tuple(remade)
        elif name == _REPLAYING:
            marker.replaying = True
        elif name == _RESTORED:
            marker.restored = told["when"].text()
        elif name.startswith(_DONE):
            count, hash = told.get("documents"), told.get("hash")
            if count and hash:
                marker.done[name.removeprefix(_DONE)] = count.number() or 0, int(hash.text(), 16)
            elif "position" in kept:  # of an earlier version, and replayed on: only without both is it loaded anew
                marker.done[name.removeprefix(_DONE)] = 0, 0
    if begun := kept.get(_RESTORE):
        marker.resumed = True
        if begun["plan"].text() != plan.identity:
            raise Refused(_other(marker, begun, told_until(plan)))


def _other(marker: Marker, begun: dict[str, bson.Element], asked: str) -> str:
    """What another restore is, that is not done there, and both ways out of it."""
    at, base = begun["at"].text(), begun["base"].text()
    told = f"Another restore is not done in that target ({marker.namespace}): of the base {base}, to {at}. "
    same = f"Finish it by the same command with --at {at}"
    if at == asked:
        same = "Finish it by the very same command, where it was another one"
    there = _written(marker, json.loads(begun["targets"].text())) if "targets" in begun else []
    if marker.restored:
        how = "all of it is there: flush the cache and take a new base by hand, then drop"
    elif marker.swapping:
        renames = [f"{one} to {final(one)}" for one in there]
        how = f"rename by hand, with dropTarget, {', '.join(renames) or 'nothing more'}: they are whole; then drop"
    else:
        how = f"drop by hand {', '.join((*there, 'and'))}" if there else "drop"
    return f"{told}{same}; where its base is pruned or not whole by now, {how} {marker.namespace}. Nothing was changed."


def _written(marker: Marker, targets: list[str]) -> list[str]:
    """What it has written that is there, by name."""
    found = [
        f"{name}.{one}"
        for name in sorted({to.partition(".")[0] for to in targets})
        for one in marker.target.collections(name)
        if one != MARKER
    ]
    return [one for one in found if any(one == to or (to.endswith("*") and one.startswith(to[:-1])) for to in targets)]
