"""A base is closed by the oplog of its own window: opened before it reads, read last, whole or no base at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core.archive import Corrupt
from onlyvips.core.catalog import read_catalog
from onlyvips.core.manifest import Manifest
from onlyvips.core.oplog import OBJECT
from onlyvips.core.oplog_entry import Position, parse
from onlyvips.core.restore import Wanted, plan_restore
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports import EVERYTHING, Namespace
from onlyvips.steps.backup import Run, Session, Taken, take
from onlyvips.steps.base import base
from onlyvips.steps.journal import find_begun
from onlyvips.steps.repair import Repair, repair
from onlyvips.steps.shelves import read_shelves
from tests.procedures.test_backup import PLAN, FixedClock, database, manifests, stores
from tests.procedures.test_slices import Later, Logged, bad, plain, reborn
from tests.simulators.objects import Killed, Life, SimulatedStore
from tests.simulators.oplog import NOTHING_BEFORE, START, SimulatedOplog, after, command, entry, run_of, session

RUN = Run(3, Later(), lambda n: b"\xab" * n)
RENAME = command(START + 30, ns="app.$cmd", renameCollection="app.a", to="app.b")
COLLMOD = command(START + 30, ns="app.$cmd", collMod="orders", validator={})
OLD_UPDATE = entry(START + 31, op="u", o={"$set": {"n": 1}}, o2={"_id": 1})
APPLY: dict[str, Any] = {"applyOps": [{"op": "i", "ns": "app.orders", "o": {"_id": 9}}]}


class Busy(Logged):
    """Something happens to the log while the collections are read."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        super().__init__(database().collections)
        self._meanwhile = meanwhile
        self.read: list[str] = []

    def documents(self, namespace: Namespace, where: bytes = EVERYTHING) -> Iterator[bytes]:
        self.read.append(namespace.collection)
        yield from super().documents(namespace, where)
        if namespace.collection == "users":
            self._meanwhile()


def session_of(
    log: SimulatedOplog, places: Sequence[SimulatedStore], source: Logged | None = None, run: Run = RUN
) -> Session:
    begun = find_begun(places, "lab", "mongodb", run.key) if run.key else None
    found = base(source or Busy(), places, replace(PLAN, workers=1), run, begun, log)
    found.begin()
    return found


def take_base(log: SimulatedOplog, places: Sequence[SimulatedStore], source: Logged | None = None) -> Taken:
    return take(session_of(log, places, source))


def window(one: Manifest) -> tuple[str, str]:
    assert one.window is not None
    return one.window.start.ts, one.window.end.ts


def test_a_base_holds_the_oplog_from_before_its_first_document_to_after_its_last():
    log, places = SimulatedOplog(*run_of(3)), stores("a", "b")
    during = [entry(START + 10), entry(START + 11, op="n", ns="")]
    taken = take_base(log, places, Busy(lambda: log.write(*during))).manifest
    assert taken.oplog == "local.oplog.rs"
    assert window(taken) == (f"{START + 2}:1", f"{START + 11}:1")
    assert [one.key for one in taken.objects][-1] == OBJECT and len(taken.objects) == 4
    for place in places:
        assert plain(place, taken) == b"".join(log.log[2:])
    assert bad(places) == []
    assert taken.documents == sum(one.documents for record in taken.objects[:-1] for one in record.namespaces)


def test_a_base_of_a_quiet_server_holds_one_entry():
    log, places = SimulatedOplog(*run_of(3)), stores("a")
    taken = take_base(log, places).manifest
    assert window(taken) == (f"{START + 2}:1", f"{START + 2}:1")
    assert plain(places[0], taken) == log.log[-1]


def test_without_an_oplog_a_base_has_no_window():
    places = stores("a")
    taken = take(base(Busy(), places, PLAN, RUN)).manifest
    assert (taken.oplog, taken.window, len(taken.objects)) == ("none", None, 3)


