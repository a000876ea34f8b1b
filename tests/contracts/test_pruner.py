"""Pruner's contract, and object lock at write: the simulator, a directory, versitygw and MinIO pass one suite.

On the real servers the writer and the pruner are the lab's own two accounts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.adapters.pruner_directory import DirectoryPruner
from onlyvips.adapters.pruner_s3 import S3Pruner
from onlyvips.core.locking import LockPlan
from onlyvips.errors import NotFound, Permanent
from onlyvips.ports import ObjectStore, Pruner, Version
from tests.conftest import Lab
from tests.simulators.objects import SimulatedStore
from tests.simulators.pruner import SimulatedPruner

PART = 5 << 20
LOCKED_FOR = 120.0
LOCKS = LockPlan("governance", {"mongodb": LOCKED_FOR, "secrets": 2.0})
BACKUPS = "onlyvips-backup"


@dataclass
class Place:
    """One destination: who writes there, and who takes away. ``versioned``, ``locks``: what it can do."""

    store: Any
    pruner: Pruner
    versioned: bool = False
    locks: bool = False

    def wait(self, seconds: float) -> None:
        """Until so much later, by the clock of the place."""
        if isinstance(self.store, SimulatedStore):
            self.store.now += seconds
        else:
            time.sleep(seconds)

    def now(self) -> float:
        return self.store.now if isinstance(self.store, SimulatedStore) else time.time()


def account(lab: Lab, letter: str, who: str, bucket: str, lock: LockPlan | None = None) -> S3Store:
    name = f"ONLYVIPS_LAB_S3_{letter}"
    keys = (lab.env[f"{name}_{who}ACCESS_KEY"], lab.env[f"{name}_{who}SECRET_KEY"])
    return S3Store(
        f"s3-{letter.lower()}", lab.env[f"{name}_URL"], bucket, "us-east-1", *keys, part_size=PART, lock=lock
    )


def root(lab: Lab, letter: str) -> Any:
    name = f"ONLYVIPS_LAB_S3_{letter}"
    keys = {"aws_access_key_id": lab.env[f"{name}_ACCESS_KEY"], "aws_secret_access_key": lab.env[f"{name}_SECRET_KEY"]}
    return boto3.client("s3", endpoint_url=lab.env[f"{name}_URL"], region_name="us-east-1", **keys)


LOCKED_VERSITYGW = "contract-locked"


@pytest.fixture(scope="module")
def locked_versitygw(lab: Lab) -> Iterator[str]:
    """A bucket with versions and object lock on versitygw, which the lab itself has not."""
    client = root(lab, "A")
    if LOCKED_VERSITYGW not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=LOCKED_VERSITYGW, ObjectLockEnabledForBucket=True)
    client.close()
    yield LOCKED_VERSITYGW


def make(kind: str, request: pytest.FixtureRequest, folder: Path) -> Place:
    if kind == "simulator":
        found = SimulatedStore("simulator", versioned=True, lock=LOCKS)
        return Place(found, SimulatedPruner(found), True, True)
    if kind == "directory":
        return Place(DirectoryStore("directory", folder), DirectoryPruner("directory", folder))
    lab: Lab = request.getfixturevalue("lab")
    if kind == "versitygw":
        return Place(account(lab, "A", "WRITER_", BACKUPS), S3Pruner(account(lab, "A", "PRUNER_", BACKUPS)))
    if kind == "versitygw, locked":
        bucket = request.getfixturevalue("locked_versitygw")
        pruner = S3Pruner(account(lab, "A", "", bucket), "governance")
        return Place(account(lab, "A", "", bucket, LOCKS), pruner, True, True)
    pruner = S3Pruner(account(lab, "B", "PRUNER_", BACKUPS), "governance")
    return Place(account(lab, "B", "WRITER_", BACKUPS, LOCKS), pruner, True, True)


REAL = [pytest.param(kind, marks=pytest.mark.lab) for kind in ("versitygw", "versitygw, locked", "minio")]


@pytest.fixture(params=["simulator", "directory", *REAL])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return make(request.param, request, tmp_path)


@pytest.fixture(params=["simulator", *REAL[1:]])
def vault(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place that keeps versions and locks."""
    return make(request.param, request, tmp_path)


@pytest.fixture
def folder() -> str:
    """A place in the store that no other test writes to; nothing below it is locked."""
    return f"{os.urandom(6).hex()}/evidence/"


def write(store: ObjectStore, key: str, data: bytes, over: bool = False) -> None:
    upload = store.upload(key, over=over)
    upload.write(data)
    upload.finish()


def keys(found: list[Version]) -> list[str]:
    return [one.key for one in found]


