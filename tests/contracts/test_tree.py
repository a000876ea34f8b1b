"""Tree's contract: one suite for the simulator, a directory and a real S3 server."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import pytest

from onlyvips.adapters.bucket_s3 import Address
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.adapters.tree_directory import DirectoryTree
from onlyvips.adapters.tree_s3 import S3Tree
from onlyvips.core.media_paths import PART, to_path
from onlyvips.errors import Misuse, NotFound, OnlyVipsError, Permanent, Transient
from onlyvips.ports import Held, Tree
from tests.conftest import Lab
from tests.simulators.media import SimulatedTree
from tests.simulators.objects import SimulatedStore

PART_SIZE = 5 << 20


def s3(lab: Lab, **changed: Any) -> S3Tree:
    env = lab.env
    told = {
        "name": "s3",
        "endpoint": env["ONLYVIPS_LAB_S3_A_URL"],
        "bucket": "onlyvips-backup",
        "region": "us-east-1",
        "access_key": env["ONLYVIPS_LAB_S3_A_ACCESS_KEY"],
        "secret_key": env["ONLYVIPS_LAB_S3_A_SECRET_KEY"],
    } | changed
    return S3Tree(S3Store(**told, part_size=PART_SIZE), Address(**told), timeout=5.0)


@pytest.fixture(params=["simulator", "directory", pytest.param("s3", marks=pytest.mark.lab)])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    if request.param == "simulator":
        return SimulatedTree(SimulatedStore("simulator"))
    if request.param == "directory":
        return DirectoryTree("directory", tmp_path)
    return s3(request.getfixturevalue("lab"))


@pytest.fixture
def folder() -> str:
    """A place that no other test writes to."""
    return f"contract-{os.urandom(6).hex()}/media-tree/"


def listed(tree: Tree, prefix: str) -> dict[str, Held]:
    return {one.key: one for page in tree.listing(prefix) for one in page}


def large(tree: Tree, key: str, data: bytes) -> None:
    upload = tree.objects.upload(key, over=True)
    upload.write(data)
    upload.finish()


NAMES = [
    *(
        to_path(key)
        for key in ("a//b", "photos/", "/a", "..", "../../up", "x/./y", f"{PART}1", "=onlyvips=a", "n" * 400)
    ),
    "a.jpg",
    "photos/1/2/größe ünïcode 100%+#?&.jpg",
    ".env",
    ".well-known/.hidden/file",
    " lead and trail ",
    "back\\slash",
    "empty",
]


def test_objects_of_any_name_are_read_as_they_were_put_and_listed_with_a_tag(tree: Tree, folder: str):
    objects = [(folder + name, b"" if name == "empty" else name.encode() * 3) for name in NAMES]
    tags = tree.put(objects)
    assert tree.read([key for key, _ in objects]) == [data for _, data in objects]
    assert listed(tree, folder) == {
        key: Held(key, len(data), tag) for (key, data), tag in zip(objects, tags, strict=True)
    }
    assert [b"".join(tree.objects.read(key)) for key, _ in objects] == [data for _, data in objects]


def test_what_is_there_is_replaced_and_its_tag_is_another_one(tree: Tree, folder: str):
    (first,) = tree.put([(folder + "a", b"1")])
    (second,) = tree.put([(folder + "a", b"2")])
    assert first != second and listed(tree, folder)[folder + "a"].tag == second
    assert tree.read([folder + "a"]) == [b"2"]


def test_what_is_not_there_is_none_and_lists_nothing(tree: Tree, folder: str):
    assert tree.read([folder + "a", folder + "b/c"]) == [None, None]
    assert listed(tree, folder) == {}


def test_a_copy_stays_when_the_first_is_replaced_or_removed(tree: Tree, folder: str):
    tree.put([(folder + "a", b"1"), (folder + "b", b"2")])
    pairs = [(folder + "a", folder + "kept/a"), (folder + "b", folder + "kept/b")]
    tree.copy(pairs)
    tree.copy(pairs)
    tree.put([(folder + "a", b"3")])
    tree.remove([folder + "b"])
    assert tree.read([target for _, target in pairs]) == [b"1", b"2"]
    assert set(listed(tree, folder)) == {folder + "a", folder + "kept/a", folder + "kept/b"}


def test_what_is_not_there_cannot_be_copied(tree: Tree, folder: str):
    with pytest.raises(NotFound):
        tree.copy([(folder + "none", folder + "copy")])
    assert listed(tree, folder) == {}


def test_what_is_not_there_is_removed(tree: Tree, folder: str):
    tree.put([(folder + "a/b", b"1")])
    tree.remove([folder + "none", folder + "a/b", folder + "a/b"])
    tree.remove([])
    assert listed(tree, folder) == {}


def test_many_are_put_listed_and_removed_at_once(tree: Tree, folder: str):
    objects = [(f"{folder}{number % 7}/{number}", str(number).encode()) for number in range(1200)]
    tree.put(objects)
    found = listed(tree, folder)
    assert len(found) == 1200
    assert tree.read([key for key, _ in objects]) == [data for _, data in objects]
    tree.remove(list(found)[:1100])
    assert len(listed(tree, folder)) == 100


def test_a_large_one_is_a_stream_in_the_same_place(tree: Tree, folder: str):
    data = os.urandom(PART_SIZE * 2 + 3)
    large(tree, folder + "big", b"before")
    large(tree, folder + "big", data)
    assert tree.read([folder + "big"]) == [data]
    assert listed(tree, folder)[folder + "big"].size == len(data)
    tree.copy([(folder + "big", folder + "copy")])
    assert tree.read([folder + "copy"]) == [data]


# --- a directory


@pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/../b", "a/", "a/."])
def test_a_key_never_leaves_the_directory(tmp_path: Path, key: str):
    tree = DirectoryTree("disk", tmp_path)
    for action in (lambda: tree.put([(key, b"")]), lambda: tree.read([key]), lambda: tree.remove([key])):
        with pytest.raises(Misuse):
            action()


def test_a_full_disk_says_how_much_is_free_and_leaves_what_was_there(tmp_path: Path):
    """A limit on the size of files stands for it: the system answers a write as for a quota (EFBIG)."""
    tree, before = DirectoryTree("disk", tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    tree.put([("e/media-tree/a", b"before")])
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, before[1]))
    try:
        with pytest.raises(Permanent, match=r"cannot write .*a: .*; [0-9.]+ MiB are free: make room"):
            tree.put([("e/media-tree/a", bytes(3 << 20))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert tree.read(["e/media-tree/a"]) == [b"before"]
    assert [path.name for path in (tmp_path / "e/media-tree").iterdir()] == ["a"]


@pytest.mark.parametrize("order", [["a", "a/b", "a/b/c"], ["a/b/c", "a/b", "a"], ["a/b", "a", "a/b/c"]])
def test_a_directory_takes_a_name_that_begins_others(tmp_path: Path, order: list[str]):
    tree = DirectoryTree("disk", tmp_path)
    for times in ("1", "2"):
        for name in order:
            tree.put([(f"e/media-tree/{name}", (name + times).encode())])
    keys = [f"e/media-tree/{name}" for name in order]
    assert tree.read(keys) == [(name + "2").encode() for name in order]
    assert set(listed(tree, "e/media-tree/")) == set(keys)
    for name in order:
        tree.remove([f"e/media-tree/{name}"])
        keys.remove(f"e/media-tree/{name}")
        assert set(listed(tree, "e/media-tree/")) == set(keys)
    tree.put([("e/media-tree/a", b"plain again")])
    assert (tmp_path / "e/media-tree/a").read_bytes() == b"plain again"


def test_a_directory_with_both_forms_of_a_name_has_it_once(tmp_path: Path):
    """As a death between the two leaves it."""
    tree = DirectoryTree("disk", tmp_path)
    tree.put([("e/media-tree/a", b"old"), ("e/media-tree/a/b", b"b")])
    tree.remove(["e/media-tree/a/b"])
    (tmp_path / "e/media-tree/a").write_bytes(b"new")
    assert [(one.key, one.size) for one in listed(tree, "e/").values()] == [("e/media-tree/a", 3)]
    assert tree.read(["e/media-tree/a"]) == [b"new"]
    tree.put([("e/media-tree/a", b"newer")])
    assert [path.name for path in (tmp_path / "e/media-tree").iterdir()] == ["a"]


def test_a_directory_that_is_not_there_is_never_made(tmp_path: Path):
    tree = DirectoryTree("disk", tmp_path / "not-mounted")
    for action in (
        lambda: tree.put([("a/b", b"")]),
        lambda: tree.read(["a/b"]),
        lambda: list(tree.listing("a")),
        lambda: tree.objects.upload("a/b"),
    ):
        with pytest.raises(Permanent, match="mount the disk"):
            action()
    assert not (tmp_path / "not-mounted").exists()


def test_a_directory_hides_what_is_not_finished(tmp_path: Path):
    tree = DirectoryTree("disk", tmp_path)
    upload = tree.objects.upload("e/media-tree/.big.part", over=True)
    upload.write(b"x")
    assert listed(tree, "e/") == {}
    upload.finish()
    assert set(listed(tree, "e/")) == {"e/media-tree/.big.part"}


# --- S3


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
def test_an_s3_error_names_the_place_and_says_what_to_do(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], kind: type[OnlyVipsError], sentence: str
):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-somebody-else")
    tree = s3(lab, **changed)
    for action in (lambda: list(tree.listing("x/")), lambda: tree.read(["x/a"]), lambda: tree.copy([("x/a", "x/b")])):
        with pytest.raises(kind, match=sentence) as raised:
            action()
        assert changed.get("bucket", "onlyvips-backup") in str(raised.value)
        assert lab.env["ONLYVIPS_LAB_S3_A_SECRET_KEY"] not in str(raised.value)
    with pytest.raises(OnlyVipsError, match=sentence):
        tree.put([("x/a", b"")])


@pytest.mark.lab
def test_keys_of_the_process_environment_are_not_sent(lab: Lab, folder: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.setenv(name, "of-somebody-else")
    tree = s3(lab)
    tree.put([(folder + "a", b"1")])
    assert tree.read([folder + "a"]) == [b"1"]


@pytest.mark.parametrize("endpoint", ["not a url", "http://me:hunter2@127.0.0.1:x"])
def test_an_address_that_is_none_is_refused_without_being_shown(endpoint: str):
    with pytest.raises(Permanent, match="is no URL of an S3 store") as raised:
        told = {"name": "s3", "endpoint": endpoint, "bucket": "b-b", "region": "", "access_key": "a", "secret_key": "b"}
        S3Tree(S3Store(**told), Address(**told))
    assert "hunter2" not in str(raised.value)
