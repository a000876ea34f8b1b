"""AccountsTarget's contract: the simulator, a stand-in of MongoDB, and a real MongoDB where there is one."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import bson
import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.target_accounts_mongodb import MongoAccounts
from onlyvips.core.accounts import Accounts
from onlyvips.core.restore_accounts import EQUAL, compared
from onlyvips.errors import Refused, Transient
from onlyvips.ports.accounts import AccountsTarget
from tests import firehose
from tests.conftest import Lab
from tests.simulators.accounts import SimulatedAccounts

MONGODB = os.environ.get("ONLYVIPS_TEST_MONGODB_URI", "")
SERVERS = [
    "simulator",
    pytest.param("firehose", marks=pytest.mark.lab),
    *([pytest.param("mongodb", marks=pytest.mark.lab)] if MONGODB else []),
]


@dataclass
class Place:
    """A server, and a database of which it has no users."""

    target: AccountsTarget
    database: str

    def user(self, name: str, **more: Any) -> bytes:
        told = {
            "_id": f"{self.database}.{name}",
            "user": name,
            "db": self.database,
            "roles": [],
            "credentials": firehose.CREDENTIALS,
        }
        return bson.encode({**told, **more})

    def role(self, name: str) -> bytes:
        told = {"_id": f"{self.database}.{name}", "role": name, "db": self.database, "privileges": [], "roles": []}
        return bson.encode(told)

    def has(self, users: bytes, roles: bytes = b"") -> None:
        """Raise unless the server has these and no other, byte by byte."""
        there, wanted = self.target.read(self.database), Accounts(users, roles)
        assert all(state == EQUAL for _, state in compared(wanted, there) + compared(there, wanted))


@pytest.fixture(params=SERVERS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    database = f"people_{os.urandom(4).hex()}"
    if request.param == "simulator":
        yield Place(SimulatedAccounts(), database)
    elif request.param == "firehose":
        with firehose.running("-store") as (uri, _):
            yield Place(MongoAccounts(MongoDatabase(uri)), database)
    else:
        yield Place(MongoAccounts(MongoDatabase(MONGODB)), database)
        with MongoClient[dict[str, Any]](MONGODB) as client:
            for command in ("dropAllUsersFromDatabase", "dropAllRolesFromDatabase"):
                with suppress(OperationFailure):
                    client[database].command(command)


def test_a_server_says_how_it_keeps_them_and_a_database_without_any_has_none(place: Place):
    assert place.target.schema() == 5
    assert place.target.read(place.database) == Accounts()


def test_what_is_put_is_there_only_once_it_is_merged_byte_by_byte(place: Place):
    users, roles = place.user("api", customData={"é": 1}) + place.user("bot"), place.role("reader")
    place.target.put(users, roles)
    place.has(b"")
    place.target.merge(place.database)
    place.has(users, roles)


def test_doing_all_of_it_again_ends_the_same(place: Place):
    users = place.user("api")
    for _ in range(2):
        place.target.put(users, b"")
        place.target.merge(place.database)
        place.target.clear()
        place.has(users)


def test_only_those_of_the_database_are_merged(place: Place):
    other = Place(place.target, f"{place.database}_2")
    place.target.put(place.user("api") + other.user("api"), other.role("reader"))
    place.target.merge(place.database)
    place.target.clear()
    place.has(place.user("api"))
    other.has(b"")


def test_what_is_there_already_stays_as_it_is_without_a_word(place: Place):
    for users in (place.user("api", n=1) + place.user("stays"), place.user("api", n=2) + place.user("bot")):
        place.target.put(users, b"")
        place.target.merge(place.database)
    place.has(place.user("api", n=1) + place.user("stays") + place.user("bot"))


def test_what_a_dead_run_put_is_not_merged_later(place: Place):
    place.target.put(place.user("old"), place.role("old"))
    place.target.put(place.user("new"), b"")
    place.target.merge(place.database)
    place.has(place.user("new"))


def test_asking_whether_we_may_merges_nothing_and_once_cleared_nothing_is_left_to_merge(place: Place):
    place.target.put(place.user("api"), b"")
    place.target.schema()
    place.has(b"")
    for _ in range(2):
        place.target.clear()
    place.target.merge(place.database)
    place.has(b"")


@pytest.mark.lab
@pytest.mark.parametrize("denied", ["_mergeauthzcollections", "getparameter", "find system.users", "find system.roles"])
def test_what_we_may_not_do_is_refused_with_the_roles_that_it_takes(denied: str):
    with firehose.running("-store", f"-deny={denied}") as (uri, _):
        target = MongoAccounts(MongoDatabase(uri))
        with pytest.raises(Refused, match=r"code 13.*nothing was changed.*`restore` and `backup` of database admin"):
            (target.read("app") if "find" in denied else target.schema())


@pytest.mark.lab
@pytest.mark.parametrize(("told", "schema"), [(3, 3), (0, 5)])
def test_a_server_that_knows_of_no_schema_has_the_only_one_that_is_left(told: int, schema: int):
    with firehose.running("-store", f"-schema={told}") as (uri, _):
        assert MongoAccounts(MongoDatabase(uri)).schema() == schema


@pytest.mark.lab
def test_a_server_without_the_command_takes_none():
    told = "takes no users and roles out of a backup .code 59.: nothing was changed"
    with firehose.running("-store", "-lacks=_mergeauthzcollections") as (uri, _), pytest.raises(Refused, match=told):
        MongoAccounts(MongoDatabase(uri)).schema()


@pytest.mark.lab
def test_ferretdb_takes_none(lab: Lab):
    with pytest.raises(Refused, match="ferretdb keeps users and roles in a way of its own"):
        MongoAccounts(MongoDatabase(lab.env["ONLYVIPS_LAB_MONGODB_URI"])).schema()


def test_a_server_that_is_away_may_be_asked_again():
    with pytest.raises(Transient, match="see that it runs"):
        MongoAccounts(MongoDatabase("mongodb://127.0.0.1:1/", connect_timeout=0.3)).read("app")


def test_a_connection_that_nobody_has_any_more_is_closed_by_a_thread_that_may_wait(monkeypatch: pytest.MonkeyPatch):
    """The collector comes upon any thread: upon one that has to answer for another connection, too."""
    closed, by, really = threading.Event(), list[threading.Thread](), MongoClient.close

    def close(client: MongoClient[Any]) -> None:
        by.append(threading.current_thread())
        really(client)
        closed.set()

    database = MongoDatabase("mongodb://127.0.0.1:9/")
    monkeypatch.setattr(MongoClient, "close", close)
    del database
    gc.collect()
    assert closed.wait(60) and by[0] is not threading.current_thread()
