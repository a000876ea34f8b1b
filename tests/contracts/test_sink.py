"""MediaSink's contract: one suite for the simulator, a directory and a real S3 server, each read by its MediaSource."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onlyvips.adapters.media_directory import DirectoryMedia
from onlyvips.adapters.sink_directory import DirectorySink
from onlyvips.adapters.sink_s3 import BucketSink
from onlyvips.core.media import Item
from onlyvips.core.media_paths import PART
from onlyvips.errors import Conflict, OnlyVipsError, Permanent, Refused
from onlyvips.ports import MediaSource
from onlyvips.ports.media import MediaSink
from tests.conftest import Lab
from tests.contracts.test_media import InBucket
from tests.simulators.media import SimulatedMedia, SimulatedSink

LARGE = os.urandom(6 << 20) * 3


class Place:
    """What is written and read back."""

    def __init__(self, source: MediaSource, sink: MediaSink, bucket: Any = None) -> None:
        self.source, self.sink, self.bucket = source, sink, bucket

    @property
    def has(self) -> dict[str, bytes]:
        items = self.items()
        return {key: b"".join(self.source.stream(item)) for key, item in items.items()}

    def items(self) -> dict[str, Item]:
        return {one.key: one for page in self.source.pages() for one in page if isinstance(one, Item)}


@pytest.fixture(params=["simulator", "directory", pytest.param("s3", marks=pytest.mark.lab)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "simulator":
        media = SimulatedMedia()
        yield Place(media, SimulatedSink(media))
    elif request.param == "directory":
        (tmp_path / "media").mkdir()
        yield Place(DirectoryMedia(tmp_path / "media"), DirectorySink(tmp_path / "media"))
    else:
        found = InBucket(request.getfixturevalue("lab"), f"{os.urandom(6).hex()}/")
        yield Place(found.source, BucketSink(found.address, found.prefix, timeout=10.0), found)
        found.client.close()


NAMES = ["a.jpg", "photos/1/größe ünïcode 100%+#?&.jpg", ".env", ".hidden/file", " lead", "back\\slash", "empty"]


def test_objects_of_any_name_are_there_as_they_were_put(place: Place) -> None:
    wanted = {name: b"" if name == "empty" else name.encode() * 3 for name in NAMES}
    with place.sink.writing():
        assert place.sink.put([(key, data, None) for key, data in wanted.items()]) == [""] * len(NAMES)
        assert place.sink.put([]) == []
    assert place.has == wanted
    assert dict(place.sink.cannot_have(list(wanted), [])) == {}


def test_what_is_there_is_replaced_only_where_it_is_what_was_seen(place: Place) -> None:
    with place.sink.writing():
        place.sink.put([("a", b"1", None), ("b", b"1", None)])
        seen = place.items()
        assert place.sink.put([("a", b"2", seen["a"])]) == [""]
        stale, taken, gone = place.sink.put(
            [("a", b"3", seen["a"]), ("b", b"3", None), ("c", b"3", Item("c", 1, seen["a"].etag))]
        )
    assert "a " in stale and "b " in taken and "c " in gone
    assert place.has == {"a": b"2", "b": b"1"}


def test_a_large_object_appears_when_it_is_finished_and_not_when_it_is_given_up(place: Place) -> None:
    with place.sink.writing():
        upload = place.sink.upload("big/one.mp4", None)
        for at in range(0, len(LARGE), 1 << 20):
            upload.write(LARGE[at : at + (1 << 20)])
        assert place.has == {}
        stored = upload.finish()
        assert stored.size == len(LARGE)
        other = place.sink.upload("other.mp4", None)
        other.write(LARGE[: 1 << 20])
        other.abort()
        other.abort()
    assert list(place.has) == ["big/one.mp4"]
    assert hashlib.sha256(place.has["big/one.mp4"]).digest() == hashlib.sha256(LARGE).digest()


@pytest.mark.parametrize("size", [10, len(LARGE)])
def test_a_large_object_replaces_only_what_was_seen(place: Place, size: int) -> None:
    with place.sink.writing():
        place.sink.put([("big", b"1", None)])
        seen = place.items()["big"]
        first, second, third = (place.sink.upload("big", over) for over in (seen, seen, None))
        for upload in (first, second, third):
            upload.write(LARGE[:size])
        first.finish()
        for upload in (second, third):
            with pytest.raises(Conflict):
                upload.finish()
            upload.abort()
    assert [len(data) for data in place.has.values()] == [size]


# --- a directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir(mode=0o750)
    (tmp_path / "media").chmod(0o750)
    return tmp_path / "media"


def test_what_a_dead_restore_left_is_no_file_of_the_media_and_goes_with_the_next_one(root: Path) -> None:
    sink = DirectorySink(root)
    (root / f"{PART}mine").write_bytes(b"a file that is only called a little so")
    upload = sink.upload("a/b", None)
    upload.write(b"half")
    hidden = next((root / "a").iterdir())
    assert list(Place(DirectoryMedia(root), sink).has) == [f"{PART}mine"]
    with sink.writing():
        assert not hidden.exists()
    assert (root / f"{PART}mine").exists()


def test_two_restores_are_kept_apart_until_the_first_one_ends(root: Path) -> None:
    other = DirectorySink(root).writing()
    with DirectorySink(root).writing(), pytest.raises(Refused, match="Another restore of media writes to"):
        other.__enter__()
    with DirectorySink(root).writing():
        pass


def test_a_new_file_has_the_rights_of_its_folder_and_one_that_is_replaced_keeps_its_own(root: Path) -> None:
    sink = DirectorySink(root)
    (root / "old").write_bytes(b"1")
    (root / "old").chmod(0o604)
    seen = Place(DirectoryMedia(root), sink).items()["old"]
    sink.put([("old", b"2", seen), ("folder/new", b"2", None)])
    assert [oct((root / name).stat().st_mode & 0o777) for name in ("old", "folder", "folder/new")] == [
        "0o604",
        "0o750",
        "0o640",
    ]


def test_names_that_no_file_can_have_are_told_with_the_reason(root: Path) -> None:
    told = DirectorySink(root).cannot_have(
        ["a//b", "../up", "x/", "n" * 256, "a", "a/b", "c/d", "e", "fine", f"{PART}{'0' * 16}.part"], ["c", "e/f", "g"]
    )
    assert set(told) == {"a//b", "../up", "x/", "n" * 256, "a", "a/b", "c/d", "e", f"{PART}{'0' * 16}.part"}
    assert told["c/d"] == "c is no folder" and told["e"] == "a folder has that name"


def test_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    assert "is no folder" in DirectorySink(root).put([("link/a", b"1", None)])[0]
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_nobody_may_write_to_says_what_to_do(root: Path) -> None:
    root.chmod(0o500)
    with pytest.raises(Permanent, match="let this user write there"):
        DirectorySink(root).put([("a", b"1", None)])


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    sink = DirectorySink(tmp_path / "not-mounted")
    with pytest.raises(Permanent, match="mount it"), sink.writing():
        pass
    with pytest.raises(Permanent, match="mount it"):
        sink.room()


def test_a_directory_says_how_much_room_there_is(root: Path) -> None:
    assert (DirectorySink(root).room() or 0) > 1 << 20


# --- S3


@pytest.mark.lab
def test_a_name_that_consoles_write_for_a_folder_comes_back_to_a_bucket(lab: Lab) -> None:
    found = InBucket(lab, f"{os.urandom(6).hex()}/")
    place = Place(found.source, BucketSink(found.address, found.prefix), found)
    assert place.sink.put([("photos/", b"", None), ("photos/1.jpg", b"1", None)]) == ["", ""]
    assert place.has == {"photos/": b"", "photos/1.jpg": b"1"}
    assert "photos/ came" in place.sink.put([("photos/", b"", None)])[0]
    found.client.close()


@pytest.mark.lab
def test_an_object_has_the_type_that_its_name_says_and_too_long_a_name_is_told(lab: Lab) -> None:
    found = InBucket(lab, f"{os.urandom(6).hex()}/")
    sink = BucketSink(found.address, found.prefix)
    sink.put([("a.jpg", b"1", None), ("b", b"1", None)])
    upload = sink.upload("c.mp4", None)
    upload.write(LARGE)
    upload.finish()
    types = {
        key: found.client.head_object(Bucket=found.address.bucket, Key=found.prefix + key)["ContentType"]
        for key in ("a.jpg", "b", "c.mp4")
    }
    assert types == {"a.jpg": "image/jpeg", "b": "application/octet-stream", "c.mp4": "video/mp4"}
    assert set(sink.cannot_have(["k" * 1012, "k"], [])) == {"k" * 1012}
    found.client.close()


@pytest.mark.lab
@pytest.mark.parametrize(
    ("changed", "sentence"),
    [({"bucket": "no-such-bucket"}, "make the bucket"), ({"secret_key": "wrong"}, "correct the secret key")],
)
def test_a_bucket_that_cannot_be_written_says_what_to_do(lab: Lab, changed: dict[str, str], sentence: str) -> None:
    found = InBucket(lab, "x/")
    told = {field: getattr(found.address, field) for field in found.address.__dataclass_fields__} | changed
    sink = BucketSink(type(found.address)(**told), timeout=2.0)
    with pytest.raises(OnlyVipsError, match=sentence):
        sink.put([("a", b"1", None)])
    found.client.close()
