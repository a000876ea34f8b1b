"""Destinations that go wrong while media are copied to them, on real S3: small files and parts of large ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import boto3
import pytest

from onlyvips.adapters.bucket_s3 import Address
from onlyvips.adapters.media_s3 import BucketMedia
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.adapters.tree_s3 import S3Tree
from onlyvips.core.catalog import Backup, read_catalog
from onlyvips.errors import Permanent
from onlyvips.steps.backup import Taken
from onlyvips.steps.media import take_media
from onlyvips.steps.media_copies import PlainCopies
from onlyvips.steps.repair import Repair, repair
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.verify import Reading, verify
from tests.conftest import Lab
from tests.procedures.media import PLAN, Minutes, run_of
from tests.simulators.proxy import Fault, Proxy, proxy_of
from tests.system.test_backup_faults import BUCKETS, FAULTS, PART, WHY

pytestmark = pytest.mark.lab
SOURCE = "faults-media"
NOW = Minutes(100_000)


def film() -> bytes:
    """Large for media, two parts of an upload."""
    return os.urandom(PART + (4 << 20))


class Wires:
    """Three buckets of the lab as destinations, each behind a proxy of its own (``through``), and past it."""

    def __init__(self, lab: Lab, proxies: list[Proxy]) -> None:
        self.url, self.proxies = lab.env["ONLYVIPS_LAB_S3_A_URL"], proxies
        access, secret = self.keys = [lab.env[f"ONLYVIPS_LAB_S3_A_{name}_KEY"] for name in ("ACCESS", "SECRET")]
        keys = {"aws_access_key_id": access, "aws_secret_access_key": secret}
        self.client: Any = boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", **keys)  # type: ignore[call-overload]
        there = {bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]}
        for bucket in sorted({*BUCKETS, SOURCE} - there):
            self.client.create_bucket(Bucket=bucket)
        self.through = self._trees([proxy.url for proxy in proxies])
        self.direct = self._trees([self.url] * len(BUCKETS))

    def _trees(self, urls: Sequence[str]) -> list[S3Tree]:
        wheres = [(bucket, url, bucket, "us-east-1", *self.keys) for bucket, url in zip(BUCKETS, urls, strict=True)]
        stores = [S3Store(*where, part_size=PART, timeout=8.0) for where in wheres]
        return [S3Tree(store, Address(*where), timeout=8.0) for store, where in zip(stores, wheres, strict=True)]


class World:
    """Media under a prefix of their own in one bucket of the lab."""

    def __init__(self, wires: Wires) -> None:
        self.wires, self.proxies, self.client, self.direct = wires, wires.proxies, wires.client, wires.direct
        self.name = f"media-faults-{os.urandom(4).hex()}"
        self.write({f"small/{number}.jpg": os.urandom(2000 + number) for number in range(20)})
        self.write({"large/film.mp4": film()})

    def write(self, files: Mapping[str, bytes]) -> None:
        for key, data in files.items():
            self.client.put_object(Bucket=SOURCE, Key=f"{self.name}/{key}", Body=data)

    def take(self, *, direct: bool = False) -> Taken:
        address = Address(SOURCE, self.wires.url, SOURCE, "us-east-1", *self.wires.keys)
        source = BucketMedia(address, f"{self.name}/")
        plan = replace(PLAN, environment=self.name, part_size=PART, stall_timeout=3.0)
        return take_media(source, self.direct if direct else self.wires.through, plan, run_of())

    def files(self, bucket: str, prefix: str) -> dict[str, bytes]:
        """What a client that knows nothing of ours finds there."""
        listed = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        read = {one["Key"]: self.client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed}
        return {key.removeprefix(prefix): data for key, data in read.items()}

    def backups(self) -> list[Backup]:
        return read_catalog(read_shelves([tree.objects for tree in self.direct], self.name))

    def plain(self) -> PlainCopies:
        return PlainCopies({tree.name: tree for tree in self.direct})

    def wrong(self, one: Backup) -> list[str]:
        """What a read-back of all of it finds."""
        stores = [tree.objects for tree in self.direct]
        reading = Reading(NOW, os.urandom, plain=self.plain())
        return [f"{each.destination}: {each.damage}" for each in verify(one, stores, reading) if not each.good]


@pytest.fixture(scope="module")
def wires(lab: Lab) -> Iterator[Wires]:
    with ExitStack() as stack:
        found = Wires(lab, [stack.enter_context(proxy_of(lab.env["ONLYVIPS_LAB_S3_A_URL"])) for _ in BUCKETS])
        yield found
        found.client.close()


@pytest.fixture
def world(wires: Wires) -> World:
    for proxy in wires.proxies:
        proxy.fault, proxy.met = "", 0
    return World(wires)


@pytest.mark.parametrize("among", ["/small/", "/large/"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_destination_that_fails_while_media_are_copied_is_left_out_and_a_repair_finishes_it(
    world: World, fault: Fault, among: str
) -> None:
    failing = world.proxies[0]
    failing.fault, failing.among = fault, among
    taken = world.take()
    assert failing.met
    assert taken.manifest.copies == BUCKETS[1:]
    (dropped,) = taken.manifest.dropped
    assert any(word in dropped.why for word in [*WHY[fault].split("|"), "nothing answers there"]), dropped.why
    (one,) = world.backups()
    assert one.complete == BUCKETS[1:]
    stores = [tree.objects for tree in world.direct]
    done = repair(one, stores, Repair(99, NOW, lambda: None, world.plain(), newest=True))
    assert [each.why for each in done] == ["", "", ""]
    (whole,) = world.backups()
    assert whole.complete == BUCKETS and world.wrong(whole) == []
    media = world.files(SOURCE, f"{world.name}/")
    assert len(media) == 21
    for bucket in BUCKETS:
        assert world.files(bucket, f"{world.name}/media-tree/") == media


@pytest.mark.parametrize("fault", FAULTS)
def test_where_all_destinations_fail_there_is_no_backup_of_media_and_the_one_before_stays_whole(
    world: World, fault: Fault
) -> None:
    before = world.take(direct=True).manifest
    world.write({"large/film.mp4": film(), "small/1.jpg": b"another", "small/new.jpg": b"new"})
    for proxy in world.proxies:
        proxy.fault, proxy.among = fault, "/large/"
    with pytest.raises(Permanent, match="no destination has a complete copy"):
        world.take()
    assert all(proxy.met for proxy in world.proxies)
    (one,) = [each for each in world.backups() if each.manifest]
    assert one.manifest == before and one.complete == BUCKETS
    assert world.wrong(one) == [], "what was to be replaced is among the versions"
    after = world.take(direct=True)
    assert after.manifest.copies == BUCKETS
    assert world.files(BUCKETS[2], f"{world.name}/media-tree/") == world.files(SOURCE, f"{world.name}/")
