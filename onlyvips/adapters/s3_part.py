"""A part of an upload, or all of a small one, as what an HTTP client reads it from."""

from __future__ import annotations

import hashlib

from onlyvips.errors import Misuse


class Part:
    """The chunks it was given, one after another, none of them copied: every destination of a backup sends the same
    memory. Their SHA-256 is taken as they come, while they are in the processor's cache."""

    def __init__(self, data: bytes = b"") -> None:
        self._chunks = [memoryview(data)] if data else []
        self._hash = hashlib.sha256(data)
        self._size, self._next = len(data), 0

    def __len__(self) -> int:
        return self._size

    def take(self, data: memoryview, most: int) -> memoryview:
        """Add as much as a part of ``most`` bytes has room for; return the rest."""
        piece, rest = data[: most - self._size], data[most - self._size :]
        self._chunks.append(piece)
        self._hash.update(piece)
        self._size += len(piece)
        return rest

    def digest(self) -> bytes:
        """SHA-256 of all of it."""
        return self._hash.digest()

    def all(self) -> bytes:
        """All bytes at once."""
        return b"".join(self._chunks)

    def read(self, size: int = -1) -> bytes | memoryview:
        """The next chunk, all of it, however little was asked for: an HTTP client asks for 16 KiB at a time, and each
        piece would wait its turn among the threads of a backup. None is left: no bytes."""
        if self._next == len(self._chunks):
            return b""
        self._next += 1
        return self._chunks[self._next - 1]

    def seek(self, offset: int) -> int:
        """Back to the beginning, which is all that a client that is redirected asks for."""
        if offset:
            raise Misuse(f"a part is read from its beginning, not from byte {offset}")
        self._next = 0
        return 0
