"""What destinations of media hold: trees and versions as they are listed, and the index of the backup before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onlyvips.core import media as core
from onlyvips.core.catalog import Backup, Shelf, read_catalog
from onlyvips.core.manifest import Manifest
from onlyvips.core.media import INDEX, NOTHING, Entry, Index, tree_key, version_key
from onlyvips.core.media_paths import to_key
from onlyvips.errors import NotFound, OnlyVipsError, Permanent
from onlyvips.ports import ObjectStore, Tree
from onlyvips.steps.copies import hash_of
from onlyvips.steps.frames import Decompressor, ZstdError, compress
from onlyvips.steps.shelves import read_shelves

SMALL = 8 << 20
"""Bytes: what is larger is moved as a stream, alone."""
CHUNK = 16 << 20
"""Bytes of small objects that are in memory at a time, for each worker."""
TOGETHER = 500
"""Small objects that are moved at a time, for each worker."""
JOURNAL = "journal/batch-"


@dataclass(frozen=True)
class Before:
    """What is known when a backup begins: the index of the one before, its name ("" for none), and the entries that
    runs which never finished wrote down since, by key."""

    name: str = ""
    index: Index = NOTHING
    found: Mapping[str, Sequence[Entry]] = field(default_factory=dict)

    def about(self, key: str) -> Iterator[Entry]:
        """Everything that is known of an object."""
        if (entry := self.index.entries.get(key)) is not None:
            yield entry
        yield from self.found.get(key, ())


@dataclass
class Place:
    """One destination while a backup is taken. ``shas`` are the SHA-256 of what its tree has, by key, "" where nobody
    knows; ``tags`` how it lists them; ``versions`` the size of what it keeps beside the tree, by SHA-256."""

    tree: Tree
    environment: str
    sizes: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    shas: dict[str, str] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    lingering: set[str] = field(default_factory=set)

    def where(self, key: str) -> str:
        """The object's key in the destination."""
        return tree_key(self.environment, key)

    def learn(self, keys: Iterable[str], sign: Callable[[], None]) -> None:
        """Read back what nobody knows of these, to know what would be lost."""
        unknown = [key for key in keys if self.shas.get(key) == ""]
        for part in parts(unknown, lambda key: self.sizes[key]):
            for key, sha256 in zip(
                part, shas_of(self.tree, [(self.where(k), self.sizes[k]) for k in part]), strict=True
            ):
                if sha256:
                    self.shas[key] = sha256
                else:
                    self.forget(key)
            sign()

    def save(self, keys: Iterable[str], sign: Callable[[], None]) -> None:
        """Keep what the tree has of these among the versions: nothing is replaced or removed before."""
        keys = [key for key in keys if key in self.shas]
        self.learn(keys, sign)
        here = [key for key in keys if self.shas.get(key)]
        wanted = {self.shas[key]: key for key in here if self.versions.get(self.shas[key]) != self.sizes[key]}
        for part in parts(wanted, lambda _: 0):
            self.tree.copy([(self.where(wanted[sha]), version_key(self.environment, sha)) for sha in part])
            self.versions |= {sha: self.sizes[wanted[sha]] for sha in part}
            sign()

    def put(self, objects: Sequence[tuple[str, bytes, str]], sign: Callable[[], None]) -> None:
        """Small objects (key, bytes, SHA-256) into the tree, what they replace kept."""
        lacking = [one for one in objects if self.shas.get(one[0]) != one[2]]
        if not lacking:
            return
        self.save([key for key, _, _ in lacking], sign)
        lacking = [one for one in lacking if self.shas.get(one[0]) != one[2]]
        tags = self.tree.put([(self.where(key), data) for key, data, _ in lacking])
        sign()
        for (key, data, sha256), tag in zip(lacking, tags, strict=True):
            self.has(key, len(data), sha256, tag)

    def remove(self, keys: Sequence[str], sign: Callable[[], None]) -> None:
        """Take these out of the tree, kept among the versions. Where that is not allowed they linger."""
        here = [key for key in keys if key in self.shas]
        self.save(here, sign)
        try:
            self.tree.remove([self.where(key) for key in here])
        except Permanent:
            self.lingering.update(here)
            return
        for key in here:
            self.forget(key)

    def has(self, key: str, size: int, sha256: str, tag: str) -> None:
        """The tree has this now."""
        self.sizes[key], self.shas[key], self.tags[key] = size, sha256, tag

    def forget(self, key: str) -> None:
        """The tree has it no more."""
        for known in (self.sizes, self.shas, self.tags):
            known.pop(key, None)


