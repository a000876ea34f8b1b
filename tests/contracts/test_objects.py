"""ObjectStore's contract: one suite for the simulator, a directory and a real S3 server."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.errors import Conflict, Misuse, NotFound, OnlyVipsError, Permanent, Transient
from onlyvips.ports import ObjectStore, Stored
from tests.simulators.objects import SimulatedStore

MEBIBYTE = 1024 * 1024
PART = 5 * MEBIBYTE
BUCKET = "contract-objects"


class Server:
    """The S3 server of the lab, and a client of its own to look behind the adapter's back."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env, self.url = env, env["ONLYVIPS_LAB_S3_A_URL"]
        self.access, self.secret = env["ONLYVIPS_LAB_S3_A_ACCESS_KEY"], env["ONLYVIPS_LAB_S3_A_SECRET_KEY"]
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.access,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )

    def store(self, bucket: str = BUCKET, **changed: Any) -> S3Store:
        arguments: dict[str, Any] = {"endpoint": self.url, "access_key": self.access, "secret_key": self.secret}
        return S3Store(name="s3", bucket=bucket, region="us-east-1", part_size=PART, **(arguments | changed))

    def unfinished(self) -> list[str]:
        return [upload["Key"] for upload in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    found = Server(request.getfixturevalue("lab").env)
    if BUCKET not in [bucket["Name"] for bucket in found.client.list_buckets()["Buckets"]]:
        found.client.create_bucket(Bucket=BUCKET)
    yield found
    found.client.close()


REAL = [pytest.param(name, marks=pytest.mark.lab) for name in ("s3", "minio")]


@pytest.fixture(params=["simulator", "directory", *REAL])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "simulator":
        return SimulatedStore("simulator")
    if request.param == "directory":
        return DirectoryStore("directory", tmp_path)
    found: Server = request.getfixturevalue("server")
    if request.param == "minio":
        url, *keys = (found.env[f"ONLYVIPS_LAB_S3_B_{part}"] for part in ("URL", "ACCESS_KEY", "SECRET_KEY"))
        return found.store("onlyvips-backup", endpoint=url, access_key=keys[0], secret_key=keys[1])
    return found.store()


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> str:
    """A place in the store that no other test writes to."""
    return f"{os.urandom(6).hex()}/"


def write(store: ObjectStore, key: str, *chunks: bytes) -> None:
    upload = store.upload(key)
    for chunk in chunks:
        upload.write(chunk)
    stored = upload.finish()
    data = b"".join(chunks)
    assert (stored.key, stored.size, stored.sha256) == (key, len(data), hashlib.sha256(data).hexdigest())


def read(store: ObjectStore, key: str) -> bytes:
    return b"".join(store.read(key))


SIZES = [
    pytest.param([], id="nothing"),
    pytest.param([b""], id="an empty chunk"),
    pytest.param([b"a"], id="a byte"),
    pytest.param([os.urandom(70_000), b"", os.urandom(3)], id="less than a part"),
    pytest.param([os.urandom(PART)], id="exactly a part"),
    pytest.param([os.urandom(PART), b"x"], id="a byte more than a part"),
    pytest.param([os.urandom(MEBIBYTE)] * 16, id="several parts"),
    pytest.param([os.urandom(11 * MEBIBYTE)], id="several parts in one chunk"),
]


@pytest.mark.parametrize("chunks", SIZES)
def test_an_object_of_any_size_comes_back_as_it_was_written(store: ObjectStore, folder: str, chunks: list[bytes]):
    write(store, folder + "one", *chunks)
    assert read(store, folder + "one") == b"".join(chunks)
    head = store.head(folder + "one")
    assert head is not None
    assert head.size == sum(map(len, chunks))
    assert head.sha256 in ("", hashlib.sha256(b"".join(chunks)).hexdigest())


def test_an_upload_is_invisible_until_it_is_finished(store: ObjectStore, folder: str):
    upload = store.upload(folder + "one")
    upload.write(os.urandom(2 * PART))
    assert store.head(folder + "one") is None
    assert store.list(folder) == []
    upload.finish()
    assert store.list(folder) == [Stored(folder + "one", 2 * PART)]


@pytest.mark.parametrize("size", [0, 10, 2 * PART + 1])
def test_an_aborted_upload_leaves_nothing_and_may_be_aborted_twice(store: ObjectStore, folder: str, size: int):
    upload = store.upload(folder + "one")
    upload.write(os.urandom(size))
    upload.abort()
    upload.abort()
    assert store.head(folder + "one") is None
    write(store, folder + "one", b"again")
    assert read(store, folder + "one") == b"again"


def test_to_abort_what_is_finished_changes_nothing(store: ObjectStore, folder: str):
    upload = store.upload(folder + "one")
    upload.write(b"kept")
    upload.finish()
    upload.abort()
    assert read(store, folder + "one") == b"kept"


@pytest.mark.parametrize("size", [3, 2 * PART])
def test_an_object_is_never_overwritten(store: ObjectStore, folder: str, size: int):
    write(store, folder + "one", b"first")
    late = store.upload(folder + "one")
    late.write(os.urandom(size))
    with pytest.raises(Conflict, match="written once"):
        late.finish()
    late.abort()
    with pytest.raises(Conflict, match="written once"):
        store.put_new(folder + "one", b"second")
    assert read(store, folder + "one") == b"first"


def test_a_small_object_is_written_once(store: ObjectStore, folder: str):
    stored = store.put_new(folder + "a/b.json", b"{}")
    assert (stored.size, stored.sha256) == (2, hashlib.sha256(b"{}").hexdigest())
    assert read(store, folder + "a/b.json") == b"{}"


def test_of_many_writers_of_one_key_exactly_one_wins(store: ObjectStore, folder: str):
    won: list[int] = []
    start = threading.Barrier(32)

    def write_it(number: int) -> None:
        start.wait()
        try:
            store.put_new(folder + "one", str(number).encode())
        except (Conflict, Transient):
            return
        won.append(number)

    threads = [threading.Thread(target=write_it, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(number).encode() for number in won] == [read(store, folder + "one")]


def test_what_is_not_there_is_none_or_an_error_never_empty(store: ObjectStore, folder: str):
    assert store.head(folder + "none") is None
    assert store.head(folder + "none/deeper") is None
    with pytest.raises(NotFound, match="another copy"):
        read(store, folder + "none")
    assert store.list(folder) == []


def test_a_list_is_sorted_and_has_only_the_prefix(store: ObjectStore, folder: str):
    for key in ("b/2", "b/10", "a", "bb"):
        store.put_new(folder + key, b"x")
    assert store.list(folder) == [Stored(folder + key, 1) for key in ("a", "b/10", "b/2", "bb")]
    assert store.list(folder + "b/") == [Stored(folder + "b/10", 1), Stored(folder + "b/2", 1)]
    assert store.list(folder + "b") == [Stored(folder + key, 1) for key in ("b/10", "b/2", "bb")]
    assert store.list(folder + "c") == store.list(folder + "c/d") == []


@pytest.mark.parametrize("size", [3, 2 * PART])
def test_a_repair_puts_an_object_in_the_place_of_what_is_there_or_is_not(store: ObjectStore, folder: str, size: int):
    store.put_new(folder + "bad", b"damaged")
    data = os.urandom(size)
    for key in ("bad", "missing"):
        upload = store.upload(folder + key, over=True)
        upload.write(data)
        assert upload.finish().sha256 == hashlib.sha256(data).hexdigest()
        assert read(store, folder + key) == data


# --- a directory


def test_a_directory_hides_what_is_not_finished_and_removes_it_when_aborted(tmp_path: Path):
    upload = DirectoryStore("disk", tmp_path).upload("a/one")
    upload.write(b"x")
    assert [path.name[:5] for path in (tmp_path / "a").iterdir()] == [".one."]
    upload.abort()
    assert list((tmp_path / "a").iterdir()) == []


def test_a_directory_that_is_not_there_is_never_made(tmp_path: Path):
    store = DirectoryStore("disk", tmp_path / "not-mounted")
    actions: list[Callable[[], object]] = [
        lambda: store.put_new("a", b""),
        lambda: store.head("a"),
        lambda: store.list(""),
    ]
    for action in actions:
        with pytest.raises(Permanent, match="mount the disk"):
            action()
    assert not (tmp_path / "not-mounted").exists()


def test_a_file_that_changed_on_its_way_to_the_disk_is_noticed(tmp_path: Path):
    upload = DirectoryStore("disk", tmp_path).upload("one")
    upload.write(b"as it should be")
    (hidden,) = tmp_path.iterdir()
    hidden.write_bytes(b"as it should bE")
    with pytest.raises(Permanent, match="reads back different"):
        upload.finish()
    upload.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_says_how_much_is_free(tmp_path: Path):
    """/dev/full answers every write with ENOSPC, as a full disk does."""
    upload = DirectoryStore("disk", tmp_path).upload("one")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, upload._file)  # type: ignore[attr-defined]
    os.close(full)
    with pytest.raises(Permanent, match=r"No space left on device; [0-9.]+ MiB are free"):
        upload.write(b"x")
    upload.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/../b", ".a", "a/.b"])
def test_a_key_never_leaves_the_directory(tmp_path: Path, key: str):
    with pytest.raises(Misuse):
        DirectoryStore("disk", tmp_path).upload(key)


# --- S3


@pytest.mark.lab
def test_s3_keeps_nothing_of_an_aborted_or_refused_upload(server: Server, folder: str):
    store = server.store()
    store.put_new(folder + "taken", b"")
    for key in ("aborted", "taken"):
        upload = store.upload(folder + key)
        upload.write(os.urandom(2 * PART))
        assert folder + key in server.unfinished()
        if key == "taken":
            with pytest.raises(Conflict):
                upload.finish()
        upload.abort()
    assert server.unfinished() == []


@pytest.mark.lab
def test_s3_refuses_a_part_that_changed_on_its_way(server: Server, folder: str, monkeypatch: pytest.MonkeyPatch):
    store = server.store()
    sent = store.call

    def flip(verb: str, operation: str, key: str, **arguments: Any) -> Any:
        if "Body" in arguments:
            arguments["Body"] = b"?" + arguments["Body"].all()[1:]
        return sent(verb, operation, key, **arguments)

    monkeypatch.setattr(store, "call", flip)
    upload = store.upload(folder + "one")
    with pytest.raises(Permanent, match="bytes changed on their way"):
        upload.write(os.urandom(2 * PART))
    upload.abort()
    assert server.unfinished() == []


@pytest.mark.lab
@pytest.mark.parametrize(
    ("changed", "kind", "sentence"),
    [
        ({"bucket": "no-such-bucket"}, Permanent, "make the bucket"),
        ({"access_key": "nobody"}, Permanent, "correct the access key"),
        ({"secret_key": "wrong"}, Permanent, "correct the secret key"),
        ({"endpoint": "http://127.0.0.1:1"}, Transient, "nothing answers there"),
    ],
)
def test_an_s3_error_names_bucket_key_and_endpoint_and_what_to_do(
    server: Server, changed: dict[str, str], kind: type[OnlyVipsError], sentence: str
):
    store = server.store(**changed)
    with pytest.raises(kind, match=sentence) as raised:
        store.put_new("a/b", b"")
    assert raised.value.__cause__ is not None
    for part in (changed.get("bucket", BUCKET), "a/b", changed.get("endpoint", server.url)):
        assert part in str(raised.value)
    assert server.secret not in str(raised.value)


@pytest.mark.lab
def test_a_missing_bucket_is_an_error_and_not_a_missing_object(server: Server):
    with pytest.raises(Permanent):
        server.store("no-such-bucket").head("a")


@pytest.mark.lab
def test_a_store_that_confirms_nothing_is_not_believed(server: Server):
    with pytest.raises(Permanent, match="does not confirm SHA-256"):
        server.store().confirm("a", {}, "x")
