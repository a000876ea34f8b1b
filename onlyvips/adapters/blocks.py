"""Blocks of bytes read as one file: what several uploads share is not joined, so it is in memory once."""

from __future__ import annotations

import io
from collections.abc import Iterable


class Blocks(io.RawIOBase):
    """A file that can be read and sought in, over blocks that stay as they are."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        super().__init__()
        self._blocks = tuple(blocks)
        self._size = sum(map(len, self._blocks))
        self.seek(0)

    def __len__(self) -> int:
        return self._size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: getattr(self, "_at", 0), io.SEEK_END: self._size}[whence] + offset
        self._number, self._start = 0, 0
        self._settle()
        return self._at

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes; fewer at the end of a block, none at the end of all."""
        if size is None or size < 0:
            return self.readall()
        if self._number >= len(self._blocks) or not size:
            return b""
        offset = self._at - self._start
        found = self._blocks[self._number][offset : offset + size]
        self._at += len(found)
        self._settle()
        return found

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def _settle(self) -> None:
        """Find the block that holds the position."""
        while self._number < len(self._blocks) and self._at >= self._start + len(self._blocks[self._number]):
            self._start += len(self._blocks[self._number])
            self._number += 1
