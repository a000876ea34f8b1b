"""A git bundle, checked while it streams by: its header, and the checksum at the end of its pack. Pure.

Format (git's ``Documentation/gitformat-bundle``): ``# v2 git bundle`` or ``# v3 …`` with ``@capability`` lines, then
``-OID …`` for each commit that whoever reads it must have already, then ``OID REF`` lines, an empty line, and a pack. A
pack begins with ``PACK`` and ends with the hash of all before it, SHA-1 or SHA-256 as the repository's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from onlyvips.errors import Permanent

_LONGEST_HEADER = 64 << 20
_SIGNATURES = ("# v2 git bundle", "# v3 git bundle")
_REF = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64}) (\S+)")
_FORMATS = {"sha1": 20, "sha256": 32}


class BrokenBundle(Permanent):
    """These bytes are no whole bundle."""


def refs_digest(refs: Mapping[str, str]) -> str:
    """SHA-256 of HEAD and everything below ``refs/``; other worktrees' heads are theirs."""
    lines = [f"{oid} {ref}\n" for ref, oid in sorted(refs.items()) if ref == "HEAD" or ref.startswith("refs/")]
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


class BundleReader:
    """Takes a bundle in pieces of any size. After ``finish`` it was whole, needs nothing, and ``refs`` are its refs."""

    def __init__(self) -> None:
        self.refs: dict[str, str] = {}
        self._head: bytearray | None = bytearray()
        self._hash, self._size = hashlib.sha1(usedforsecurity=False), _FORMATS["sha1"]
        self._end = b""

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises BrokenBundle."""
        if self._head is None:
            self._pack(data)
            return
        self._head += data
        header, found, rest = bytes(self._head).partition(b"\n\n")
        if found:
            self._head = None
            self._read(header.decode(errors="surrogateescape").split("\n"))
            if rest[:4] != b"PACK"[: len(rest[:4])]:
                raise BrokenBundle("no pack follows the bundle's header")
            self._pack(rest)
        elif len(self._head) > _LONGEST_HEADER or not self._head.startswith(b"# v"[: len(self._head)]):
            raise BrokenBundle("it does not begin as a git bundle does")

    def finish(self) -> None:
        """After the last byte. Raises BrokenBundle when it was cut short or altered."""
        if self._head is not None:
            raise BrokenBundle("the bundle ends within its header")
        if self._hash.digest() != self._end:
            raise BrokenBundle("the pack's checksum is not that of its bytes: it was cut short or altered")

    def _read(self, lines: list[str]) -> None:
        if lines[0] not in _SIGNATURES:
            raise BrokenBundle("it does not begin as a git bundle does")
        for line in lines[1:]:
            if line.startswith("@object-format="):
                self._hash, self._size = _hash_of(line.partition("=")[2])
            elif line.startswith("@"):
                raise BrokenBundle(f"it has the capability {line[1:80]}, which this program does not know")
            elif line.startswith("-"):
                raise BrokenBundle(f"it needs {line[1:65]}, which whoever restores it may not have")
            elif (ref := _REF.fullmatch(line)) is None:
                raise BrokenBundle("a line of its header is none of a bundle")
            else:
                self.refs[ref[2]] = ref[1]

    def _pack(self, data: bytes) -> None:
        seen = self._end + data
        self._hash.update(seen[: -self._size])
        self._end = seen[-self._size :]


def _hash_of(name: str) -> tuple[Any, int]:
    if name not in _FORMATS:
        raise BrokenBundle(f"it uses the hash {name[:40]}, which this program does not know")
    return hashlib.new(name, usedforsecurity=False), _FORMATS[name]


def bundle_wrong(refs: Mapping[str, str], facts: Mapping[str, str]) -> str:
    """Why a bundle with ``refs`` is not the one that ``facts`` are of, "" when it is."""
    for name, value in (("revision", refs.get("HEAD", "none")), ("refs_digest", refs_digest(refs))):
        if facts.get(name) != value:
            return f"holds {name} {value}, the manifest says {facts.get(name, 'nothing')}"
    return ""
