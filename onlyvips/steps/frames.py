"""zstd as a row of frames: each of at most 8 MiB of plain bytes, compressed where they lie.

A reader of zstd takes several frames as one stream. One frame for all would make the library copy every byte into a
window that goes round, and search it in two pieces: 15 to 30 % more CPU at level 3, for nothing.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZstdError = zstd.ZstdError
_FRAME = 8 * 1024 * 1024
_PORTION = 1024 * 1024


def compress(chunks: Iterable[bytes], level: int, threads: int = 0) -> Iterator[bytes]:
    """All bytes of ``chunks`` as frames with checksums, at least one; ``threads`` beside the caller's own do it.

    Beside a chunk it holds what comes out of ``threads`` + 1 frames, none larger than 8 MiB.
    """
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: level,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    if threads:
        return _by_threads(partial(zstd.compress, options=options), _gathered(chunks), threads)
    one = zstd.ZstdCompressor(options=options)
    return map(partial(one.compress, mode=one.FLUSH_FRAME), _gathered(chunks))


def _by_threads(pack: Any, parts: Iterator[bytes | memoryview], threads: int) -> Iterator[bytes]:
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[bytes]] = deque()
        for part in parts:
            waiting.append(pool.submit(pack, part))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()


def _gathered(chunks: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """The same bytes in pieces of at most a frame, at least one; a large chunk is not copied."""
    waiting, size, any_yet = list[bytes](), 0, False
    for chunk in chunks:
        if waiting and size + len(chunk) > _FRAME:
            yield _joined(waiting)
            size, any_yet = 0, True
        if len(chunk) > _FRAME:
            yield from _cut(chunk)
            any_yet = True
        else:
            waiting.append(chunk)
            size += len(chunk)
        del chunk  # it may be 16 MiB: it must be gone when the next one comes
    if waiting or not any_yet:
        yield _joined(waiting)


def _joined(waiting: list[bytes]) -> bytes:
    """All of it, of which nothing waits any more."""
    whole = b"".join(waiting)
    waiting.clear()
    return whole


def _cut(chunk: bytes) -> Iterator[memoryview]:
    """Into equal pieces, each at most a frame."""
    whole, count = memoryview(chunk), -(-len(chunk) // _FRAME)
    each = -(-len(chunk) // count)
    yield from (whole[at : at + each] for at in range(0, len(chunk), each))


class Decompressor:
    """Takes such a stream in any portions and gives the plain bytes. Raises ZstdError for what is no frame."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor()

    @property
    def whole(self) -> bool:
        """Whether what came so far ends with a frame."""
        return bool(self._frame.eof)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` adds, in pieces of at most 1 MiB."""
        while data:
            if self._frame.eof:
                self._frame = zstd.ZstdDecompressor()
            yield self._frame.decompress(data, _PORTION)
            while not (self._frame.eof or self._frame.needs_input):
                yield self._frame.decompress(b"", _PORTION)
            data = self._frame.unused_data
