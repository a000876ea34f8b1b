"""A backup of the configuration: declared manifests, what is beside them, and the repository they come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from onlyvips.core.bundle import BrokenBundle, BundleReader, bundle_wrong, refs_digest
from onlyvips.core.configuration import Kept, beside_json, beside_wrong, facts_of, keep, manifests_json, manifests_wrong
from onlyvips.core.kinds import KindName
from onlyvips.core.manifest import WARNING, Fact, Server
from onlyvips.core.plan import BackupPlan
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports import ObjectStore
from onlyvips.ports.configuration import Inventory, Revision
from onlyvips.steps.backup import About, Run, Session
from onlyvips.steps.journal import Begun
from onlyvips.steps.pipe import Meter, Piece

MANIFESTS, BESIDE, BUNDLE = (
    f"objects/{name}.zst.age" for name in ("0001-manifests.json", "0002-beside.json", "0003-repository.bundle")
)
_COMPARED = ("manifests_digest", "secrets_digest", "revision", "refs_digest", "shallow")
_READS = 5


@dataclass(frozen=True)
class Moment:
    """The configuration as it was at one moment. ``facts`` go into the backup's manifest."""

    kept: Kept
    facts: Mapping[str, str]

    @property
    def compared(self) -> dict[str, str]:
        """What is another where anything changed that a backup would hold."""
        return compared(self.facts)


def compared(facts: Mapping[str, str]) -> dict[str, str]:
    """Of a backup's facts those that differ where anything changed."""
    return {name: facts[name] for name in _COMPARED if name in facts}


def check_configuration(inventory: Inventory, revision: Revision | None, kinds: Sequence[KindName]) -> None:
    """Kinds that cannot be listed and a repository that cannot be read are refused before anything is read."""
    try:
        inventory.served(kinds)
        if revision is not None:
            revision.refs()
    except Refused:
        raise
    except (Permanent, Transient) as error:
        raise Refused(f"{error} Nothing was read.") from error


def read_moment(inventory: Inventory, revision: Revision | None, kinds: Sequence[KindName]) -> Moment:
    """Read everything twice at least, until nothing changed between: then it stood so at one moment.

    Raises Transient when it never stands still, Permanent when there is nothing.
    """
    before = _read(inventory, revision, kinds)
    for _ in range(_READS):
        found = _read(inventory, revision, kinds)
        if found.compared == before.compared:
            return found
        before = found
    raise Transient("The configuration changed each time that it was read: take it again in a while.", delay=15.0)


def _read(inventory: Inventory, revision: Revision | None, kinds: Sequence[KindName]) -> Moment:
    kept = keep(one for kind in inventory.served(kinds) for one in inventory.objects(kind))
    told = dict(inventory.describe())
    if not kept.manifests:
        raise Permanent(
            f"Namespace {told['namespace']} has no object of the kinds that backup.configuration.kinds names: see that "
            "it is the right cluster; nothing was written."
        )
    return Moment(kept, {**told, **facts_of(kept), **(_of_repository(revision) if revision else {})})


def _of_repository(revision: Revision) -> dict[str, str]:
    refs, shallow = revision.refs(), revision.shallow()
    found = {"revision": refs["HEAD"], "refs_digest": refs_digest(refs), "uncommitted": str(revision.uncommitted())}
    return {**found, **({"shallow": " ".join(shallow)} if shallow else {})}


def configuration(
    inventory: Inventory,
    revision: Revision | None,
    kinds: Sequence[KindName],
    stores: Sequence[ObjectStore],
    plan: BackupPlan,
    run: Run,
    begun: Begun | None = None,
) -> Session:
    """A backup of what stands there now, ready to be taken; it goes on with what was ``begun`` of the very same."""
    moment = read_moment(inventory, revision, kinds)
    pieces = [
        _piece(MANIFESTS, partial(manifests_json, moment.kept)),
        _piece(BESIDE, lambda: [beside_json(moment.kept)]),
        *([_piece(BUNDLE, partial(_bundle, revision, moment.facts))] if revision else ()),
    ]
    state = hashlib.sha256(json.dumps(moment.facts, sort_keys=True).encode()).hexdigest()
    return Session(pieces, partial(_about, moment), stores, plan, run, begun=begun, state=state)


def _piece(key: str, chunks: Callable[[], Iterable[bytes]]) -> Piece:
    def read(meter: Meter) -> Iterator[bytes]:
        for chunk in chunks():
            meter.add(len(chunk), 0)
            yield chunk

    return Piece(key, read)


def _bundle(revision: Revision, facts: Mapping[str, str]) -> Iterator[bytes]:
    """Git's bytes, which must be whole, need nothing, and hold the refs that were seen."""
    reader = BundleReader()
    try:
        for chunk in revision.bundle():
            reader.feed(chunk)
            yield chunk
        reader.finish()
    except BrokenBundle as error:
        raise Permanent(
            f"git ended well, and its bundle is not whole ({error}): it was published nowhere; run `git fsck` in the "
            "repository, then take the backup again."
        ) from error
    if not (why := bundle_wrong(reader.refs, facts)):
        return
    if refs_digest(revision.refs()) != facts["refs_digest"]:
        raise Transient(f"The repository changed while it was read (its bundle {why}): take the backup again.")
    raise Permanent(f"git's bundle is not of all refs (it {why}): look at `git show-ref --head` of the repository.")


def _about(moment: Moment) -> About:
    facts = dict(moment.facts)
    server = Server(facts.pop("dialect"), facts.pop("version"))
    warnings = [Fact(WARNING, text) for text in _warnings(moment)]
    return About(server, facts=(*(Fact(name, value) for name, value in facts.items()), *warnings))


def _warnings(moment: Moment) -> Iterator[str]:
    facts = moment.facts
    for release in moment.kept.releases:
        yield f"release {release} was open: weights and images are those of its middle"
    if facts.get("uncommitted", "0") != "0":
        yield f"files of the repository that are not committed, and so are in no bundle: {facts['uncommitted']}"
    if "shallow" in facts:
        yield "the repository is a shallow clone: its bundle has no older history, and `git clone` does not take it"


# --- read back -------------------------------------------------------------------------------------------------------


def contents_of(key: str, facts: Mapping[str, str]) -> Contents | None:
    """What checks the object under ``key``; None when it is none of a configuration."""
    return Contents(key, facts) if key in (MANIFESTS, BESIDE, BUNDLE) else None


class Contents:
    """Takes the plain bytes of one of these objects, and tells what is wrong with them."""

    def __init__(self, key: str, facts: Mapping[str, str]) -> None:
        self._facts, self._data = facts, bytearray()
        self._bundle = BundleReader() if key == BUNDLE else None
        self._wrong = manifests_wrong if key == MANIFESTS else beside_wrong

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises BrokenBundle."""
        if self._bundle is not None:
            self._bundle.feed(data)
        else:
            self._data += data

    def wrong(self) -> str:
        """After the last byte, in words; "" when all is as the manifest says. Raises BrokenBundle."""
        if self._bundle is None:
            return self._wrong(bytes(self._data), self._facts)
        self._bundle.finish()
        return bundle_wrong(self._bundle.refs, self._facts)
