"""Users and roles of one database, read as mongodump does: a stand-in that holds some, FerretDB, a real MongoDB."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo import MongoClient

from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.core.accounts import Accounts
from onlyvips.errors import Transient
from tests import firehose
from tests.conftest import Lab
from tests.mongo_tools import dumped

pytestmark = pytest.mark.lab
MONGODB = os.environ.get("ONLYVIPS_TEST_MONGODB_URI", "")
DATABASE = "bench"


@pytest.fixture
def uri(lab: Lab, tmp_path: Path) -> Iterator[str]:
    """A stand-in with a user and a role of the database, and one of each that are not."""
    firehose.put_accounts(tmp_path)
    with firehose.running(f"-folder={tmp_path}") as (uri, _):
        yield uri


def names(documents: bytes) -> list[str]:
    return [one["_id"] for one in bson.decode_all(documents)]


def test_those_of_the_database_are_read_and_no_other(uri: str):
    found = MongoDatabase(uri).accounts(DATABASE)
    assert (names(found.users), names(found.roles)) == (["bench.api"], ["bench.reader"])
    assert names(found.notes) == ["featureCompatibilityVersion", "authSchema"]
    assert (found.lacking, found.denied) == ("", False)


def test_a_database_without_any_says_so(uri: str):
    found = MongoDatabase(uri).accounts("other")
    assert found.lacking == "none: other has none of its own (those that were made in admin are not its own)"
    assert not found.denied


@pytest.mark.parametrize("hidden", ["users", "roles", "version"])
def test_what_may_not_be_read_is_told_with_the_role_that_is_missing(lab: Lab, tmp_path: Path, hidden: str):
    firehose.put_accounts(tmp_path, denied=hidden)
    with firehose.running(f"-folder={tmp_path}") as (uri, _):
        found = MongoDatabase(uri).accounts(DATABASE)
    assert found == Accounts(lacking=found.lacking, denied=True)
    assert "not kept: the server does not let us read those of bench" in found.lacking
    assert "the role `backup` of database admin" in found.lacking


def test_users_that_mongorestore_would_not_take_are_not_kept_and_told(lab: Lab, tmp_path: Path):
    firehose.put_accounts(tmp_path)
    firehose.put(tmp_path, "$admin.system.version", [])
    with firehose.running(f"-folder={tmp_path}") as (uri, _):
        found = MongoDatabase(uri).accounts(DATABASE)
    assert found.lacking.startswith(
        "not kept: 1 users and 1 roles of bench, for admin.system.version has no authSchema"
    )


def test_a_server_that_is_away_may_be_asked_again():
    with pytest.raises(Transient, match="see that it runs"):
        MongoDatabase("mongodb://127.0.0.1:1/", connect_timeout=0.3).accounts(DATABASE)


def test_users_of_ferretdb_are_told_and_not_kept_for_no_tool_brings_them_back(lab: Lab):
    uri, name = lab.env["ONLYVIPS_LAB_MONGODB_URI"], f"accounts_{os.urandom(4).hex()}"
    assert MongoDatabase(uri).accounts(name).lacking.startswith(f"none: {name} has none of its own")
    with MongoClient[dict[str, Any]](uri) as client:
        client.admin["system.users"].insert_one({"_id": f"{name}.api", "db": name})  # it has no createUser here
        try:
            found = MongoDatabase(uri).accounts(name)
        finally:
            client.admin["system.users"].drop()
    assert found.lacking.startswith(
        f"not kept: 1 users and 0 roles of {name}, which ferretdb keeps in a way of its own"
    )


if MONGODB:

    def test_a_real_server_gives_what_mongodump_has(lab: Lab, tmp_path: Path):
        name = f"accounts_{os.urandom(4).hex()}"
        with MongoClient[dict[str, Any]](MONGODB) as client:
            client[name].things.insert_one({"_id": 1})
            client[name].command("createRole", "reader", privileges=[], roles=["read"])
            client[name].command("createUser", "api", pwd="very secret", roles=["reader"])
            try:
                found = MongoDatabase(MONGODB).accounts(name)
                theirs = dumped(lab, MONGODB, name, tmp_path / "archive")
            finally:
                client[name].command("dropAllUsersFromDatabase")
                client[name].command("dropAllRolesFromDatabase")
                client.drop_database(name)
        assert names(found.users) == [f"{name}.api"]
        assert [found.users, found.roles, found.notes] == [theirs[one] for one in sorted(theirs) if "$admin" in one]
