"""Slices of the oplog on simulators: put together they are the log, whatever dies; where it broke, that is said."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyrage
import pytest
from backports import zstd

from onlyvips.core.audit import whole
from onlyvips.core.catalog import by_kind, read_catalog
from onlyvips.core.manifest import Manifest, Window, moment
from onlyvips.core.oplog import OBJECT, OPEN_SINCE, QUIET_UNTIL, breaks
from onlyvips.core.oplog_chain import chain
from onlyvips.core.oplog_entry import Position, parse
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.steps.backup import Run, Session, Taken, take
from onlyvips.steps.base import base
from onlyvips.steps.preflight import check_oplog
from onlyvips.steps.repair import Repair, repair
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.slices import Known, slice_session
from onlyvips.steps.verify import Reading, verify
from tests.procedures.test_backup import IDENTITIES, FixedClock, SimulatedDatabase, database, stores
from tests.procedures.test_backup import PLAN as BASE_PLAN
from tests.simulators.objects import Killed, Life, SimulatedStore
from tests.simulators.oplog import NOTHING_BEFORE, START, SimulatedOplog, after, entry, run_of, session

PLAN = replace(BASE_PLAN, kind="oplog", database="")
NOW = START + 1000.0
_epochs = iter(range(10, 1 << 30))


class Later(FixedClock):
    """After all that is in the logs."""

    def now(self) -> float:
        return NOW


class Logged(SimulatedDatabase):
    """A database with an oplog."""

    def server(self) -> dict[str, str]:
        return {**super().server(), "oplog": "local.oplog.rs"}


def take_base(log: SimulatedOplog, places: Sequence[SimulatedStore], seed: int = 0xAA) -> Manifest:
    run = Run(next(_epochs), Later(), lambda n: bytes([seed]) * n)
    return take(base(Logged(database().collections), places, BASE_PLAN, run, oplog=log)).manifest


def known(places: Sequence[SimulatedStore]) -> Known:
    shelves = read_shelves(places, "lab")
    kinds = by_kind(read_catalog(shelves))
    told = breaks(key for shelf in shelves for key in shelf.sizes)
    return Known(whole(kinds.get("mongodb", [])), whole(kinds.get("oplog", [])), told)


def a_slice(log: SimulatedOplog, places: Sequence[SimulatedStore], **more: Any) -> Session:
    run = Run(next(_epochs), Later(), lambda n: b"\xab" * n, **more)
    found = slice_session(log, known(places), places, PLAN, run)
    found.begin()
    return found


def take_slice(log: SimulatedOplog, places: Sequence[SimulatedStore]) -> Taken:
    return take(a_slice(log, places))


def plain(store: SimulatedStore, one: Manifest) -> bytes:
    """What ``age -d | zstd -d`` gives."""
    return zstd.decompress(pyrage.decrypt(store.objects[one.prefix + OBJECT], [IDENTITIES[1]]))


def replayed(places: Sequence[SimulatedStore]) -> list[bytes]:
    """The log that the newest chain gives, from the last store, without the doubled boundaries."""
    found = known(places)
    (newest,) = sorted(found.bases, key=lambda one: one.id)[-1:]
    log: list[bytes] = []
    for one in chain(newest, found.slices).slices:
        data, entries = plain(places[-1], one), []
        while data:
            size = int.from_bytes(data[:4], "little")
            entries.append(data[:size])
            data = data[size:]
        assert not log or log[-1] == entries[0]
        log += entries[1:] if log else entries
    return log


def facts(one: Manifest) -> dict[str, str]:
    return {fact.name: fact.value for fact in one.facts}


def bad(places: Sequence[SimulatedStore], decrypt: bool = True) -> list[str]:
    """What a read-back of everything finds wrong."""
    keys = tuple(IDENTITIES[:1]) if decrypt else ()
    reading = Reading(Later(), os.urandom, identities=keys)
    found = [
        one
        for backup in read_catalog(read_shelves(places, "lab"))
        if backup.manifest
        for one in verify(backup, places, reading)
    ]
    return [f"{one.destination}: {each.key} {each.why}" for one in found for each in one.damage]


# --- slices


def test_slices_from_the_bases_start_put_together_are_the_log():
    log, places = SimulatedOplog(*run_of(5)), stores("a", "b")
    start = take_base(log, places)
    for number in range(1, 5):
        log.write(*run_of(7, START + 10 * number))
        taken = take_slice(log, places)
        assert taken.manifest.window == Window(taken.manifest.window.start, parse(log.log[-1]).edge, 8)  # type: ignore[union-attr]
    assert replayed(places) == log.log[4:]
    assert start.window is not None and start.window.start == parse(log.log[4]).edge
    assert bad(places) == []


def test_a_slice_is_one_object_named_by_its_ends_below_the_timeline_of_the_base():
    log, places = SimulatedOplog(*run_of(2)), stores("a")
    took = take_base(log, places)
    log.write(entry(START + 60, 5))
    taken = take_slice(log, places).manifest
    line = took.id.replace("-", ".")
    assert taken.prefix == f"lab/oplog/{line}/20260801T120001Z-1-20260801T120100Z-5-e{taken.epoch}/"
    assert (taken.timeline, taken.oplog, taken.server.dialect) == (line, "local.oplog.rs", "simulated")
    assert [one.key for one in taken.objects] == ["objects/oplog.bson.zst.age"]
    assert taken.documents == 2


def test_noops_are_kept_for_they_are_the_heartbeat():
    log, places = SimulatedOplog(*run_of(1)), stores("a")
    take_base(log, places)
    log.write(entry(START + 10, op="n", ns=""), entry(START + 20, op="n", ns=""))
    assert take_slice(log, places).manifest.window.end.ts == f"{START + 20}:1"  # type: ignore[union-attr]
    assert replayed(places) == log.log


def test_a_quiet_interval_is_one_entry_and_the_moment_until_which_nothing_was_written():
    log, places = SimulatedOplog(*run_of(3)), stores("a", "b")
    took = take_base(log, places)
    for _ in range(2):
        taken = take_slice(log, places).manifest
        assert taken.window is not None and taken.window.start == taken.window.end and taken.window.entries == 1
        assert facts(taken)[QUIET_UNTIL] == moment(NOW)
    assert chain(took, known(places).slices).until == NOW - 1


def test_a_slice_with_entries_says_too_until_when_none_came_after_them():
    log, places = SimulatedOplog(*run_of(3)), stores("a")
    took = take_base(log, places)
    log.write(entry(START + 50))
    taken = take_slice(log, places).manifest
    assert taken.window is not None and taken.window.end.ts == f"{START + 50}:1"
    assert facts(taken)[QUIET_UNTIL] == moment(NOW)
    assert chain(took, known(places).slices).until == NOW - 1
    assert replayed(places) == log.log[2:]


def test_a_worker_whose_clock_is_ahead_says_no_later_moment_than_the_server():
    log, places = SimulatedOplog(*run_of(3), now=NOW - 3600), stores("a")
    take_base(log, places)
    assert facts(take_slice(log, places).manifest)[QUIET_UNTIL] == moment(NOW - 3600)


def test_what_is_written_while_one_looks_is_no_quiet_interval():
    log, places = SimulatedOplog(*run_of(3)), stores("a")
    take_base(log, places)
    looks = iter([lambda: None, lambda: log.write(entry(START + 9))])
    log.before_newest = lambda: next(looks, lambda: None)()
    taken = take_slice(log, places).manifest
    assert QUIET_UNTIL not in facts(taken) and taken.window.entries == 2  # type: ignore[union-attr]


def test_a_transaction_that_straddles_a_boundary_is_whole_in_two_slices_and_named_in_the_first():
    log, places = SimulatedOplog(*run_of(2)), stores("a")
    take_base(log, places)
    who, apply = session(), {"applyOps": [{"op": "i", "ns": "app.orders", "o": {"_id": 9}}]}
    first = entry(START + 5, op="c", ns="admin.$cmd", o={**apply, "partialTxn": True}, **who, **NOTHING_BEFORE)
    log.write(first, entry(START + 6))
    assert facts(take_slice(log, places).manifest)[OPEN_SINCE] == f"{START + 5}:1"
    log.write(entry(START + 20, op="c", ns="admin.$cmd", o=apply, **who, **after(START + 5)))
    assert OPEN_SINCE not in facts(take_slice(log, places).manifest)
    assert replayed(places) == log.log[1:]
    log.transactions = [Position(START + 3, 2)]
    assert facts(take_slice(log, places).manifest)[OPEN_SINCE] == f"{START + 3}:2"


# --- what is refused, what is broken


def test_without_a_base_no_slice_is_taken():
    log, places = SimulatedOplog(*run_of(3)), stores("a")
    with pytest.raises(Refused, match=r"No base .* onlyvips backup run -e lab --kind mongodb"):
        take_slice(log, places)
    take(base(database(), places, BASE_PLAN, Run(1, Later(), lambda n: b"\x01" * n)))  # without an oplog
    with pytest.raises(Refused, match="No base"):
        take_slice(log, places)
    assert not [key for key in places[0].objects if "/oplog/" in key]


def broken_by(name: str, log: SimulatedOplog) -> None:
    if name == "overflow":
        log.write(*run_of(5, START + 50))
        log.drop_first(len(log.log) - 3)
    elif name == "gap":
        log.log = [entry(START + 60, 1, 1, "n", "", o={"msg": "initiating set"}), *run_of(3, START + 61)]
    elif name == "rollback":
        log.log = [*log.log[:-2], *run_of(3, START + 60, term=2)]
    else:
        at = parse(log.log[-1]).position
        log.log = [*log.log[:-1], entry(*at, term=2), *run_of(3, START + 60, term=2)]


@pytest.mark.parametrize("fault", ["overflow", "gap", "rollback", "rollback of the very entry"])
def test_a_break_is_told_at_once_kept_as_evidence_once_and_healed_by_a_new_base(fault: str):
    name = fault.split()[0]
    log, places = SimulatedOplog(*run_of(5)), stores("a", "b")
    take_base(log, places)
    log.write(*run_of(5, START + 20))
    old = take_slice(log, places).manifest
    broken_by(fault, log)
    for _ in range(2):
        with pytest.raises(Permanent, match=rf"broken \({name}\).*backup run -e lab --kind mongodb") as raised:
            take_slice(log, places)
        assert not isinstance(raised.value, Refused)
    (told,) = known(places).breaks
    assert (told.timeline, told.name, told.position) == (old.timeline, name, (START + 24, 1))
    evidence = [[key for key in place.objects if "/evidence/oplog/" in key] for place in places]
    assert len(evidence[0]) == 1 and evidence[0] == evidence[1]
    new = take_base(log, places, 0xBB)
    log.write(entry(START + 90, term=parse(log.log[-1]).term))
    taken = take_slice(log, places).manifest
    assert taken.timeline == new.id.replace("-", ".") != old.timeline
    assert facts(taken)["follows"].startswith(f"{old.timeline}, broken after {START + 24}:1 ({name}")
    assert replayed(places) == log.log[-2:]


def test_a_break_is_told_though_no_destination_takes_the_evidence():
    log, places = SimulatedOplog(*run_of(5)), stores("a")
    take_base(log, places)
    log.drop_first(5)
    log.write(*run_of(2, START + 30))
    places[0].refuses_key("/evidence/")
    with pytest.raises(Permanent, match=r"broken \(overflow\).*Not every destination took the evidence"):
        take_slice(log, places)


def test_an_overflow_while_a_slice_is_read_leaves_none_and_is_a_break():
    log, places = SimulatedOplog(*run_of(3)), stores("a")
    take_base(log, places)
    log.write(*run_of(9, START + 10))
    found = a_slice(log, places)
    log.drop_first(4)
    with pytest.raises(Permanent, match=r"broken \(overflow\)"):
        take(found)
    assert len(known(places).breaks) == 1
    assert not known(places).slices


def test_an_end_that_does_not_come_is_asked_again():
    log, places = SimulatedOplog(*run_of(3)), stores("a")
    take_base(log, places)
    log.write(*run_of(3, START + 10))
    found = a_slice(log, places)
    del log.log[-1]
    with pytest.raises(Transient, match=f"to be read to {START + 12}:1"):
        take(found)
    assert not known(places).slices


def test_a_source_without_an_oplog_is_refused_before_anything_is_read():
    class None_(SimulatedOplog):
        def describe(self) -> dict[str, str]:
            raise Permanent("The database keeps no oplog: make it a replica set.")

    for source in (None_(*run_of(1)), SimulatedOplog()):
        with pytest.raises(Refused, match="No slice of the oplog can be taken: .* Nothing was read"):
            check_oplog(source)
    check_oplog(SimulatedOplog(*run_of(1)))


# --- deaths, retries, two writers, damage


def reborn(places: Sequence[SimulatedStore]) -> list[SimulatedStore]:
    found = stores(*(place.name for place in places))
    for place, before in zip(found, places, strict=True):
        place.objects = dict(before.objects)
    return found


@pytest.mark.parametrize("key", ["", "run-1"])
def test_a_death_at_any_write_loses_no_entry_and_leaves_no_slice_that_is_not_whole(key: str):
    log, first = SimulatedOplog(*run_of(3)), stores("a", "b")
    take_base(log, first)
    log.write(*run_of(5, START + 10))
    alive = Life()
    places = stores("a", "b", life=alive)
    for place, before in zip(places, first, strict=True):
        place.objects = dict(before.objects)
    take(a_slice(log, places, key=key))
    assert alive.writes > 10
    for death in range(1, alive.writes + 1):
        dying, full = stores("a", "b", life=Life(death)), SimulatedOplog(*log.log)
        for place, before in zip(dying, first, strict=True):
            place.objects = dict(before.objects)
        with pytest.raises(Killed):
            take(a_slice(full, dying, key=key))
        again = reborn(dying)
        for one in known(again).slices:
            assert any(
                plain(place, one) == b"".join(log.log[2:]) for place in again if one.prefix + OBJECT in place.objects
            )
        full.write(*run_of(2, START + 30))
        take(a_slice(full, again, key=key))
        for backup in read_catalog(read_shelves(again, "lab")):
            if backup.manifest:
                repair(backup, again, Repair(next(_epochs), Later()))
        assert replayed(again) == full.log[2:]
        assert bad(again) == []


def test_two_writers_that_overlap_break_nothing():
    """The lease keeps them apart; one that comes back from the dead still publishes what is true."""
    log, places = SimulatedOplog(*run_of(3)), stores("a", "b")
    take_base(log, places)
    log.write(*run_of(3, START + 10))
    zombie = a_slice(log, places)
    log.write(*run_of(3, START + 20))
    take_slice(log, places)
    take(zombie)
    log.write(*run_of(3, START + 30))
    take_slice(log, places)
    assert replayed(places) == log.log[2:]


def test_a_slice_that_was_lost_everywhere_is_taken_again_while_the_oplog_has_it():
    log, places = SimulatedOplog(*run_of(3)), stores("a", "b")
    take_base(log, places)
    for number in (1, 2, 3):
        log.write(*run_of(3, START + 10 * number))
        taken = take_slice(log, places).manifest
        if number == 2:
            lost = taken.prefix
    for place in places:
        place.objects = {key: data for key, data in place.objects.items() if not key.startswith(lost)}
    assert chain(known(places).bases[0], known(places).slices).why
    take_slice(log, places)
    assert replayed(places) == log.log[2:]


def rewritten(data: bytes) -> bytes:
    """The same, encrypted anew, as if it were ours."""
    recipients = [pyrage.x25519.Recipient.from_str(key) for key in PLAN.recipients]
    return pyrage.encrypt(zstd.compress(data), recipients)


@pytest.mark.parametrize("what", ["flipped", "an entry less", "an entry more", "out of order"])
def test_a_slice_that_is_not_what_its_manifest_says_is_found(what: str):
    log, places = SimulatedOplog(*run_of(3)), stores("a", "b")
    take_base(log, places)
    log.write(*run_of(4, START + 10))
    one = take_slice(log, places).manifest
    key, inside = one.prefix + OBJECT, log.log[2:]
    data = places[0].objects[key]
    places[0].objects[key] = {
        "flipped": data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
        "an entry less": rewritten(b"".join(inside[1:])),
        "an entry more": rewritten(b"".join([*inside, entry(START + 99)])),
        "out of order": rewritten(b"".join(inside[::-1])),
    }[what]
    for decrypt in (True, False):
        (found,) = bad(places, decrypt)
        assert found.startswith(f"a: {OBJECT} ")
    repair(
        next(one for one in read_catalog(read_shelves(places, "lab")) if one.kind == "oplog"),
        places,
        Repair(99, Later()),
    )
    assert bad(places) == []
