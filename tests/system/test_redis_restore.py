"""Redis on the lab, by the command a person types: taken, damaged, repaired, and restored by its own server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from onlyvips import environment as environments
from onlyvips.wiring import backups
from onlyvips.wiring.places import stores_of
from tests.conftest import Lab
from tests.redis_server import contents, serving
from tests.system.platform import Platform, told

pytestmark = pytest.mark.lab
HERE = ("-e", "quick", "--json")
KEY = "0001-redis.rdb.zst.age"
PLACES = {"s3-a", "s3-b", "directory"}


@pytest.fixture
def taken(module_platform: Platform) -> dict[str, Any]:
    """A backup that was just taken, as the command tells it."""
    done = module_platform.onlyvips("backup", "run", "--kind", "redis", "--local", *HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = told(done)
    return found


def stored(lab: Lab, store: str, backup: str) -> Path:
    """Where s3-a or the directory keeps its only object, as a file."""
    root = Path(lab.env["ONLYVIPS_LAB_DIRECTORY"])
    place = root if store == "directory" else root.parent / store / "onlyvips-backup"
    return place / "quick" / "redis" / backup / "objects" / KEY


def audit(platform: Platform) -> tuple[dict[str, Any], list[str]]:
    """How redis stands, and what was found of it."""
    report = told(platform.onlyvips("backup", "audit", *HERE))
    (standing,) = [one for one in report["standings"] if one["kind"] == "redis"]
    return standing, [one["what"] for one in report["findings"] if one["kind"] == "redis"]


def opened(lab: Lab, object_: Path, target: Path) -> None:
    """By the line of the format's document."""
    age, zstd = (shutil.which(name, path=f"{lab.bin}:{os.environ['PATH']}") for name in ("age", "zstd"))
    identity = lab.env["ONLYVIPS_LAB_AGE_IDENTITY"]
    script = f"set -o pipefail; {age} -d -i {identity} < {object_} | {zstd} -d > {target}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_copy_comes_back_by_age_zstd_and_redis_itself_with_every_key(
    lab: Lab, taken: dict[str, Any], tmp_path: Path
) -> None:
    before = contents(lab.env["ONLYVIPS_LAB_REDIS_URL"])
    kinds = {kind for kind, _, _ in before.values()}
    assert kinds == {b"string", b"list", b"hash", b"set", b"zset", b"stream"}
    assert {number for number, _ in before} == {0, 3}
    assert sum(expires > 0 for _, _, expires in before.values()) == 2
    assert taken["documents"] == len(before)
    stores = stores_of(environments.load("quick"))
    assert {store.name for store in stores} == PLACES
    for store in stores:
        folder = tmp_path / store.name
        folder.mkdir()
        object_ = tmp_path / f"{store.name}.age"
        object_.write_bytes(b"".join(store.read(f"quick/redis/{taken['backup']}/objects/{KEY}")))
        opened(lab, object_, folder / "dump.rdb")
        checked = subprocess.run([str(lab.bin / "redis-check-rdb"), str(folder / "dump.rdb")], capture_output=True)
        assert checked.returncode == 0 and b"RDB looks OK" in checked.stdout, checked.stdout
        with serving(lab, folder) as back:
            assert contents(back.url) == before


def test_one_flipped_and_one_deleted_copy_are_named_and_the_third_repairs_them(
    module_platform: Platform, taken: dict[str, Any]
) -> None:
    flipped, deleted = (stored(module_platform.lab, store, taken["backup"]) for store in ("s3-a", "directory"))
    data = flipped.read_bytes()
    assert data == deleted.read_bytes()
    flipped.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    standing, found = audit(module_platform)
    assert set(standing["copies"]) == PLACES - {"s3-a"} and any(f"s3-a objects/{KEY}" in what for what in found), found
    deleted.unlink()
    standing, found = audit(module_platform)
    assert standing["copies"] == ["s3-b"]
    assert any(f"directory lacks objects/{KEY}" in what for what in found), found
    repaired = module_platform.onlyvips("backup", "repair", taken["backup"], *HERE)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert flipped.read_bytes() == deleted.read_bytes() == data
    standing, found = audit(module_platform)
    assert set(standing["copies"]) == PLACES and found == []


def test_it_is_listed_shown_and_opened_with_the_keys_counted(module_platform: Platform, taken: dict[str, Any]) -> None:
    listed = told(module_platform.onlyvips("backup", "list", "--kind", "redis", *HERE))
    assert taken["backup"] in [one["backup"] for one in listed["backups"]]
    shown = module_platform.onlyvips("backup", "show", taken["backup"], "-e", "quick")
    assert f"objects/{KEY}" in shown.stdout and f"{taken['documents']:,} keys" in shown.stdout
    read = module_platform.onlyvips("backup", "verify", taken["backup"], "--decrypt", *HERE)
    assert read.returncode == 0, read.stdout + read.stderr
    assert {(one["destination"], one["how"], one["objects"]) for one in told(read)} == {
        (name, "decrypted", 1) for name in PLACES
    }


def test_a_second_writer_is_refused_while_the_first_one_lives(module_platform: Platform) -> None:
    with backups.taking("quick", "redis", "the first one", lambda size, documents: None) as first:
        second = module_platform.onlyvips("backup", "run", "--kind", "redis", "--local", *HERE)
        assert second.returncode == 2, second.stdout + second.stderr
        assert "the first one writes the redis backups of quick and is alive" in told(second)["error"]
        assert not backups.take_all(first).degraded


def test_a_redis_that_is_not_as_it_should_be_is_refused_before_anything_is_read(
    lab: Lab, module_platform: Platform, tmp_path: Path
) -> None:
    file = module_platform.folder / "elsewhere.yaml"
    module_platform.environment("elsewhere")
    text = file.read_text().replace("env:ONLYVIPS_LAB_REDIS_URL", f"file:{tmp_path}/url")
    file.write_text(text)
    with serving(lab, tmp_path / "node", cluster_enabled="yes", requirepass="geheim") as node:
        for url, sentence in (
            (node.url, "one node of a cluster"),
            (node.url.replace("geheim", "hunter2"), "does not let us in"),
            ("redis://:hunter2@127.0.0.1:1", "did not answer"),
        ):
            (tmp_path / "url").write_text(url)
            done = module_platform.onlyvips("backup", "run", "--kind", "redis", "--local", "-e", "elsewhere")
            assert done.returncode == 2, done.stdout + done.stderr
            assert sentence in done.stderr and "Nothing was read." in done.stderr
            assert "geheim" not in done.stderr and "hunter2" not in done.stderr
    assert not (Path(lab.env["ONLYVIPS_LAB_DIRECTORY"]) / "elsewhere").exists()