def test_a_window_begins_with_the_oldest_open_transaction():
    log, places = SimulatedOplog(*run_of(5)), stores("a")
    log.transactions = [Position(START + 3, 1), Position(START + 1, 1)]
    assert window(take_base(log, places).manifest) == (f"{START + 1}:1", f"{START + 4}:1")
    log.transactions = [Position(START - 50, 1)]
    with pytest.raises(Permanent, match="began before the oldest entry of the oplog"):
        take_base(log, places)


def test_an_oplog_overrun_during_the_base_leaves_no_base():
    log, places = SimulatedOplog(*run_of(3)), stores("a", "b")

    def overrun() -> None:
        log.write(*run_of(9, START + 10))
        log.drop_first(6)

    with pytest.raises(Permanent, match=r"overrun while the base was read .* make the oplog bigger"):
        take_base(log, places, Busy(overrun))
    assert manifests(places[0]) == manifests(places[1]) == []


def rolled_back(log: SimulatedOplog) -> None:
    log.log[-1:] = run_of(2, START + 10, term=2)


PARTS = {"o": {**APPLY, "partialTxn": True}, **session()}


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        (lambda log: log.write(RENAME), "a collection was renamed"),
        (lambda log: log.write(command(START + 30, importCollection="app.x")), "was imported"),
        (lambda log: log.write(entry(START + 30, op="u", ns="admin.system.version")), "compatibility version"),
        (lambda log: log.write(command(START + 30, ns="config.$cmd", create="reshardingOperations")), "resharded"),
        (lambda log: log.write(COLLMOD), r"cannot be replayed .no replay can do collMod .app.orders"),
        (lambda log: log.write(entry(START + 30, ns="app.system.views", o={"_id": "app.v"})), "changes a view"),
        (rolled_back, "became another one"),
        (
            lambda log: log.write(entry(START + 30, op="c", ns="admin.$cmd", **PARTS, **after(START - 9))),
            f"a transaction went on that began before its window .{START + 30}:1",
        ),
    ],
)
def test_what_no_replay_can_do_abandons_the_base_which_is_taken_again(
    meanwhile: Callable[[SimulatedOplog], object], why: str
):
    log, places = SimulatedOplog(*run_of(3)), stores("a", "b")
    with pytest.raises(Transient, match=rf"{why}.*again"):
        take_base(log, places, Busy(lambda: meanwhile(log)))
    assert manifests(places[0]) == manifests(places[1]) == []
    log.write(entry(START + 60, term=2, op="n"))
    again = take(base(Busy(), places, PLAN, replace(RUN, epoch=4), oplog=log))
    assert not again.degraded


def test_a_transaction_within_the_window_is_no_harm():
    log, places = SimulatedOplog(*run_of(3)), stores("a")
    parts = (
        entry(START + 5, op="c", ns="admin.$cmd", **PARTS, **NOTHING_BEFORE),
        entry(START + 6, op="c", ns="admin.$cmd", o=APPLY, **session(), **after(START + 5)),
    )
    assert not take_base(log, places, Busy(lambda: log.write(*parts))).degraded


def test_a_source_whose_log_is_in_disorder_gives_no_base():
    log, places = SimulatedOplog(*run_of(3)), stores("a")
    with pytest.raises(Corrupt, match="no entry in order"):
        take_base(log, places, Busy(lambda: log.write(entry(START + 9), *run_of(2, START + 8))))
    assert manifests(places[0]) == []


def test_updates_of_an_old_server_end_no_base_which_says_that_none_of_ours_restores_it():
    log, places = SimulatedOplog(*run_of(3)), stores("a")
    taken = take_base(log, places, Busy(lambda: log.write(OLD_UPDATE)))
    told = f"{START + 31}:1 an update by $set is that of a server before MongoDB 5.0"
    assert taken.manifest.fact("not_replayable") == told
    for at in ("latest", taken.manifest.id):
        with pytest.raises(Refused, match=r"cannot be restored whole: .*before MongoDB 5\.0.*own tools may do it"):
            plan_restore("lab", read_catalog(read_shelves(places, "lab")), {}, Wanted(at))


