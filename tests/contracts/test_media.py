"""MediaSource's contract: one suite for the simulator, a directory and a real S3 server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import boto3
import pytest

from onlyvips.adapters.bucket_s3 import Address
from onlyvips.adapters.media_directory import DirectoryMedia
from onlyvips.adapters.media_s3 import BucketMedia
from onlyvips.core.media import Item, Left
from onlyvips.errors import Conflict, NotFound, OnlyVipsError, Permanent
from onlyvips.ports import MediaSource
from tests.conftest import Lab
from tests.simulators.media import SimulatedMedia

BUCKET = "contract-media"


class Media(Protocol):
    """A source, and somebody who writes to it."""

    source: MediaSource

    def write(self, key: str, data: bytes) -> None: ...

    def remove(self, key: str) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.source = SimulatedMedia()
        self.write, self.remove = self.source.write, self.source.remove


class OnDisk:
    def __init__(self, root: Path) -> None:
        self.root, self.source = root, DirectoryMedia(root)

    def write(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def remove(self, key: str) -> None:
        (self.root / key).unlink()


class InBucket:
    def __init__(self, lab: Lab, prefix: str) -> None:
        url, access, secret = (lab.env[f"ONLYVIPS_LAB_S3_A_{part}"] for part in ("URL", "ACCESS_KEY", "SECRET_KEY"))
        keys = {"aws_access_key_id": access, "aws_secret_access_key": secret}
        self.client: Any = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
        if BUCKET not in [bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]]:
            self.client.create_bucket(Bucket=BUCKET)
        self.prefix = prefix
        self.address = Address("media", url, BUCKET, "us-east-1", access, secret)
        self.source = BucketMedia(self.address, prefix, timeout=5.0)

    def write(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=self.prefix + key, Body=data)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=self.prefix + key)


@pytest.fixture(params=["simulator", "directory", pytest.param("s3", marks=pytest.mark.lab)])
def media(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Media]:
    if request.param == "simulator":
        yield InMemory()
    elif request.param == "directory":
        (tmp_path / "media").mkdir()
        yield OnDisk(tmp_path / "media")
    else:
        found = InBucket(request.getfixturevalue("lab"), f"{os.urandom(6).hex()}/")
        yield found
        found.client.close()


def items(media: Media) -> dict[str, Item]:
    found = [one for page in media.source.pages() for one in page]
    assert all(isinstance(one, Item) for one in found)
    return {one.key: one for one in found if isinstance(one, Item)}


NAMES = ["a.jpg", "photos/1/größe ünïcode 100%+#?&.jpg", ".env", ".hidden/file", " lead", "back\\slash", "empty"]


def test_everything_is_listed_once_and_read_as_it_is(media: Media):
    for name in NAMES:
        media.write(name, b"" if name == "empty" else name.encode())
    found = items(media)
    assert {key: item.size for key, item in found.items()} == {
        name: 0 if name == "empty" else len(name.encode()) for name in NAMES
    }
    for one in media.source.read(list(found.values())):
        assert not isinstance(one, Left)
        item, data = one
        assert (item.key, item.size, item.etag) == (item.key, len(data), found[item.key].etag)
        assert data == (b"" if item.key == "empty" else item.key.encode())
        assert b"".join(media.source.stream(item)) == data
        assert media.source.look(item.key) is not None


def test_nothing_is_listed_as_nothing(media: Media):
    assert items(media) == {}
    assert media.source.look("none") is None
    assert media.source.read([]) == []
    assert {"dialect", "version"} <= set(media.source.describe())


def test_an_object_that_is_replaced_has_another_etag_and_one_that_is_not_has_the_same(media: Media):
    media.write("a", b"1")
    media.write("b", b"1")
    before = items(media)
    media.write("a", b"2")
    after = items(media)
    assert before["a"].etag != after["a"].etag and before["b"].etag == after["b"].etag


def test_what_changed_since_it_was_listed_is_read_as_it_is_now_with_what_it_is_now(media: Media):
    media.write("a", b"before")
    listed = items(media)["a"]
    media.write("a", b"after it")
    (found,) = media.source.read([listed])
    assert not isinstance(found, Left)
    item, data = found
    assert (data, item.size) == (b"after it", 8) and item.etag == items(media)["a"].etag != listed.etag


def test_what_is_gone_since_it_was_listed_is_left_and_the_others_are_read(media: Media):
    media.write("a", b"1")
    media.write("b", b"2")
    listed = items(media)
    media.remove("a")
    gone, there = media.source.read([listed["a"], listed["b"]])
    assert gone == Left("a", "it was gone when it was read")
    assert not isinstance(there, Left) and there[1] == b"2"
    with pytest.raises(NotFound):
        list(media.source.stream(listed["a"]))


def test_a_stream_of_what_changed_since_it_was_listed_is_an_error(media: Media):
    media.write("a", b"before")
    listed = items(media)["a"]
    media.write("a", b"after")
    with pytest.raises(Conflict):
        list(media.source.stream(listed))


def test_many_are_listed_in_pages(media: Media):
    for number in range(1100):
        media.write(f"{number % 3}/{number}", b"")
    assert len(items(media)) == 1100


# --- a directory


def test_a_file_that_grows_while_it_streams_is_noticed(tmp_path: Path):
    (tmp_path / "log").write_bytes(b"x" * (2 << 20))
    media = OnDisk(tmp_path)
    stream = media.source.stream(items(media)["log"])
    next(stream)
    with (tmp_path / "log").open("ab") as file:
        file.write(b"more")
    with pytest.raises(Conflict, match="changed while it was read"):
        list(stream)


def test_a_file_that_never_stops_changing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    media = OnDisk(tmp_path)
    media.write("a", b"1")
    listed = items(media)["a"]
    honest = media.source.look

    def touched(key: str) -> Item | None:
        found = honest(key)
        media.write("a", os.urandom(3))
        return found

    monkeypatch.setattr(media.source, "look", touched)
    media.write("a", b"22")
    assert media.source.read([listed]) == [Left("a", "it changed each of the 3 times that it was read")]


def test_what_is_no_regular_file_is_left_by_name_and_links_are_not_followed(tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"not media")
    root = tmp_path / "media"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    (root / os.fsdecode(b"bad-\xff")).write_bytes(b"")
    (root / "good").write_bytes(b"")
    found = [one for page in DirectoryMedia(root).pages() for one in page]
    left = {one.key: one.why for one in found if isinstance(one, Left)}
    assert left == {
        "link": "it is a symbolic link",
        "folder": "it is a symbolic link",
        "pipe": "it is no regular file",
        "bad-\\xff": "its name is not UTF-8 text",
    }
    assert [one.key for one in found if isinstance(one, Item)] == ["good"]


def test_a_directory_that_is_not_there_is_an_error_and_not_an_empty_one(tmp_path: Path):
    source = DirectoryMedia(tmp_path / "not-mounted")
    for action in (source.describe, lambda: list(source.pages())):
        with pytest.raises(Permanent, match="mount it"):
            action()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_what_may_not_be_listed_or_read_is_an_error_and_not_gone(tmp_path: Path):
    media = OnDisk(tmp_path)
    media.write("a", b"1")
    media.write("folder/b", b"1")
    listed = items(media)
    (tmp_path / "a").chmod(0)
    with pytest.raises(Permanent, match="let this user read it"):
        media.source.read([listed["a"]])
    (tmp_path / "folder").chmod(0)
    try:
        with pytest.raises(Permanent, match="let this user read it"):
            list(media.source.pages())
    finally:
        (tmp_path / "folder").chmod(0o700)


# --- S3


@pytest.mark.lab
def test_only_what_begins_with_the_prefix_is_there_without_it(lab: Lab):
    media = InBucket(lab, f"{os.urandom(6).hex()}/")
    media.write("a", b"1")
    other = BucketMedia(media.address, media.prefix[:-1])
    assert [one.key for page in other.pages() for one in page] == ["/a"]
    assert set(items(media)) == {"a"}
    media.client.close()


@pytest.mark.lab
def test_a_bucket_that_does_not_answer_says_what_to_do(lab: Lab):
    media = InBucket(lab, "x/")
    for changed, sentence in (
        ({"bucket": "no-such-bucket"}, "make the bucket"),
        ({"secret_key": "wrong"}, "correct the secret key"),
        ({"endpoint": "http://127.0.0.1:1"}, "nothing answers there"),
    ):
        told = {field: getattr(media.address, field) for field in media.address.__dataclass_fields__} | changed
        source = BucketMedia(Address(**told), timeout=2.0)
        for action in (source.describe, lambda source=source: source.read([Item("a", 1, "e")])):
            with pytest.raises(OnlyVipsError, match=sentence):
                action()
    media.client.close()
