"""Destinations that go wrong while a backup is written, on real S3: one, two or all of three, in every way."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import boto3
import pytest

from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.core.catalog import read_catalog
from onlyvips.errors import Permanent
from onlyvips.ports import EVERYTHING
from onlyvips.steps.backup import Run, Taken
from onlyvips.steps.base import take_base
from onlyvips.steps.repair import Repair, repair
from onlyvips.steps.shelves import read_shelves
from tests.conftest import Lab
from tests.procedures.test_backup import PLAN, FixedClock, SimulatedDatabase, _noise
from tests.simulators.proxy import Fault, Proxy, proxy_of

pytestmark = pytest.mark.lab
BUCKETS = ("faults-one", "faults-two", "faults-three")
PART = 5 << 20
FAULTS: list[Fault] = ["answers 500", "answers 503", "drops the connection", "stalls", "is down"]
WHY = {
    "answers 500": "500",
    "answers 503": "503",
    "drops the connection": "connection broke",
    "stalls": "stalled|confirmed nothing|timed out",
    "is down": "connection broke",
}


class Places:
    """Three buckets of the lab, each behind a proxy of its own, and past it."""

    def __init__(self, lab: Lab, proxies: list[Proxy]) -> None:
        self._keys = {name: lab.env[f"ONLYVIPS_LAB_S3_A_{name.upper()}_KEY"] for name in ("access", "secret")}
        self._url, self.proxies = lab.env["ONLYVIPS_LAB_S3_A_URL"], proxies
        self.environment = f"faults-{os.urandom(4).hex()}"

    def make(self) -> None:
        keys = {"aws_access_key_id": self._keys["access"], "aws_secret_access_key": self._keys["secret"]}
        client: Any = boto3.client("s3", endpoint_url=self._url, region_name="us-east-1", **keys)  # type: ignore[call-overload]
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for bucket in sorted(set(BUCKETS) - there):
            client.create_bucket(Bucket=bucket)
        client.close()

    def stores(self, *, direct: bool = False) -> list[S3Store]:
        keys = {f"{name}_key": value for name, value in self._keys.items()}
        urls = [self._url if direct else proxy.url for proxy in self.proxies]
        return [
            S3Store(bucket, url, bucket, "us-east-1", part_size=PART, timeout=8.0, **keys)
            for bucket, url in zip(BUCKETS, urls, strict=True)
        ]

    def manifests(self) -> list[str]:
        """The buckets that have a manifest."""
        stores = self.stores(direct=True)
        return [one.name for one in stores if any("manifest" in found.key for found in one.list(self.environment))]

    def take(self, source: SimulatedDatabase) -> Taken:
        plan = replace(PLAN, environment=self.environment, part_size=PART, stall_timeout=3.0)
        return take_base(source, self.stores(), plan, Run(1, FixedClock(), os.urandom))


@pytest.fixture
def places(lab: Lab) -> Iterator[Places]:
    with ExitStack() as stack:
        proxies = [stack.enter_context(proxy_of(lab.env["ONLYVIPS_LAB_S3_A_URL"])) for _ in BUCKETS]
        found = Places(lab, proxies)
        found.make()
        yield found


def source() -> SimulatedDatabase:
    """Some 13 MB that do not compress: three parts of an upload, and a small collection."""
    return SimulatedDatabase({"big": [_noise(number) for number in range(200)], "small": [_noise(1000)]})


@pytest.mark.parametrize("failing", [1, 2])
@pytest.mark.parametrize("fault", FAULTS)
def test_where_one_or_two_destinations_fail_the_others_have_the_backup_and_a_repair_finishes_it(
    places: Places, fault: Fault, failing: int
) -> None:
    for proxy in places.proxies[:failing]:
        proxy.fault = fault
    taken = places.take(source())
    assert all(proxy.met for proxy in places.proxies[:failing])
    assert taken.manifest.copies == BUCKETS[failing:]
    assert places.manifests() == list(BUCKETS[failing:])
    for dropped in taken.manifest.dropped:
        assert any(word in dropped.why for word in WHY[fault].split("|")), dropped.why
    stores = places.stores(direct=True)
    (one,) = read_catalog(read_shelves(stores, places.environment))
    assert one.complete == BUCKETS[failing:]
    assert not any(repaired.why for repaired in repair(one, stores, Repair(2, FixedClock())))
    (whole,) = read_catalog(read_shelves(stores, places.environment))
    assert whole.complete == BUCKETS


@pytest.mark.parametrize("fault", FAULTS)
def test_where_all_destinations_fail_there_is_no_backup_and_no_manifest(places: Places, fault: Fault) -> None:
    for proxy in places.proxies:
        proxy.fault = fault
    with pytest.raises(Permanent, match="no destination has a complete copy"):
        places.take(source())
    assert places.manifests() == []


@pytest.mark.parametrize("last", range(1, 4))
def test_destinations_that_fail_one_after_the_other_leave_what_the_last_one_holds(places: Places, last: int) -> None:
    """Each breaks at another of its parts; the one that does not has all of it."""
    read = source()
    batches, order = read.collections["big"], itertools.count()
    whole = places.proxies[last - 1]

    class Breaking(SimulatedDatabase):
        def documents(self, namespace: Any, where: bytes = EVERYTHING) -> Iterator[bytes]:
            for batch in batches if namespace.collection == "big" else read.collections[namespace.collection]:
                if next(order) in (60, 140):
                    next(one for one in places.proxies if one is not whole and not one.fault).fault = "answers 500"
                yield batch

    taken = places.take(Breaking(read.collections))
    assert taken.manifest.copies == (BUCKETS[last - 1],)
    assert places.manifests() == [BUCKETS[last - 1]]