def shas_of(tree: Tree, objects: Sequence[tuple[str, int]]) -> list[str]:
    """The SHA-256 of each of some objects (key and size); "" for what is not there."""
    small = [key for key, size in objects if size <= SMALL]
    found = dict(zip(small, tree.read(small), strict=True))
    return [
        ("" if (data := found[key]) is None else hashlib.sha256(data).hexdigest())
        if key in found
        else _sha_of_large(tree.objects, key)
        for key, _ in objects
    ]


def _sha_of_large(store: ObjectStore, key: str) -> str:
    try:
        return hash_of(store.read(key))[1]
    except NotFound:
        return ""


def parts(keys: Iterable[str], size: Callable[[str], int]) -> Iterator[list[str]]:
    """Keys in parts that fit into memory."""
    part, total = list[str](), 0
    for key in keys:
        if part and (len(part) == TOGETHER or total + size(key) > CHUNK):
            yield part
            part, total = [], 0
        part.append(key)
        total += size(key)
    if part:
        yield part


def survey(tree: Tree, environment: str, before: Before, sign: Callable[[], None]) -> Place:
    """What a destination holds, from its listings, with the SHA-256 of what ``before`` tells by tag."""
    place = Place(tree, environment)
    start = len(core.tree_of(environment))
    for page in tree.listing(core.tree_of(environment)):
        sign()
        for one in page:
            key = to_key(one.key[start:])
            sha256 = core.bytes_under(one.tag, one.size, before.about(key), tree.name)
            place.has(key, one.size, sha256, one.tag)
    for page in tree.listing(core.versions_of(environment)):
        sign()
        place.versions |= {one.key.rpartition("/")[2]: one.size for one in page}
    return place


# --- the backup before -----------------------------------------------------------------------------------------------


def read_before(stores: Sequence[ObjectStore], environment: str) -> Before:
    """The newest backup of media whose index can be read, and what unfinished runs found out after it began."""
    shelves = read_shelves(stores, environment, ("media",))
    backups = read_catalog(shelves)
    finished = [one for one in backups if one.manifest and one.complete]
    for one in sorted(finished, key=lambda one: (one.finished, one.name), reverse=True):
        if (index := read_index(one, stores)) is not None:
            return Before(one.name, index, _found(backups, shelves, stores, since=one.name))
    return Before(found=_found(backups, shelves, stores, since=""))


def read_index(backup: Backup, stores: Sequence[ObjectStore]) -> Index | None:
    """The index of a backup, out of the first complete copy that gives it as the manifest says; None without one."""
    assert backup.manifest is not None
    for store in stores:
        if store.name in backup.complete:
            try:
                return index_of(store, backup.manifest)
            except OnlyVipsError:
                continue
    return None


def index_of(store: ObjectStore, manifest: Manifest) -> Index:
    """The index that a destination has. Raises Permanent when it is not the manifest's."""
    (record,) = [one for one in manifest.objects if one.key == INDEX]
    digest = hashlib.sha256()
    index = core.from_lines(_lines(_hashed(store.read(manifest.prefix + INDEX), digest.update)))
    if digest.hexdigest() != record.sha256:
        raise Permanent(
            f"{store.name}: {manifest.prefix}{INDEX} has SHA-256 {digest.hexdigest()}, not {record.sha256}."
        )
    return index


def _found(
    backups: Sequence[Backup], shelves: Sequence[Shelf], stores: Sequence[ObjectStore], since: str
) -> Mapping[str, list[Entry]]:
    """Entries that journals of unfinished runs tell; a journal that cannot be read only costs time."""
    found: dict[str, list[Entry]] = {}
    by_name = {store.name: store for store in stores}
    for one in (one for one in backups if one.manifest is None and one.name > since):
        places = {key: shelf.name for shelf in shelves for key in shelf.sizes if key.startswith(one.prefix + JOURNAL)}
        for key, name in places.items():
            try:
                entries = core.entries_from(_lines(by_name[name].read(key)))
            except OnlyVipsError:
                continue
            for entry in entries:
                found.setdefault(entry.key, []).append(entry)
    return found


def packed(lines: Iterable[bytes]) -> bytes:
    """Lines as they are stored."""
    return b"".join(compress(lines, 3))


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    unpack, rest = Decompressor(), b""
    try:
        for plain in (plain for chunk in chunks for plain in unpack.feed(chunk)):
            *lines, rest = (rest + plain).split(b"\n")
            yield from lines
    except ZstdError as error:
        raise Permanent(f"An index of media does not open: {error}.") from error
    if rest or not unpack.whole:
        raise Permanent("An index of media ends too early.")


def _hashed(chunks: Iterable[bytes], update: Callable[[bytes], object]) -> Iterator[bytes]:
    for chunk in chunks:
        update(chunk)
        yield chunk
