"""Media of the lab's bucket wrecked and restored by the command a person types, with a copy that rots."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system.platform import Platform, told
from tests.system.test_media import MEDIA, client, downloaded, files, folder

pytestmark = pytest.mark.lab
RESTORE = ("--kind", "media", "-e", "rescue", "--json")


@pytest.fixture
def rescue(module_platform: Platform) -> Platform:
    module_platform.environment("rescue", propagation="1s")
    return module_platform


def test_media_that_were_wrecked_come_back_from_a_good_copy_and_nothing_else_changes(
    rescue: Platform, tmp_path: Path
) -> None:
    lab, s3 = rescue.lab, client(rescue.lab)
    for key, size in (("1.jpg", 2_000), ("2.jpg", 2_000), ("3.jpg", 2_000), ("film.mp4", 9 << 20)):
        s3.put_object(Bucket=MEDIA, Key=f"rescue/{key}", Body=os.urandom(size))
    s3.delete_object(Bucket=MEDIA, Key="rescue/since.jpg")
    backup = told(rescue.onlyvips("backup", "run", "--local", *RESTORE))["backup"]
    before = downloaded(lab, "S3_A", MEDIA, "rescue/")
    for key in ("1.jpg", "2.jpg", "film.mp4"):
        s3.delete_object(Bucket=MEDIA, Key=f"rescue/{key}")
    s3.put_object(Bucket=MEDIA, Key="rescue/3.jpg", Body=b"vandal")
    s3.put_object(Bucket=MEDIA, Key="rescue/since.jpg", Body=b"a user's")
    wrecked = downloaded(lab, "S3_A", MEDIA, "")
    for key in ("2.jpg", "film.mp4"):
        _rots(folder(lab, "directory") / "rescue/media-tree/rescue" / key)

    planned = told(rescue.onlyvips("restore", "plan", "--target", "live", "--at", backup, *RESTORE))
    assert (planned["missing"], planned["differ"], planned["others"], planned["overwritten"]) == (3, 1, 1, ["media"])
    assert planned["copies"][0] == "directory" and planned["refusals"] == []
    options = ("restore", "run", "--local", "--target", "live", "--at", backup, *RESTORE)
    done = rescue.onlyvips(*options, "--overwrite", "media")
    assert done.returncode == 0, done.stdout + done.stderr
    result = told(done)
    assert (result["files"], result["replaced"], result["others"]) == (4, 1, 1)
    bad = [flaw for flaw in result["flaws"] if flaw.startswith("directory: rescue/media-versions/")]
    assert len(bad) == 2, "the safety backup moved what the live media had no more out of the tree"
    assert any(line.startswith("Safety backup: 2") for line in result["told"])
    now = {f"rescue/{key}": sha256 for key, sha256 in before.items()}
    assert downloaded(lab, "S3_A", MEDIA, "") == wrecked | now
    assert s3.head_object(Bucket=MEDIA, Key="rescue/1.jpg")["ContentType"] == "image/jpeg"

    back, reference = tmp_path / "back", tmp_path / "reference"
    back.mkdir()
    reference.write_text(str(back))
    there = ("--target", f"file:{reference}", "--namespace", "rescue/=rescued/")
    rescued = rescue.onlyvips("restore", "run", "--local", "--at", backup, *there, *RESTORE)
    assert rescued.returncode == 0, rescued.stdout + rescued.stderr
    assert files(back / "rescued") == before
    for key in (*before, "since.jpg"):
        s3.delete_object(Bucket=MEDIA, Key=f"rescue/{key}")
    s3.close()


def _rots(path: Path) -> None:
    """One byte, behind the store's back: what it lists stays as it was."""
    was = path.stat()
    with path.open("r+b") as file:
        file.seek(was.st_size // 2)
        byte = file.read(1)
        file.seek(was.st_size // 2)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
