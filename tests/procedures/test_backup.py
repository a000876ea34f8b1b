"""One base on simulators: what is published, what is left out, and what a death at any write leaves."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import fastcrc
import pyrage
import pytest
from backports import zstd

from onlyvips.core.accounts import Accounts
from onlyvips.core.archive import Closed, Prelude, Reader
from onlyvips.core.manifest import copy_from_json, manifest_from_json
from onlyvips.core.plan import BackupPlan
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports import EVERYTHING, Namespace
from onlyvips.steps.backup import Run, Taken
from onlyvips.steps.base import take_base
from onlyvips.steps.copies import probe_stores, put_once
from tests.simulators.objects import Killed, Life, SimulatedStore
from tests.simulators.queries import only

IDENTITIES = [pyrage.x25519.Identity.generate() for _ in range(2)]
PLAN = BackupPlan(
    environment="lab",
    kind="mongodb",
    database="app",
    uri="",
    destinations=(),
    recipients=tuple(str(identity.to_public()) for identity in IDENTITIES),
    zstd_level=3,
    zstd_threads=0,
    workers=2,
    stall_timeout=30.0,
    part_size=5 << 20,
    object_size=0,
    split_above=0,
    lock="none",
)


def document(number: int, padding: int = 0) -> bytes:
    body = b"\x10_id\0" + struct.pack("<i", number) + b"\x05p\0" + struct.pack("<i", padding) + b"\0" + b"x" * padding
    return struct.pack("<i", len(body) + 5) + body + b"\0"


class SimulatedDatabase:
    """Collections of raw batches; may break off, or change while it is read."""

    def __init__(self, collections: dict[str, list[bytes]]) -> None:
        self.collections = collections
        self.breaks_in = ""
        self.gains = ""
        self.known = Accounts(lacking="none: there is nobody")

    def server(self) -> Mapping[str, str]:
        return {"version": "7.0.0", "dialect": "simulated", "oplog": "none"}

    def namespaces(self, database: str) -> list[Namespace]:
        return [Namespace(database, name, "collection", f'{{"indexes":[],"of":"{name}"}}') for name in self.collections]

    def accounts(self, database: str) -> Accounts:
        return self.known

    def documents(self, namespace: Namespace, where: bytes = EVERYTHING) -> Iterator[bytes]:
        for batch in self.collections[namespace.collection]:
            yield batch if where == EVERYTHING else only(batch, where)
            if namespace.collection == self.breaks_in:
                raise Transient("The database went away.")
        if self.gains:
            self.collections.setdefault(self.gains, [])

    def duplicates(self, database: str, collection: str, keys: Sequence[str], limit: int) -> list[str]:
        raise AssertionError("must not be called")


class FixedClock:
    def now(self) -> float:
        return 1785585600.0

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError("must not be called")


def database() -> SimulatedDatabase:
    incompressible = [document(n, 0) + document(-n, 60_000 + n) for n in range(1, 4)]
    return SimulatedDatabase({"orders": incompressible, "users": [document(1), document(2)], "empty": []})


def take(source: SimulatedDatabase, *stores: SimulatedStore, **options: object) -> Taken:
    run = Run(3, FixedClock(), lambda n: b"\xab" * n)
    if "on_progress" in options:
        run = replace(run, on_progress=options.pop("on_progress"))
    return take_base(source, stores, replace(PLAN, **options), run)


def stores(*names: str, life: Life | None = None) -> list[SimulatedStore]:
    return [SimulatedStore(name, life) for name in names]


def manifests(store: SimulatedStore) -> list[str]:
    return [key for key in store.objects if key.endswith("/manifest.json")]


def unpack(data: bytes, identity: int) -> tuple[Prelude, Closed, bytes]:
    """What ``age -d | zstd -d`` gives, through the strict reader."""
    reader = Reader(fastcrc.crc64.xz)
    events = reader.feed(zstd.decompress(pyrage.decrypt(data, [IDENTITIES[identity]])))
    reader.finish()
    assert isinstance(events[0], Prelude)
    assert isinstance(events[-1], Closed)
    return events[0], events[-1], b"".join(event.data for event in events[1:-1])


def test_every_copy_holds_every_collection_for_either_identity():
    source, destinations = database(), stores("a", "b", "c")
    base = take(source, *destinations)
    assert not base.degraded
    assert base.key == "lab/mongodb/20260801T120000Z-abababab-e3/manifest.json"
    assert len(base.manifest.objects) == 3
    for identity, store in ((0, destinations[0]), (1, destinations[1]), (0, destinations[2])):
        for record in base.manifest.objects:
            head, closed, data = unpack(store.objects[base.manifest.prefix + record.key], identity)
            (namespace,) = record.namespaces
            assert data == b"".join(source.collections[namespace.collection])
            assert (closed.count, closed.size) == (namespace.documents, namespace.bytes)
            assert f"{closed.crc64:016x}" == namespace.crc64
            assert head.entries[0].metadata == namespace.metadata
            assert head.server_version == "7.0.0"


def test_what_is_published_is_the_manifest_and_where_the_copies_are():
    a, b = stores("a", "b")
    base = take(database(), a, b)
    for store in (a, b):
        assert manifest_from_json(store.objects[base.key]) == base.manifest
        for name in ("a", "b"):
            record = copy_from_json(store.objects[f"{base.manifest.prefix}copies/{name}-3.json"])
            assert [held.key for held in record.objects] == [held.key for held in base.manifest.objects]
            assert all(held.version for held in record.objects)
    assert base.manifest.oplog == "none"
    assert base.manifest.copies == ("a", "b")
    assert a.uploads == set()


def test_progress_counts_all_collections_together():
    seen: list[tuple[int, int]] = []
    base = take(database(), *stores("a"), on_progress=lambda size, documents: seen.append((size, documents)))
    assert seen == sorted(seen)
    assert seen[-1] == (sum(n.bytes for o in base.manifest.objects for n in o.namespaces), base.manifest.documents)


@pytest.mark.parametrize("fault", ["refuses", "full", "flipped", "unreadable"])
def test_a_destination_that_fails_is_left_out_and_the_backup_is_degraded(fault: str):
    a, b = stores("a", "b")
    expected = {
        "refuses": ("AccessDenied", b.refuses_writes),
        "full": ("no space is left", lambda: b.runs_full(after_bytes=50_000)),
        "flipped": ("reads back as", lambda: b.flips_a_bit("app.users")),
        "unreadable": ("connection broke", b.goes_away_while_reading),
    }
    why, inject = expected[fault]
    inject()
    source = database()
    source.collections["noise"] = [document(n) + _noise(n) for n in range(4)]
    base = take(source, a, b)
    assert base.degraded
    assert [(outcome.name, outcome.complete) for outcome in base.destinations] == [("a", True), ("b", False)]
    assert why in base.destinations[1].why
    assert base.manifest.copies == ("a",)
    assert base.manifest.dropped[0].name == "b"
    assert why in base.manifest.dropped[0].why
    assert manifests(a) == [base.key]
    assert manifests(b) == []
    assert b.uploads == set()


def _noise(seed: int) -> bytes:
    """A document that does not compress."""
    body = hashlib.shake_256(seed.to_bytes(4, "little")).digest(64_000)
    inner = b"\x05p\0" + struct.pack("<i", len(body)) + b"\0" + body
    return struct.pack("<i", len(inner) + 5) + inner + b"\0"


def test_a_destination_that_stalls_is_left_out():
    a, b = stores("a", "b")
    b.stalls()
    try:
        base = take(database(), a, b, stall_timeout=1.0)
    finally:
        b.flows()
    assert base.degraded
    assert "stalled" in base.destinations[1].why
    assert manifests(a) == [base.key]


def test_a_destination_that_stalls_with_much_to_come_does_not_fill_memory():
    a, b = stores("a", "b")
    b.stalls()
    source = SimulatedDatabase({"big": [_noise(n) for n in range(200)]})
    try:
        base = take(source, a, b, stall_timeout=1.0)
    finally:
        b.flows()
    assert "confirmed nothing of objects/0001-app.big.archive.zst.age for 1 s" in base.destinations[1].why


def test_a_manifest_that_cannot_be_written_makes_no_copy():
    a, b = stores("a", "b")
    b.flips_a_bit("manifest.json")
    base = take(database(), a, b)
    assert [outcome.complete for outcome in base.destinations] == [True, False]
    assert "does not read back" in base.destinations[1].why


def test_no_complete_copy_is_no_backup_and_says_why():
    a, b = stores("a", "b")
    a.refuses_writes()
    b.flips_a_bit("app.")
    with pytest.raises(Permanent, match=r"no destination has a complete copy \(.*a: a: cannot write") as raised:
        take(database(), a, b)
    assert "b: b: " in str(raised.value)
    assert "reads back" in str(raised.value)
    assert "no manifest was written" in str(raised.value)
    assert manifests(a) == manifests(b) == []
    assert a.uploads == b.uploads == set()


@pytest.mark.parametrize("collection", ["orders", "users"])
def test_a_source_that_breaks_off_leaves_no_backup_and_no_uploads(collection: str):
    a, b = stores("a", "b")
    source = database()
    source.breaks_in = collection
    with pytest.raises(Transient, match="The database went away"):
        take(source, a, b)
    assert manifests(a) == manifests(b) == []
    assert a.uploads == b.uploads == set()


def test_a_batch_cut_short_leaves_no_backup():
    a = SimulatedStore("a")
    with pytest.raises(Permanent, match=r"app\.orders: the server sent a batch"):
        take(SimulatedDatabase({"orders": [document(1)[:-3]]}), a)
    assert manifests(a) == []


def test_collections_that_change_while_they_are_read_are_no_backup():
    a, source = SimulatedStore("a"), database()
    source.gains = "new"
    with pytest.raises(Transient, match="changed while it was read"):
        take(source, a)
    assert manifests(a) == []


def test_a_caller_that_is_fenced_stops_the_backup():
    a = SimulatedStore("a")

    def fenced(size: int, documents: int) -> None:
        raise Permanent("Somebody else drives this release.")

    with pytest.raises(Permanent, match="Somebody else"):
        take(database(), a, on_progress=fenced)
    assert manifests(a) == []
    assert a.uploads == set()


@pytest.mark.parametrize(
    "recipients", [(), PLAN.recipients[:1], PLAN.recipients[:1] * 2, (PLAN.recipients[0], "age1x")]
)
def test_fewer_than_two_good_recipients_are_refused_before_anything_is_written(recipients: tuple[str, ...]):
    a = SimulatedStore("a")
    with pytest.raises(Refused, match="correct the environment"):
        take(database(), a, recipients=recipients)
    assert a.objects == {}


def test_a_death_at_any_write_leaves_either_no_manifest_or_a_backup_that_is_whole():
    """And taking it again afterwards works, whatever the dead one left."""
    alive = Life()
    take(database(), *stores("a", "b", life=alive))
    assert alive.writes > 20
    for death in range(1, alive.writes + 1):
        a, b = stores("a", "b", life=Life(death))
        with pytest.raises(Killed):
            take(database(), a, b)
        for store in (a, b):
            for key in manifests(store):
                _assert_whole(store, key)
        assert len(manifests(a)) + len(manifests(b)) < 2
        _assert_taken_again(a, b)


def _assert_whole(store: SimulatedStore, key: str) -> None:
    manifest = manifest_from_json(store.objects[key])
    for record in manifest.objects:
        assert unpack(store.objects[manifest.prefix + record.key], 0)[1].count == record.namespaces[0].documents


def _assert_taken_again(*dead: SimulatedStore) -> None:
    again = stores("a", "b")
    for store, before in zip(again, dead, strict=True):
        store.objects = dict(before.objects)
    base = take_base(database(), again, PLAN, Run(4, FixedClock(), lambda n: b"\xcd" * n))
    assert not base.degraded
    assert all(base.key in store.objects for store in again)


# --- the probe


def test_stores_that_take_and_give_back_pass_the_probe():
    destinations = stores("a", "b")
    probe_stores(destinations, nonce="n1")
    assert [len(store.objects) for store in destinations] == [1, 1]


def test_the_probe_refuses_and_names_everything_that_is_wrong():
    a, b, c = stores("a", "b", "c")
    a.refuses_writes()
    b.runs_full(after_bytes=3)
    with pytest.raises(Refused, match="AccessDenied.*no space is left"):
        probe_stores([a, b, c], nonce="n1")


def test_the_probe_notices_a_store_that_hangs():
    a, b = stores("a", "b")
    b.stalls()
    try:
        with pytest.raises(Refused, match="stalled"):
            probe_stores([a, b], nonce="n1", stall=1.0)
    finally:
        b.flows()


def test_two_destinations_that_are_one_place_are_refused():
    a, b = stores("a", "b")
    b.objects = a.objects
    with pytest.raises(Refused, match="a and b are the same place"):
        probe_stores([a, b], nonce="n1")


def test_two_destinations_of_one_name_are_refused():
    with pytest.raises(Refused, match="different names"):
        probe_stores(stores("a", "a"), nonce="n1")


def test_a_store_that_confirms_or_finds_something_else_is_no_copy():
    for method, lie, why in (
        ("_store", lambda stored: replace(stored, sha256="0" * 64), "confirmed"),
        ("head", lambda stored: replace(stored, size=stored.size + 1), "says it has"),
        ("head", lambda stored: None, "says it has nothing"),
    ):
        a, b = stores("a", "b")
        honest = getattr(b, method)
        setattr(b, method, lambda *asked, honest=honest, lie=lie: lie(honest(*asked)))
        base = take(database(), a, b)
        assert [outcome.complete for outcome in base.destinations] == [True, False]
        assert why in base.destinations[1].why
        assert manifests(b) == []


def test_a_small_object_that_is_there_with_other_bytes_is_not_taken_for_ours():
    a = SimulatedStore("a")
    a.objects["k"] = b"theirs"
    with pytest.raises(Permanent, match="a: k does not read back as it was written"):
        put_once(a, "k", b"ours")
    put_once(a, "k", b"theirs")
    assert a.objects == {"k": b"theirs"}


def test_a_manifest_that_no_destination_keeps_is_no_backup():
    a, b = stores("a", "b")
    a.flips_a_bit("manifest.json")
    b.flips_a_bit("manifest.json")
    with pytest.raises(Permanent, match="no destination confirmed its manifest"):
        take(database(), a, b)


def test_every_frame_carries_zstds_own_checksum():
    """So that ``zstd -d`` alone notices what changed, too."""
    (a,) = stores("a")
    base = take(database(), a)
    for record in base.manifest.objects:
        frame = pyrage.decrypt(a.objects[base.manifest.prefix + record.key], [IDENTITIES[0]])
        assert frame[:4] == b"\x28\xb5\x2f\xfd" and frame[4] & 0b100
