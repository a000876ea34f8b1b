"""Users and roles by ``onlyvips restore … --users-and-roles``, out of one stand-in of MongoDB and into another."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import bson
import pyrage
import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from flows.commands import run, running
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.core.catalog import read_catalog
from onlyvips.core.drills import Drills
from onlyvips.steps.backup import Run, take
from onlyvips.steps.base import base
from onlyvips.steps.shelves import read_shelves
from onlyvips.wiring import restore_turn, restores
from onlyvips.wiring.backups import Catalog
from onlyvips.wiring.restoring import mongodb
from tests import firehose
from tests.procedures.test_backup import PLAN
from tests.simulators.cell import SimCell

pytestmark = pytest.mark.lab
HERE = ["-e", "lab", "--target", "env:TARGET", "--users-and-roles"]
USER = bson.encode({**firehose.USER, "credentials": firehose.CREDENTIALS})
ROLE = bson.encode(firehose.ROLE)


@pytest.fixture
def base_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base with a user and a role, in the one destination that the environment has."""
    keys = [pyrage.x25519.Identity.generate() for _ in range(2)]
    plan = replace(PLAN, database="bench", recipients=tuple(str(one.to_public()) for one in keys))
    (given := tmp_path / "given").mkdir()
    (tmp_path / "disk").mkdir()
    firehose.put_accounts(given)
    store = DirectoryStore("disk", tmp_path / "disk")
    with firehose.running(f"-folder={given}") as (uri, _):
        take(base(MongoDatabase(uri), [store], plan, Run(1, SystemClock(), os.urandom)))
    for module in (restores, mongodb):
        monkeypatch.setattr(module, "stores_of", lambda _: [store])
    cell = SimCell()
    monkeypatch.setattr(restore_turn, "lease_cell", lambda *_: cell)
    monkeypatch.setattr(mongodb.environments, "identities", lambda _: ())
    monkeypatch.setattr(mongodb, "identities", lambda _: keys[:1])
    monkeypatch.setattr(mongodb, "catalog", lambda _: Catalog(tuple(read_catalog(read_shelves([store], "lab"))), {}))
    monkeypatch.setattr(mongodb, "live", lambda _: None)
    monkeypatch.setattr(mongodb.environments, "endpoint", lambda loaded, reference: os.environ[reference[4:]])
    monkeypatch.setattr(running, "answering_server", lambda _: "")
    monkeypatch.setattr(mongodb.drill_records, "records", lambda *_: Drills(()))


def there(uri: str) -> dict[str, list[bytes]]:
    """Every document of the target, by ``DB.NAME``."""
    raw: Any = CodecOptions(document_class=RawBSONDocument)
    found = dict[str, list[bytes]]()
    with MongoClient[dict[str, Any]](uri) as client:
        for database in ("admin", "bench"):
            for name in client[database].list_collection_names():
                found[f"{database}.{name}"] = [one.raw for one in client[database].get_collection(name, raw).find()]
    return found


@pytest.mark.usefixtures("base_there")
def test_they_come_back_with_the_data_byte_by_byte_and_nothing_temporary_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with firehose.running("-store") as (uri, _):
        monkeypatch.setenv("TARGET", uri)
        assert run(["restore", "plan", *HERE]) == 0
        assert "those of bench, as they were when the base was read, are merged into admin" in capsys.readouterr().out
        assert there(uri) == {}
        assert run(["restore", "run", *HERE]) == 0
        assert "1 users and 1 roles of bench are in admin, read back equal" in capsys.readouterr().out
        data = {"bench.things": [bson.encode({"_id": 1})]}
        assert there(uri) == {**data, "admin.system.users": [USER], "admin.system.roles": [ROLE]}


@pytest.mark.usefixtures("base_there")
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_where_we_may_not_it_is_refused_and_nothing_is_written(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with firehose.running("-store", "-deny=_mergeauthzcollections") as (uri, _):
        monkeypatch.setenv("TARGET", uri)
        assert run(["restore", verb, *HERE]) == 2
        assert "the roles `restore` and `backup` of database admin" in " ".join(capsys.readouterr().err.split())
        assert there(uri) == {}


@pytest.mark.usefixtures("base_there")
def test_a_user_that_is_there_otherwise_is_told_by_name_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with firehose.running("-store") as (uri, _):
        monkeypatch.setenv("TARGET", uri)
        with MongoClient[dict[str, Any]](uri) as client:
            client.admin["system.users"].insert_one({**firehose.USER, "credentials": {}})
        before = there(uri)
        assert run(["restore", "run", *HERE]) == 2
        error = capsys.readouterr().err
        assert "user bench.api" in error and "c3RvcmVk" not in error
        assert there(uri) == before