def test_every_object_has_a_version_and_is_gone_for_good_once_that_is_removed(place: Place, folder: str):
    for name in ("b/2", "b/1", "a"):
        place.store.put_new(folder + name, b"x")
    found = place.pruner.versions(folder)
    assert keys(found) == [folder + name for name in ("a", "b/1", "b/2")]
    assert all(one.latest and one.what == "object" and abs(one.modified - place.now()) < 60 for one in found)
    place.pruner.remove(found[1])
    assert [one.key for one in place.store.list(folder)] == [folder + "a", folder + "b/2"]
    assert keys(place.pruner.versions(folder + "b/")) == [folder + "b/2"]
    with pytest.raises(NotFound):
        b"".join(place.store.read(folder + "b/1"))


def test_to_remove_what_is_gone_is_done(place: Place, folder: str):
    place.store.put_new(folder + "a", b"x")
    (one,) = place.pruner.versions(folder)
    for _ in range(2):
        place.pruner.remove(one)
    assert place.pruner.versions(folder) == []
    assert place.pruner.locked_until(one) == 0


def test_nothing_is_found_where_nothing_is(place: Place, folder: str):
    assert place.pruner.versions(folder) == []
    assert place.pruner.unfinished(folder) == []


def test_what_is_written_again_after_it_was_removed_is_there(place: Place, folder: str):
    place.store.put_new(folder + "a", b"first")
    place.pruner.remove(place.pruner.versions(folder)[0])
    place.store.put_new(folder + "a", b"second")
    assert b"".join(place.store.read(folder + "a")) == b"second"


def test_an_upload_that_nobody_finished_is_told_and_can_be_given_up(place: Place, folder: str):
    old, young = (place.store.upload(f"{folder}b/{name}") for name in ("old", "young"))
    for upload in (old, young):
        upload.write(os.urandom(2 * PART))
    found = place.pruner.unfinished(folder + "b/")
    assert [name in one.key for one, name in zip(found, ("old", "young"), strict=True)] == [True, True]
    assert all(one.what == "upload" and abs(one.modified - place.now()) < 60 for one in found)
    assert place.pruner.unfinished(folder + "c/") == []
    for _ in range(2):
        place.pruner.remove(found[0])
    assert place.pruner.unfinished(folder + "b/") == found[1:]
    young.finish()
    old.abort()
    assert [one.key for one in place.store.list(folder)] == [folder + "b/young"]
    assert place.pruner.unfinished(folder) == []


def test_a_directory_goes_with_its_last_file_and_cannot_lock(tmp_path: Path):
    store, pruner = DirectoryStore("disk", tmp_path), DirectoryPruner("disk", tmp_path)
    store.put_new("lab/mongodb/x-e1/objects/one", b"x")
    store.put_new("lab/mongodb/x-e1/manifest.json", b"x")
    for one in pruner.versions("lab/"):
        pruner.remove(one)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["lab", "mongodb"]
    with pytest.raises(Permanent, match="a directory cannot promise"):
        pruner.extend(Version("lab/a", "", 0.0), 1.0)
    assert "cannot promise" in store.cannot_lock()


def test_a_directory_that_is_not_mounted_is_not_an_empty_one(tmp_path: Path):
    pruner = DirectoryPruner("disk", tmp_path / "not-mounted")
    for action in (lambda: pruner.versions("lab/"), lambda: pruner.unfinished("lab/")):
        with pytest.raises(Permanent, match="mount the disk"):
            action()


# --- versions and locks


def test_each_version_is_told_the_oldest_first_and_what_is_behind_one_comes_back(vault: Place, folder: str):
    for data in (b"one", b"two", b"three"):
        write(vault.store, folder + "a", data, over=True)
        vault.wait(1.1)  # versitygw tells times in whole seconds
    found = vault.pruner.versions(folder)
    assert [one.latest for one in found] == [False, False, True]
    assert len({one.version for one in found}) == 3
    vault.pruner.remove(found[0])
    assert b"".join(vault.store.read(folder + "a")) == b"three"
    vault.pruner.remove(found[2])
    assert b"".join(vault.store.read(folder + "a")) == b"two"
    vault.pruner.remove(found[1])
    assert vault.pruner.versions(folder) == [] and vault.store.head(folder + "a") is None


@pytest.mark.parametrize("size", [3, 2 * PART])
def test_what_makes_a_backup_is_locked_when_it_appears_and_nobody_removes_it(vault: Place, size: int):
    key = f"{os.urandom(6).hex()}/mongodb/x-e1/objects/one"
    write(vault.store, key, os.urandom(size))
    (one,) = vault.pruner.versions(key)
    until = vault.pruner.locked_until(one)
    assert 0 <= until - vault.now() - LOCKED_FOR + 30 <= 32
    head = vault.store.head(key)
    assert head is not None and head.locked == until
    with pytest.raises(Permanent):
        vault.pruner.remove(one)
    assert vault.store.head(key) is not None


