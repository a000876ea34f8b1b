"""Users and roles, both ways with MongoDB's own tools, through stand-ins of a server; FerretDB's tools know none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest
from backports import zstd

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.core.accounts import NOTES, ROLES, USERS
from onlyvips.core.manifest import ACCOUNTS
from onlyvips.steps.backup import Run, Taken, take
from onlyvips.steps.base import base
from tests import firehose
from tests.conftest import Lab
from tests.mongo_tools import contents, dumped, restored
from tests.procedures.test_backup import PLAN

pytestmark = pytest.mark.lab
IDENTITY = pyrage.x25519.Identity.generate()
OTHER = pyrage.x25519.Identity.generate()
BRINGS = ("--restoreDbUsersAndRoles", "--db=bench")


@pytest.fixture(scope="module")
def source(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("given")
    firehose.put_accounts(folder)
    with firehose.running(f"-folder={folder}") as (uri, _):
        yield uri


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk")


@pytest.fixture(scope="module")
def taken(source: str, folder: Path) -> Taken:
    recipients = (str(IDENTITY.to_public()), str(OTHER.to_public()))
    plan = replace(PLAN, database="bench", recipients=recipients)
    store = DirectoryStore("disk", folder)
    return take(base(MongoDatabase(source), [store], plan, Run(1, SystemClock(), os.urandom)))


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    path = tmp_path / "identity"
    path.write_text(str(IDENTITY))
    return path


def encrypted(taken: Taken, folder: Path, *, accounts: bool) -> list[Path]:
    """The objects of users and roles, or all others."""
    found = [one for one in taken.manifest.objects if (one.namespaces[0].type == ACCOUNTS) is accounts]
    return [folder / taken.manifest.prefix / one.key for one in found]


def into(path: Path) -> Path:
    path.mkdir()
    return path


def test_the_object_is_what_mongodump_writes_of_them(lab: Lab, source: str, taken: Taken, folder: Path, tmp_path: Path):
    theirs = dumped(lab, source, "bench", tmp_path / "archive")
    theirs_head, _ = contents((tmp_path / "archive").read_bytes())
    (path,) = encrypted(taken, folder, accounts=True)
    head, ours = contents(zstd.decompress(pyrage.decrypt(path.read_bytes(), [IDENTITY])))
    assert ours == {name: theirs[name] for name in (USERS, ROLES, NOTES)}
    assert ours[USERS] and ours[ROLES] and ours[NOTES]
    described = {(one.database, one.collection, one.metadata, one.type) for one in theirs_head.entries}
    assert {(one.database, one.collection, one.metadata, one.type) for one in head.entries} < described


def test_mongorestore_brings_users_and_roles_back_and_leaves_nothing_temporary(
    lab: Lab, taken: Taken, folder: Path, identity: Path, tmp_path: Path
):
    kept = into(tmp_path / "kept")
    (path,) = encrypted(taken, folder, accounts=True)
    with firehose.running(f"-keep={kept}") as (uri, _):
        restored(lab, path, identity, uri, *BRINGS)
    head, ours = contents(zstd.decompress(pyrage.decrypt(path.read_bytes(), [IDENTITY])))
    found = firehose.kept(kept)
    assert found == {
        "admin.system.users": firehose.whole(ours[USERS]),
        "admin.system.roles": firehose.whole(ours[ROLES]),
    }


def test_mongorestore_brings_the_same_from_mongodumps_own_archive(lab: Lab, source: str, tmp_path: Path):
    """What the test above is compared with: the stand-in asks for what the tool does by itself."""
    kept = into(tmp_path / "kept")
    theirs = dumped(lab, source, "bench", tmp_path / "archive")
    with firehose.running(f"-keep={kept}") as (uri, _):
        command = [lab.bin / "mongorestore", f"--uri={uri}", f"--archive={tmp_path / 'archive'}", *BRINGS]
        subprocess.run(command, check=True, capture_output=True)
    found = firehose.kept(kept)
    assert found["admin.system.users"] == firehose.whole(theirs[USERS])
    assert found["admin.system.roles"] == firehose.whole(theirs[ROLES])


def test_without_being_asked_mongorestore_passes_them_by_and_needs_no_right_to_them(
    lab: Lab, taken: Taken, folder: Path, identity: Path, tmp_path: Path
):
    kept = into(tmp_path / "kept")
    with firehose.running(f"-keep={kept}") as (uri, _):
        for path in [*encrypted(taken, folder, accounts=True), *encrypted(taken, folder, accounts=False)]:
            restored(lab, path, identity, uri, "--noIndexRestore")
    assert set(firehose.kept(kept)) == {"bench.things"}
