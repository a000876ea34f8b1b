"""Copies of media read back against an index, and brought back from a good copy: plain objects beside a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onlyvips.core.manifest import Manifest
from onlyvips.core.media import Entry, Index, named, tree_key, tree_of, version_key
from onlyvips.core.verification import Damage
from onlyvips.errors import OnlyVipsError, Permanent
from onlyvips.ports import Tree
from onlyvips.steps.media_places import SMALL, index_of, parts, shas_of

_TOLD = 100
"""Damaged files of one copy that are named one by one."""
Choose = Callable[[list[str]], list[str]]
"""Which of some keys to read."""


@dataclass(frozen=True)
class Seen:
    """What was read of one copy: ``objects`` of ``of``, ``size`` bytes, and what of them is not as the index says."""

    objects: int
    of: int
    size: int
    damage: tuple[Damage, ...]


@dataclass
class PlainCopies:
    """The plain objects of the backups of media, in every destination. What was found good once is not read again by
    the same one: backups share most of it."""

    trees: Mapping[str, Tree]
    _good: set[tuple[str, str, str]] = field(default_factory=set)

    def read_back(
        self,
        destination: str,
        manifest: Manifest,
        choose: Callable[[list[str]], list[str]],
        tell: Callable[[int], None],
    ) -> Seen:
        """Hash what ``choose`` picks of the keys. ``tell`` gets the bytes that were read; what it raises ends it."""
        index, tree = self._index(destination, manifest), self.trees[destination]
        chosen, size, damage = choose(sorted(index.entries)), 0, list[Damage]()
        for part in _parted(index, chosen):
            for entry, why in zip(part, self._wrong(tree, manifest.environment, part), strict=True):
                size += entry.item.size
                if why:
                    damage.append(Damage(tree_key("", entry.key)[1:], why))
            tell(sum(entry.item.size for entry in part))
        if len(damage) > _TOLD:
            rest = f"and below: {len(damage) - _TOLD} files more are not as the index says"
            damage[_TOLD:] = [Damage(tree_of("")[1:], rest)]
        return Seen(len(chosen), len(index.entries), size, tuple(damage))

    def bring(self, destination: str, manifest: Manifest, check: Callable[[], None], *, into_tree: bool) -> list[str]:
        """Write what a destination lacks of a backup, from another one that has it; returns what was written.

        Into the tree, what is there kept, where the backup is what the tree should be; else among the versions, for
        the tree may be that of a later one. Raises Permanent, at the end, for what no copy has.
        """
        index, tree = self._index(destination, manifest), self.trees[destination]
        others = [other for name, other in self.trees.items() if name != destination]
        written, missing = list[str](), list[str]()
        for part in _parted(index, sorted(index.entries)):
            check()
            for entry, why in zip(part, self._wrong(tree, manifest.environment, part), strict=True):
                if why:
                    check()
                    done = _Bringing(tree, manifest.environment, entry, into_tree).done_from(others)
                    (written if done else missing).append(tree_key("", entry.key)[1:])
        if missing:
            raise Permanent(
                f"{len(missing)} files are good in no other copy, so they cannot be repaired: {named(missing)}."
            )
        return written

    def _index(self, destination: str, manifest: Manifest) -> Index:
        """From this destination, or any that has it: who lost its index may have all the rest."""
        refusals = list[str]()
        for name in sorted(self.trees, key=lambda name: name != destination):
            try:
                return index_of(self.trees[name].objects, manifest)
            except OnlyVipsError as error:
                refusals.append(str(error))
        raise Permanent(f"No destination gives the index of {manifest.prefix}: {' '.join(refusals)}")

    def _wrong(self, tree: Tree, environment: str, part: Sequence[Entry]) -> list[str]:
        """What is wrong with each of some objects in one destination, in words; "" for those that are good."""
        new = [entry for entry in part if (tree.name, entry.key, entry.sha256) not in self._good]
        here = shas_of(tree, [(tree_key(environment, entry.key), entry.item.size) for entry in new])
        other = [entry for entry, sha256 in zip(new, here, strict=True) if sha256 != entry.sha256]
        kept = shas_of(tree, [(version_key(environment, entry.sha256), entry.item.size) for entry in other])
        why = {
            entry.key: _told(entry, dict(zip((one.key for one in new), here, strict=True))[entry.key], sha256)
            for entry, sha256 in zip(other, kept, strict=True)
        }
        self._good |= {(tree.name, entry.key, entry.sha256) for entry in new if not why.get(entry.key)}
        return [why.get(entry.key, "") for entry in part]


def _told(entry: Entry, here: str, kept: str) -> str:
    if kept == entry.sha256:
        return ""
    if not here and not kept:
        return "is not there, and not among the versions either"
    where = f"has SHA-256 {here}" if here else f"is among the versions with SHA-256 {kept}"
    return f"{where}, the index says {entry.sha256}"


def _parted(index: Index, keys: Sequence[str]) -> Iterator[list[Entry]]:
    for part in parts(keys, lambda key: index.entries[key].item.size):
        yield [index.entries[key] for key in part]


@dataclass(frozen=True)
class _Bringing:
    """One object on its way from a good copy into a destination that lacks it."""

    target: Tree
    environment: str
    entry: Entry
    into_tree: bool

    def done_from(self, others: Sequence[Tree]) -> bool:
        """Whether one of the others had it; it is read back from the target."""
        for other in others:
            for key in (self._in_tree, self._in_versions):
                if self._copied(other, key):
                    back = shas_of(self.target, [(self._to, self.entry.item.size)])
                    if back == [self.entry.sha256]:
                        return True
                    told = f"{self.target.name}: {self._to} was written again and reads back different"
                    raise Permanent(f"{told}: do not trust it.")
        return False

    @property
    def _in_tree(self) -> str:
        return tree_key(self.environment, self.entry.key)

    @property
    def _in_versions(self) -> str:
        return version_key(self.environment, self.entry.sha256)

    @property
    def _to(self) -> str:
        return self._in_tree if self.into_tree else self._in_versions

    def _copied(self, source: Tree, key: str) -> bool:
        if self.entry.item.size > SMALL:
            return self._streamed(source, key)
        try:
            (data,) = source.read([key])
        except OnlyVipsError:
            return False
        if data is None or hashlib.sha256(data).hexdigest() != self.entry.sha256:
            return False
        self._keep_what_is_there()
        self.target.put([(self._to, data)])
        return True

    def _streamed(self, source: Tree, key: str) -> bool:
        self._keep_what_is_there()
        upload, digest = self.target.objects.upload(self._to, over=True), hashlib.sha256()
        try:
            for chunk in given(source, key):
                digest.update(chunk)
                upload.write(chunk)
            if digest.hexdigest() == self.entry.sha256:
                upload.finish()
                return True
        except NotGiven:
            pass
        except BaseException:
            upload.abort()
            raise
        upload.abort()
        return False

    def _keep_what_is_there(self) -> None:
        """Another backup may need what is replaced."""
        if self.into_tree and (sizes := _sizes(self.target, self._in_tree)):
            (sha256,) = shas_of(self.target, [(self._in_tree, sizes[0])])
            if sha256:
                self.target.copy([(self._in_tree, version_key(self.environment, sha256))])


class NotGiven(Permanent):
    """This copy does not give the object, whatever the reason."""


def given(source: Tree, key: str) -> Iterator[bytes]:
    """The bytes of a large object of a copy. Raises NotGiven, whatever the reason."""
    try:
        yield from source.objects.read(key)
    except OnlyVipsError as error:
        raise NotGiven(str(error)) from error


def _sizes(tree: Tree, key: str) -> list[int]:
    found = tree.objects.head(key)
    return [] if found is None else [found.size]
