"""How much memory a backup takes at most, from how it is set up: what is in flight, whatever the size of the data.

Measured numbers say where they come from; a process that takes a base from a server whose data is all in memory stayed
below what this says (see ``docs/formats/backup.md``).
"""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1 << 20
PROCESS = 160 * _MIB
"""The program itself, once it has taken a backup of next to nothing: the interpreter and its libraries."""
BATCH = 16 * _MIB
"""The most that a server sends in one reply: one document, or many."""
RECEIVING = 4 * BATCH
"""Beside the batch itself while the driver unpacks it; of large batches one at a time is received."""
QUEUE = 10 * _MIB
"""Blocks of 1 MiB that wait for the slowest destination, and those on their way."""
_EACH_COPY = 2 * _MIB
"""Of each destination: what is read back, and what its connection holds."""
_CONTEXT = (1.3, 2.0, 3.5, 4.7, 5.7, 5.7, 8.7, 8.7, 16.7, 28.7, 28.7, 52.7, 52.7, 52.7, 68.7, 68.7, 68.7, 68.7, 89.5)
"""MiB of a compression context by level from 1, as ``ZSTD_estimateCStreamSize`` of zstd 1.5 says."""
FRAME = 8 * _MIB
"""The most that a frame of zstd's takes before it is compressed, and after (see ``steps/frames.py``)."""


@dataclass(frozen=True)
class InFlight:
    """How a backup is set up, as far as memory goes. ``part_size`` is bytes; ``zstd_threads`` 0 for none of its own."""

    workers: int
    part_size: int
    zstd_level: int
    zstd_threads: int
    destinations: int


def of_worker(asked: InFlight) -> int:
    """Bytes of one object on its way: a batch, its compression, a part of the upload (shared by all destinations)."""
    copies = asked.destinations * _EACH_COPY
    return BATCH + compression(asked.zstd_level, asked.zstd_threads) + asked.part_size + QUEUE + copies


def compression(level: int, threads: int) -> int:
    """Bytes of zstd's at a level: a context and a frame, before and after; two more frames wait for threads of its
    own."""
    frames = threads + 2 if threads else 1
    return max(1, threads) * round(_CONTEXT[level - 1] * _MIB) + frames * 2 * FRAME


def needed(asked: InFlight) -> int:
    """Bytes of the whole process at most."""
    return PROCESS + RECEIVING + asked.workers * of_worker(asked)


def workers_within(asked: InFlight, memory: int) -> int:
    """How many workers fit into ``memory`` bytes, with the rest as it is; 0 when not even one does."""
    return max(0, (memory - PROCESS - RECEIVING) // of_worker(asked))
