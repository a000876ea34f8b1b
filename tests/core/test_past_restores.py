"""How long a restore takes, by the evidence of earlier ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from onlyvips.core.past_restores import how_long, past_restore, planned_size
from onlyvips.errors import Transient
from onlyvips.ports import ObjectStore
from onlyvips.wiring import past_restores
from tests.simulators.objects import SimulatedStore

FOLDER = "lab/evidence/restore/"


def ended(kind: str, seconds: Any, day: int, **result: Any) -> bytes:
    told = {"asked": {"kind": kind}, "written": f"2026-08-0{day}T00:00:00Z", "result": {"seconds": seconds, **result}}
    return json.dumps(told).encode()


def kept(*found: tuple[str, bytes]) -> SimulatedStore:
    store = SimulatedStore("a")
    store.objects.update({FOLDER + name: data for name, data in found})
    return store


def told(kind: str, *stores: ObjectStore) -> str:
    return past_restores.how_long(lambda: stores, "lab", kind)


def test_the_newest_one_of_the_kind_says_it_with_its_size_where_that_was_kept():
    store = kept(
        ("1.begun.json", b'{"plan":{"size":5242880}}'),
        ("1.ended.json", ended("redis", 90, 1)),
        ("2.ended.json", ended("redis", 30.04, 2)),
        ("3.ended.json", ended("media", 3, 3)),
    )
    assert told("redis", store) == "the last one took 30 s, 2026-08-02T00:00:00Z"
    del store.objects[f"{FOLDER}2.ended.json"]
    assert told("redis", store) == "the last one of 5.0 MiB took 1 min 30 s, 2026-08-01T00:00:00Z"
    assert told("secrets", store) == "not known: none of this kind was restored or rehearsed yet"


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"result":1}', ended("redis", "?", 1), ended("redis", 1, 1, resumed=True)]
)
def test_what_is_damaged_or_was_begun_by_an_earlier_run_says_nothing(data: bytes):
    assert past_restore(data) is None and planned_size(data) == 0
    assert told("redis", kept(("2.ended.json", data), ("1.ended.json", ended("redis", 2, 1)))).startswith(
        "the last one"
    )
    assert how_long(None).startswith("not known")


def test_a_destination_that_is_away_is_passed_by_and_where_all_are_it_is_said():
    class Away(SimulatedStore):
        def list(self, prefix: str) -> Any:
            raise Transient("It is away.")

    away, store = Away("b"), kept(("1.ended.json", ended("redis", 2, 1)))
    assert told("redis", away, store).startswith("the last one took 2 s")
    assert told("redis", away) == "not known, the evidence of earlier restores could not be read (It is away)"

    def nowhere() -> Sequence[ObjectStore]:
        raise Transient("No address.")

    assert "could not be read (No address)" in past_restores.how_long(nowhere, "lab", "redis")
