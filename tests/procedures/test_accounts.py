"""Users and roles of the database in a base: an object of its own, told in the manifest, never a hash outside of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import bson
import fastcrc
import pyrage
import pytest
from backports import zstd

from onlyvips.core import restore_report as report
from onlyvips.core.accounts import NOTES, ROLES, USERS, Accounts
from onlyvips.core.archive import Closed, Documents, Prelude, Reader
from onlyvips.core.catalog import read_catalog
from onlyvips.core.manifest import ACCOUNTS, WARNING, Manifest, ObjectRecord
from onlyvips.core.restore import Wanted, plan_restore
from onlyvips.errors import Transient
from onlyvips.steps.backup import Taken, take
from onlyvips.steps.opened import open_object
from onlyvips.steps.restore import restore
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.sound import Reader as Sound
from tests.procedures.test_backup import IDENTITIES, SimulatedDatabase, database, manifests, stores
from tests.procedures.test_backup_resume import RUN, reborn, session
from tests.simulators.clock import SimClock
from tests.simulators.objects import Killed, Life, SimulatedStore
from tests.simulators.target import SimulatedTarget

SECRET = "c3RvcmVkS2V5IGlzIGEgc2VjcmV0"
KNOWN = Accounts(
    users=bson.encode({"_id": "app.api", "db": "app", "credentials": {"SCRAM-SHA-256": {"storedKey": SECRET}}})
    + bson.encode({"_id": "app.bot", "db": "app"}),
    roles=bson.encode({"_id": "app.reader", "db": "app", "role": "reader"}),
    notes=bson.encode({"_id": "authSchema", "currentVersion": 5}),
)


def peopled(known: Accounts = KNOWN) -> SimulatedDatabase:
    source = database()
    source.known = known
    return source


def taken_of(places: Sequence[SimulatedStore], known: Accounts = KNOWN) -> Taken:
    return take(session(peopled(known), places))


def accounts_of(manifest: Manifest) -> list[ObjectRecord]:
    return [one for one in manifest.objects if any(each.type == ACCOUNTS for each in one.namespaces)]


def inside(place: SimulatedStore, manifest: Manifest) -> tuple[Prelude, dict[str, bytes]]:
    """The head of the object of users and roles, and the documents by collection."""
    (record,) = accounts_of(manifest)
    reader = Reader(fastcrc.crc64.xz)
    head, *events = reader.feed(
        zstd.decompress(pyrage.decrypt(place.objects[manifest.prefix + record.key], IDENTITIES[:1]))
    )
    reader.finish()
    assert isinstance(head, Prelude)
    found = {one.collection: b"" for one in events if isinstance(one, Closed)}
    for one in events:
        if isinstance(one, Documents):
            found[one.collection] += one.data
    return head, found


def test_users_and_roles_are_an_object_of_their_own_as_mongodump_names_them():
    places = stores("a", "b")
    manifest = taken_of(places).manifest
    head, found = inside(places[1], manifest)
    assert found == {USERS: KNOWN.users, ROLES: KNOWN.roles, NOTES: KNOWN.notes}
    assert [(one.database, one.metadata, one.type) for one in head.entries] == [("app", "", "")] * 3
    (record,) = accounts_of(manifest)
    assert [(one.collection, one.documents) for one in record.namespaces] == [(USERS, 2), (ROLES, 1), (NOTES, 1)]
    assert record.key == "objects/0004-app.users_and_roles.archive.zst.age"
    assert manifest.fact("users_and_roles") == f"kept: those of app, in {record.key}"
    assert manifest.documents == 8, "of collections alone"
    data = places[0].objects[manifest.prefix + record.key]
    assert open_object(iter([data]), record, IDENTITIES[:1]) == ""


def test_no_hash_of_a_password_is_anywhere_but_encrypted():
    places = stores("a")
    taken_of(places)
    assert len(places[0].objects) > 5
    assert all(SECRET.encode() not in data for data in places[0].objects.values())
    assert SECRET not in repr(KNOWN)


def test_roles_that_are_none_are_an_empty_collection():
    places = stores("a")
    _, found = inside(places[0], taken_of(places, replace(KNOWN, roles=b"")).manifest)
    assert found[ROLES] == b"" and found[USERS] == KNOWN.users


@pytest.mark.parametrize("denied", [False, True])
def test_where_there_are_none_to_keep_the_manifest_says_why_and_what_was_denied_warns(denied: bool):
    places = stores("a")
    manifest = taken_of(places, Accounts(lacking="not kept: ask for the role `backup`", denied=denied)).manifest
    assert accounts_of(manifest) == [] and len(manifest.objects) == 3
    assert manifest.fact("users_and_roles") == "not kept: ask for the role `backup`"
    warned = "users and roles are not kept: ask for the role `backup`"
    assert manifest.fact(WARNING) == (warned if denied else "")


def test_users_that_go_while_the_base_is_read_abandon_it():
    places, source = stores("a"), peopled()
    begun = session(source, places)
    source.known = Accounts(lacking="none: all gone")
    with pytest.raises(Transient, match="there when the base began, and are no more: take it again"):
        take(begun)
    assert manifests(places[0]) == []


def test_a_death_at_any_write_is_gone_on_from_and_users_are_whole():
    alive = Life()
    take(session(peopled(), stores("a", life=alive)))
    for death in range(1, alive.writes + 1):
        places = stores("a", life=Life(death))
        with pytest.raises(Killed):
            take(session(peopled(), places))
        again = reborn(places)
        manifest = take(session(peopled(), again, replace(RUN, epoch=4, entropy=lambda n: b"\xcd" * n))).manifest
        _, found = inside(again[0], manifest)
        assert found[USERS] == KNOWN.users
        assert manifest.fact("users_and_roles").startswith("kept: those of app, in objects/0004")


def test_a_restore_leaves_them_alone_and_says_so_before_and_after():
    places = stores("a")
    taken_of(places)
    plan = plan_restore("lab", read_catalog(read_shelves(places, "lab")), {}, Wanted("latest", ("app.*=other.*",)))
    told = "users and roles: kept: those of app, in objects/0004-app.users_and_roles.archive.zst.age: this leaves them"
    assert any(told in line for line in report.lines(plan, "an hour"))
    assert [one.target for one in plan.coming] == ["other.orders", "other.users", "other.empty"]
    target = SimulatedTarget()
    reader = Sound({one.name: one for one in places}, IDENTITIES[:1], lambda doing, size: None, 1)
    done = restore(plan, target, reader, SimClock())
    assert target.collections("other") == ["empty", "orders", "users"] and target.collections("app") == []
    assert told.replace("users", "Users", 1) in report.done(done)
    assert report.result(done)["accounts"] in report.as_json(plan, "an hour")["notes"]