@pytest.mark.parametrize(("last", "why"), [(RENAME, "a collection was renamed .app"), (COLLMOD, "can do collMod")])
def test_a_base_does_not_begin_while_the_last_entry_is_one_that_it_may_not_have(last: bytes, why: str):
    log, places, source = SimulatedOplog(*run_of(3), last), stores("a"), Busy()
    with pytest.raises(Transient, match=rf"{why}.*wait for the next entry"):
        take_base(log, places, source)
    assert source.read == [] and places[0].objects == {}


# --- retries

KEYED = replace(RUN, key="run-1")
LATER = replace(KEYED, epoch=4, entropy=lambda n: b"\xcd" * n)


def died_in_the_middle(log: SimulatedOplog) -> list[SimulatedStore]:
    """One collection is done, and journalled."""
    places = stores("a", "b")
    first = session_of(log, places, run=KEYED)
    first.write(first.keys[0])
    return places


def test_a_retry_keeps_the_start_of_the_first_attempts_window():
    log = SimulatedOplog(*run_of(3))
    places, source = died_in_the_middle(log), Busy()
    log.write(*run_of(4, START + 20))
    second = session_of(log, places, source, LATER)
    assert second.resumed
    taken = take(second).manifest
    assert window(taken) == (f"{START + 2}:1", f"{START + 23}:1")
    assert source.read == ["users", "empty"]
    assert plain(places[0], taken) == b"".join(log.log[2:])


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda log: log.write(RENAME),
        lambda log: log.write(COLLMOD),
        lambda log: (log.write(*run_of(4, START + 40)), log.drop_first(4)),
        rolled_back,
        lambda log: log.write(entry(START + 30, op="c", ns="admin.$cmd", **PARTS, **after(START - 9))),
    ],
)
def test_a_retry_begins_anew_where_the_first_window_cannot_be_closed_any_more(
    meanwhile: Callable[[SimulatedOplog], object],
):
    log = SimulatedOplog(*run_of(3))
    places = died_in_the_middle(log)
    meanwhile(log)
    log.write(entry(START + 60, term=2, op="n"))
    second = session_of(log, places, run=LATER)
    assert not second.resumed
    taken = take(second).manifest
    assert window(taken)[0] == parse(log.log[-1]).edge.ts
    assert bad(places) == []


def test_a_retry_without_an_oplog_does_not_go_on_with_a_base_that_had_one():
    log = SimulatedOplog(*run_of(3))
    places = died_in_the_middle(log)
    begun = find_begun(places, "lab", "mongodb", "run-1")
    assert not base(Busy(), places, PLAN, LATER, begun).resumed


def test_closing_a_base_may_be_tried_again_with_what_came_meanwhile():
    log, places = SimulatedOplog(*run_of(3)), stores("a", "b")
    tried = session_of(log, places, run=KEYED)
    for key in tried.keys:
        tried.write(key)
    places[0].refuses_key("copies/")
    places[1].refuses_key("copies/")
    with pytest.raises(Permanent, match="no destination has a complete copy"):
        tried.publish()
    again = reborn(places)
    log.write(*run_of(2, START + 50))
    taken = take(session_of(log, again, run=LATER))
    assert window(taken.manifest)[1] == f"{START + 51}:1"
    assert not taken.degraded and bad(again) == []


def test_a_death_at_any_write_leaves_no_base_whose_window_is_not_whole():
    log, alive = SimulatedOplog(*run_of(3)), Life()
    take(session_of(log, stores("a", "b", life=alive), run=KEYED))
    for death in range(1, alive.writes + 1):
        log, places = SimulatedOplog(*run_of(3)), stores("a", "b", life=Life(death))
        with pytest.raises(Killed):
            take(session_of(log, places, run=KEYED))
        log.write(*run_of(3, START + 20))
        again = reborn(places)
        taken = take(session_of(log, again, run=LATER))
        assert taken.manifest.window is not None
        for backup in read_catalog(read_shelves(again, "lab")):
            if backup.manifest:
                repair(backup, again, Repair(9, FixedClock()))
        assert bad(again) == []
