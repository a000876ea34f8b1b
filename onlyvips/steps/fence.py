"""Fenced writes: nothing is written to an object whose last read did not show our epoch.

The epoch of the service's Lease is stamped on every object first; each later write carries the resourceVersion of a
read that showed it. A driver that was taken over finds a higher epoch, or a version that moved on, and stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from onlyvips.core.manifests import RELEASE, epoch_key, epoch_of, metadata_patch
from onlyvips.errors import Conflict, Fenced, Permanent, Transient, UnknownOutcome
from onlyvips.ports import Cluster, Manifest
from onlyvips.ports.router import Change

_TRIES = 6


def highest_epoch(cluster: Cluster, service: str, objects: Iterable[tuple[str, str]]) -> int:
    """The greatest epoch stamped on any of ``objects`` (kind, name): a Lease that was lost starts above it."""
    found = (cluster.get(kind, name) for kind, name in objects)
    return max((epoch_of(manifest, service) for manifest in found if manifest is not None), default=0)


class Fence:
    """Writes of one driver of one service's release, under one epoch."""

    def __init__(self, cluster: Cluster, service: str, epoch: int, progress: Callable[[], None]) -> None:
        self._cluster, self._service, self.epoch, self.progress = cluster, service, epoch, progress

    def stamp(self, kind: str, name: str) -> None:
        """Put our epoch on the object, where there is one. Raises Fenced when a higher one is there."""
        if self._cluster.get(kind, name) is not None:
            self.patch(kind, name, lambda _: ())

    def patch(self, kind: str, name: str, change: Change) -> Manifest:
        """Read, check the epoch, change, and return what is stored; on a conflict read again.

        Raises Fenced at a higher epoch, Permanent when the object is gone, Transient when it keeps changing under us.
        """
        for _ in range(_TRIES):
            self.progress()
            live = self._cluster.get(kind, name)
            if live is None:
                raise Permanent(f"{kind} {name} is gone: somebody removed it in the middle of the release.")
            try:
                live = self._claimed(kind, live)
                operations = list(change(live))
                return self._send(kind, live, operations) if operations else live
            except (Conflict, UnknownOutcome):
                continue
        raise Transient(f"{kind} {name} changed, or gave no answer, {_TRIES} times in a row: nothing was written.")

    def _send(self, kind: str, live: Manifest, operations: Sequence[Manifest]) -> Manifest:
        metadata = live["metadata"]
        return self._cluster.patch(kind, metadata["name"], metadata["resourceVersion"], operations)

    def _claimed(self, kind: str, live: Manifest) -> Manifest:
        found = epoch_of(live, self._service)
        if found > self.epoch:
            raise Fenced(
                f"{kind} {live['metadata']['name']} belongs to epoch {found}, ours is {self.epoch}: another run drives "
                "this release now, this one wrote nothing more."
            )
        if found == self.epoch:
            return live
        mine = {epoch_key(self._service): str(self.epoch)}
        return self._send(kind, live, metadata_patch(live, lambda notes: notes.update(mine)))

    def create(self, manifest: Manifest) -> Manifest:
        """POST an object of this release; one that an earlier attempt of the same release made is taken as it is.

        Raises Permanent when the name belongs to something else.
        """
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        for _ in range(_TRIES):
            self.progress()
            try:
                return self._cluster.create(manifest)
            except (Conflict, UnknownOutcome):
                live = self._cluster.get(kind, name)
            if live is not None:
                return self._adopted(kind, live, manifest)
        raise Transient(f"{kind} {name} could not be created in {_TRIES} tries: the API gave no answer.")

    def _adopted(self, kind: str, live: Manifest, manifest: Manifest) -> Manifest:
        name = live["metadata"]["name"]
        owner = (live["metadata"].get("labels") or {}).get(RELEASE, "")
        if owner != manifest["metadata"]["labels"][RELEASE]:
            who = f"left by release {owner}" if owner else "not made by a release"
            raise Permanent(f"{kind} {name} exists already, {who}: remove it, or run `onlyvips release reconcile`.")
        return self.patch(kind, name, lambda _: ())

    def delete(self, kind: str, name: str, check: Callable[[Manifest], None] = lambda _: None) -> None:
        """Delete it and see that it is deleted (or going); deleting what is not there is done.

        ``check`` raises where the object, as it is deleted, is not what was meant.
        """
        for _ in range(_TRIES):
            self.progress()
            live = self._cluster.get(kind, name)
            if live is None or live["metadata"].get("deletionTimestamp"):
                return
            try:
                live = self._claimed(kind, live)
                check(live)
                self._cluster.delete(kind, name, live["metadata"]["resourceVersion"])
            except (Conflict, UnknownOutcome):
                continue
        if self._cluster.get(kind, name) is not None:
            raise Transient(f"{kind} {name} could not be deleted in {_TRIES} tries: it is asked again.")
