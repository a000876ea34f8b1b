"""What a backup takes of memory at most, by how it is set up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips.core.budget import BATCH, PROCESS, RECEIVING, InFlight, compression, needed, of_worker, workers_within

MIB = 1 << 20
ASKED = InFlight(workers=4, part_size=16 * MIB, zstd_level=3, zstd_threads=0, destinations=3)


def test_the_whole_is_the_process_one_reception_and_each_worker():
    assert needed(ASKED) == PROCESS + RECEIVING + 4 * of_worker(ASKED)
    assert needed(replace(ASKED, workers=5)) - needed(ASKED) == of_worker(ASKED)


def test_a_part_is_shared_by_the_destinations_and_not_multiplied():
    more = needed(replace(ASKED, part_size=32 * MIB)) - needed(ASKED)
    assert more == 4 * 16 * MIB
    assert needed(replace(ASKED, destinations=6)) - needed(ASKED) < 4 * 16 * MIB


@pytest.mark.parametrize("level", range(1, 19))
def test_a_higher_level_never_takes_less(level: int):
    assert compression(level + 1, 0) >= compression(level, 0) > 0


@pytest.mark.parametrize(("threads", "measured"), [(0, 34.0), (1, 57.1), (2, 74.0), (4, 100.7)])
def test_compression_takes_at_least_what_was_measured_of_it(threads: int, measured: float):
    """At level 3, peak of a process that compressed batches of 16 MiB that do not compress, batch included."""
    assert measured * MIB <= BATCH + compression(3, threads) <= 1.5 * measured * MIB


def test_so_many_workers_fit_and_no_more():
    for memory in range(150 * MIB, 900 * MIB, 37 * MIB):
        fit = workers_within(ASKED, memory)
        assert needed(replace(ASKED, workers=fit)) <= memory or fit == 0
        assert needed(replace(ASKED, workers=fit + 1)) > memory
