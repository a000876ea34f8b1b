"""The ports of the configuration: a cluster's objects of any kind, and the git repository that they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from onlyvips.core.kinds import KindName
from onlyvips.ports import Manifest


@dataclass(frozen=True)
class Served:
    """A kind as one server has it: ``api`` is its group and version (``apps/v1``, ``v1``), ``plural`` its path."""

    api: str
    kind: str
    plural: str


class Inventory(Protocol):
    """What one namespace of a cluster holds, of any kind that its server has, custom ones too. Reads only."""

    def describe(self) -> Mapping[str, str]:
        """``dialect`` (what answers), ``version`` and ``namespace``."""

    def served(self, kinds: Sequence[KindName]) -> list[Served]:
        """The kinds as this server has them, in the same order.

        Raises Refused, which names every one that it does not have, has outside of namespaces, or does not let us
        list; Transient when it does not answer.
        """

    def objects(self, kind: Served) -> list[Manifest]:
        """All live objects of one kind as they were at one moment, by name, each with ``apiVersion`` and ``kind``."""


class Applier(Protocol):
    """Who writes objects of that namespace back. With ``dry``, the server does everything but store it."""

    def owners(self, kind: Served, wanted: Manifest) -> Mapping[str, Sequence[str]]:
        """By manager the fields that it owns, and that would get another value than it gave them."""

    def create(self, kind: Served, wanted: Manifest, *, dry: bool) -> Manifest:
        """Make it, and return what is stored. Raises Conflict when the name is taken; Permanent when the server
        refuses it."""

    def replace(self, kind: Served, wanted: Manifest, *, dry: bool) -> Manifest:
        """Put it in the place of what has its resourceVersion, and return what is stored. Raises Conflict when that
        changed, or is gone; Permanent when the server refuses it."""


class Revision(Protocol):
    """A git repository, read for a backup. Nothing in it is changed."""

    def refs(self) -> Mapping[str, str]:
        """Commits (or tags) by ``HEAD`` and the full names of all refs. Raises Permanent where there is no commit."""

    def uncommitted(self) -> int:
        """Files that differ from HEAD or are in no commit; none in a repository without a working tree."""

    def shallow(self) -> Sequence[str]:
        """Commits whose parents are not here, for it was cloned with a depth; none in a whole repository."""

    def bundle(self) -> Iterator[bytes]:
        """git's bundle of all refs and HEAD. Raises, at the latest after the last bytes, when git did not end well:
        Transient when it was killed or stood still, else Permanent."""