def test_what_makes_no_backup_is_not_locked(vault: Place):
    place = os.urandom(6).hex()
    for key in ("evidence/verify/mongodb/x-e1/a/b.json", "mongodb/x-e1/journal/begun.json"):
        vault.store.put_new(f"{place}/{key}", b"{}")
        head = vault.store.head(f"{place}/{key}")
        assert head is not None and head.locked == 0
    for one in vault.pruner.versions(place):
        assert vault.pruner.locked_until(one) == 0
        vault.pruner.remove(one)
    assert vault.pruner.versions(place) == []


def test_a_lock_is_made_longer_and_never_shorter(vault: Place):
    key = f"{os.urandom(6).hex()}/mongodb/x-e1/manifest.json"
    vault.store.put_new(key, b"{}")
    (one,) = vault.pruner.versions(key)
    longer = float(int(vault.now() + 3 * LOCKED_FOR))
    vault.pruner.extend(one, longer)
    assert vault.pruner.locked_until(one) == longer
    vault.pruner.extend(one, vault.now() + 1)
    assert vault.pruner.locked_until(one) == longer


def test_once_its_lock_ran_out_it_can_be_removed(vault: Place):
    key = f"{os.urandom(6).hex()}/secrets/x-e1/manifest.json"
    vault.store.put_new(key, b"{}")
    (one,) = vault.pruner.versions(key)
    with pytest.raises(Permanent):
        vault.pruner.remove(one)
    vault.wait(4)
    vault.pruner.remove(one)
    assert vault.pruner.versions(key) == []


def test_a_version_behind_another_is_locked_all_the_same(vault: Place):
    key = f"{os.urandom(6).hex()}/mongodb/x-e1/objects/one"
    for data in (b"one", b"two"):
        write(vault.store, key, data, over=True)
    for one in vault.pruner.versions(key):
        assert vault.pruner.locked_until(one) > vault.now()
        with pytest.raises(Permanent):
            vault.pruner.remove(one)
    assert b"".join(vault.store.read(key)) == b"two"


def test_a_place_that_can_lock_says_so(vault: Place):
    assert vault.store.cannot_lock() == ""


@pytest.mark.lab
@pytest.mark.parametrize("letter", ["A", "B"])
def test_a_bucket_without_lock_says_so(lab: Lab, letter: str):
    assert "has no object lock" in account(lab, letter, "WRITER_", "onlyvips-leases").cannot_lock()


@pytest.mark.lab
def test_whether_a_bucket_that_is_not_there_could_lock_is_an_error(lab: Lab):
    """MinIO says of one that it has no object lock, which is refused as well."""
    with pytest.raises(NotFound, match="make the bucket"):
        account(lab, "A", "", "no-such-bucket").cannot_lock()
    assert "has no object lock" in account(lab, "B", "", "no-such-bucket").cannot_lock()


# --- two credentials


@pytest.mark.lab
@pytest.mark.parametrize("letter", ["A", "B"])
def test_the_writers_credential_cannot_delete(lab: Lab, letter: str, folder: str):
    writer = account(lab, letter, "WRITER_", BACKUPS)
    writer.put_new(folder + "a", b"x")
    (one,) = S3Pruner(account(lab, letter, "PRUNER_", BACKUPS)).versions(folder)
    for version in (one, Version(one.key, "", 0.0)):
        with pytest.raises(Permanent, match="403 AccessDenied"):
            S3Pruner(writer).remove(version)
    with pytest.raises(Permanent, match="403 AccessDenied"):
        root_of = account(lab, letter, "PRUNER_", BACKUPS)
        root_of.put_new(folder + "b", b"the pruner cannot write")
    assert b"".join(writer.read(folder + "a")) == b"x"


@pytest.mark.lab
def test_a_mark_that_hides_an_object_is_told_and_removed(lab: Lab, folder: str):
    """What a delete without a version leaves in a bucket with versions."""
    writer, pruner = account(lab, "B", "WRITER_", BACKUPS), S3Pruner(account(lab, "B", "PRUNER_", BACKUPS))
    writer.put_new(folder + "a", b"x")
    pruner.remove(Version(folder + "a", "", 0.0))
    found = pruner.versions(folder)
    assert [(one.latest, one.what) for one in found] == [(False, "object"), (True, "mark")]
    assert pruner.locked_until(found[1]) == 0 and writer.head(folder + "a") is None
    pruner.extend(found[1], time.time() + 60)
    pruner.remove(found[1])
    assert b"".join(writer.read(folder + "a")) == b"x"
    pruner.remove(found[0])
    assert pruner.versions(folder) == []
