"""Prune on simulators: what goes is written down first, what is locked stays, and a death leaves no half backup."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace

import pytest

from onlyvips.core.catalog import Backup, read_catalog
from onlyvips.core.locking import LockPlan
from onlyvips.core.manifest import seconds
from onlyvips.core.retention import Policy
from onlyvips.core.verification import verification_key
from onlyvips.errors import Fenced, Permanent, Refused, Transient
from onlyvips.steps.backup import Run
from onlyvips.steps.base import take_base
from onlyvips.steps.locks import locks_of
from onlyvips.steps.preflight import check_lock
from onlyvips.steps.prune import By, Pruned, may_delete, prune
from onlyvips.steps.repair import Repair, repair
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.survey import Place, Rules, Survey, survey
from tests.procedures.test_backup import PLAN, FixedClock, SimulatedDatabase, document
from tests.simulators.objects import Killed, Life, SimulatedStore
from tests.simulators.pruner import SimulatedPruner

HOUR, DAY = 3600.0, 86400.0
START = FixedClock().now()
LOCK = LockPlan("governance", {"mongodb": 2 * DAY})
RULES = Rules({"mongodb": Policy(last=2, locked_for=2 * DAY)}, DAY)


class At(FixedClock):
    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


def by(at: float, **options: object) -> By:
    return By(At(at), os.urandom, **options)  # type: ignore[arg-type]


def places() -> list[Place]:
    """Two destinations that only keep, and one with versions and object lock."""
    plain = [SimulatedStore(name) for name in "ab"]
    locked = SimulatedStore("c", versioned=True, lock=LOCK)
    return [Place(store, SimulatedPruner(store), store is locked) for store in (*plain, locked)]


def stores(found: Sequence[Place]) -> list[SimulatedStore]:
    return [place.store for place in found if isinstance(place.store, SimulatedStore)]


def lives(found: Sequence[Place], life: Life) -> None:
    """One process writes to all of them."""
    for store in stores(found):
        store._life = life


def moved_to(found: Sequence[Place], at: float) -> None:
    for store in stores(found):
        store.now = at


def take(found: Sequence[Place], at: float, run: str = "") -> str:
    """A backup taken at ``at``; returns its prefix."""
    moved_to(found, at)
    source = SimulatedDatabase({"users": [document(1)], "orders": [document(2)]})
    entropy = int(at).to_bytes(4, "big")
    taken = take_base(source, stores(found), PLAN, Run(3, At(at), lambda n: entropy[:n], key=run))
    assert not taken.degraded
    return taken.manifest.prefix


def days(found: Sequence[Place], count: int) -> list[str]:
    return [take(found, START + number * DAY) for number in range(count)]


def look(found: Sequence[Place], at: float, rules: Rules = RULES, *, probes: bool = False) -> Survey:
    moved_to(found, at)
    return survey(found, "lab", "mongodb", rules, at, probes=probes)


def pruned(found: Sequence[Place], at: float, rules: Rules = RULES) -> Pruned:
    return prune(look(found, at, rules, probes=True), found, by(at))


def whole(found: Sequence[Place]) -> list[str]:
    """Backups that are complete everywhere, by the catalog."""
    return [one.prefix for one in catalog(found) if one.manifest and len(one.complete) == len(found)]


def catalog(found: Sequence[Place]) -> list[Backup]:
    return read_catalog(read_shelves(stores(found), "lab"))


def traces(found: Sequence[Place], prefix: str) -> list[str]:
    """Every key and every version of what is below ``prefix``, anywhere."""
    return [
        key for store in stores(found) for key in [*store.objects, *(key for key, _ in store.older)] if prefix in key
    ]


def test_what_retention_no_longer_keeps_goes_from_every_destination_with_all_its_versions():
    found = places()
    backups = days(found, 5)
    again = found[2].store.upload(backups[0] + "objects/0001-app.users.archive.zst.age", over=True)
    again.write(b"as a repair does")
    again.finish()
    done = pruned(found, START + 9 * DAY)
    assert done.removed == tuple(prefix.split("/")[2] for prefix in backups[:3]) and not done.failures
    assert whole(found) == backups[3:]
    assert [traces(found, prefix) for prefix in backups[:3]] == [[], [], []]
    assert pruned(found, START + 9 * DAY).removed == ()


def test_a_survey_changes_nothing_and_says_what_a_prune_then_does():
    found = places()
    days(found, 4)
    before = [dict(store.objects) for store in stores(found)]
    told = look(found, START + 9 * DAY)
    assert [dict(store.objects) for store in stores(found)] == before
    done = prune(told, found, by(START + 9 * DAY))
    assert done.removed == tuple(one.backup.name for one in told.going) and len(done.removed) == 2


def test_the_intent_is_in_every_destination_before_anything_goes():
    found = places()
    backups = days(found, 3)
    told = look(found, START + 9 * DAY)
    seen = []

    def check() -> None:
        seen.append([any("/evidence/prune/" in key for key in store.objects) for store in stores(found)])

    done = prune(told, found, by(START + 9 * DAY, check=check, who="Ada"))
    assert seen[-1] == [True, True, True]
    document = json.loads(found[0].store.objects[done.evidence])  # type: ignore[attr-defined]
    assert (document["by"], [one["backup"] for one in document["backups"]]) == ("Ada", backups[:1])
    assert document["backups"][0]["why"] == ["it is beyond the last 2"]


def test_without_a_destination_that_takes_the_intent_nothing_goes():
    found = places()
    backups = days(found, 3)
    for store in stores(found):
        store.refuses_key("/evidence/prune/")
    with pytest.raises(Permanent, match="Nothing was removed, for no destination took the evidence"):
        pruned(found, START + 9 * DAY)
    assert whole(found) == backups


def test_what_is_locked_stays_everywhere_and_goes_once_the_lock_ran_out():
    found = places()
    backups = [take(found, START + number * HOUR) for number in range(3)]
    told = look(found, START + 2 * DAY - HOUR)
    assert not told.going
    assert "locked until 2026-08-03T12:00:00Z" in told.decisions[0].reasons[0]
    pruned(found, START + 2 * DAY - HOUR)
    assert whole(found) == backups
    pruned(found, START + 2 * DAY + HOUR)
    assert whole(found) == backups[1:]


def test_what_stays_is_locked_for_longer_before_its_lock_runs_out_and_a_tier_at_once():
    found = places()
    backups = days(found, 1)
    store = found[2].store
    assert look(found, START + HOUR).extensions == ()
    pruned(found, START + 1.5 * DAY)
    assert locks_of(catalog(found), stores(found)) == {
        (backups[0], "a"): 0,
        (backups[0], "b"): 0,
        (backups[0], "c"): START + 3.5 * DAY,
    }
    monthly = replace(RULES, policies={"mongodb": Policy(last=1, monthly=3, locked_for=2 * DAY)})
    pruned(found, START + 1.6 * DAY, monthly)
    assert locks_of(catalog(found), stores(found))[backups[0], "c"] == seconds("2026-11-01T00:00:00Z")
    assert look(found, START + 1.6 * DAY, monthly).extensions == ()
    assert isinstance(store, SimulatedStore) and not any("journal" in key for key, _ in store.locks)


def test_a_death_while_locks_are_made_longer_leaves_it_to_be_done_again():
    for death in range(1, 12):
        found = places()
        (backup,) = days(found, 1)
        now = START + 1.5 * DAY
        lives(found, Life(death))
        try:
            pruned(found, now)
        except Killed:
            lives(found, Life())
            pruned(found, now)
        assert locks_of(catalog(found), stores(found))[backup, "c"] == now + 2 * DAY


def test_a_death_at_any_line_leaves_whole_backups_or_none_and_the_next_prune_ends_it():
    life = Life()
    found = places()
    days(found, 4)
    lives(found, life)
    pruned(found, START + 9 * DAY)
    assert life.writes > 20
    for death in range(1, life.writes + 1):
        found = places()
        backups = days(found, 4)
        lives(found, Life(death))
        with pytest.raises(Killed):
            pruned(found, START + 9 * DAY)
        lives(found, Life())
        for one in catalog(found):
            assert one.manifest is None or one.complete, "a manifest that nobody has the objects of"
            assert one.manifest is None or all(
                copy.complete or copy.flaws == ("has no manifest",) for copy in one.copies
            ), "a copy with a manifest and without all objects"
        assert set(backups[2:]) <= set(whole(found))
        pruned(found, START + 9 * DAY)
        assert whole(found) == backups[2:]
        assert [traces(found, prefix) for prefix in backups[:2]] == [[], []]


def test_a_destination_that_refuses_the_manifest_keeps_its_objects_and_the_others_go_on():
    found = places()
    backups = days(found, 4)
    pruner = found[2].pruner
    assert isinstance(pruner, SimulatedPruner)
    pruner.refuses(f"{backups[0]}manifest.json")
    done = pruned(found, START + 9 * DAY)
    assert len(done.failures) == 1 and "403 AccessDenied" in done.failures[0]
    assert done.removed == (backups[1].split("/")[2],)
    assert whole(found) == [backups[0], *backups[2:]]
    pruner.refuses("")
    pruned(found, START + 9 * DAY)
    assert whole(found) == backups[2:]


def test_nothing_goes_while_a_destination_is_away():
    found = places()
    backups = days(found, 4)
    stores(found)[1].goes_away_while_reading()
    with pytest.raises(Transient, match="Nothing was removed, for what a destination has is not known: b: "):
        pruned(found, START + 9 * DAY)
    stores(found)[1]._free_to_read = True
    assert whole(found) == backups


def test_a_prune_whose_lease_was_lost_stops():
    found = places()
    backups = days(found, 4)

    def lost() -> None:
        raise Fenced("Somebody else writes now.")

    with pytest.raises(Fenced):
        prune(look(found, START + 9 * DAY), found, by(START + 9 * DAY, check=lost))
    assert whole(found) == backups


def test_a_repair_of_a_locked_copy_leaves_the_damaged_version_behind_it_and_both_go_in_the_end():
    found = places()
    backups = days(found, 3)
    key = next(key for key in found[2].store.objects if backups[0] in key and "users" in key)  # type: ignore[attr-defined]
    stores(found)[2].objects[key] = b"damaged"
    moved_to(found, START + 3 * DAY)
    (damaged,) = [one for one in catalog(found) if one.prefix == backups[0]]
    assert [one.why for one in repair(damaged, stores(found), Repair(9, At(START + 3 * DAY)))] == ["", "", ""]
    assert whole(found) == backups
    assert len([one for one in found[2].pruner.versions(key)]) == 2
    assert "locked until" in look(found, START + 4 * DAY).decisions[0].reasons[0]
    pruned(found, START + 6 * DAY)
    assert whole(found) == backups[1:] and traces(found, backups[0]) == []


# --- leftovers


def orphan(found: Sequence[Place], at: float) -> str:
    """What a run that died at ``at`` left."""
    prefix = take(found, at)
    for store in stores(found):
        del store.objects[prefix + "manifest.json"]
    return prefix


def test_what_a_dead_run_left_goes_after_the_longest_run_and_not_before():
    found = places()
    left = orphan(found, START)
    assert look(found, START + DAY - HOUR).going == []
    pruned(found, START + 3 * DAY)
    assert traces(found, left) == []


def test_of_what_a_dead_run_left_the_locked_stays_and_is_told():
    found = places()
    left = orphan(found, START)
    done = pruned(found, START + 1.5 * DAY)
    assert {store.name for store in stores(found) if any(left in key for key in store.objects)} == {"c"}
    assert len(done.left) == 5 and all("at c is locked until 2026-08-03T12:00:00Z" in told for told in done.left)
    assert not done.failures and done.removed == ()
    pruned(found, START + 3 * DAY)
    assert traces(found, left) == []


def test_what_lost_its_manifest_to_a_deletion_is_no_leftover():
    """In a bucket with versions a delete hides; whoever did that, the older version is still there."""
    found = places()
    prefix = orphan(found, START)
    store = stores(found)[2]
    store.older[prefix + "manifest.json", "v0001"] = b"{}"
    (decision,) = look(found, START + 9 * DAY).decisions
    assert decision.action == "keep" and "find out who did that" in decision.reasons[0]


def test_what_only_older_versions_tell_of_is_found_and_removed():
    found = places()
    store = stores(found)[2]
    store.older["lab/mongodb/20260701T000000Z-abcdabcd-e1/objects/one", "v0001"] = b"x"
    assert len(look(found, START).going) == 1
    pruned(found, START)
    assert store.older == {}


def test_uploads_and_probes_that_are_old_go_and_young_ones_stay():
    found = places()
    moved_to(found, START)
    for place in found:
        place.store.upload("lab/mongodb/x-e1/objects/old").write(b"x")
        place.store.put_new(f"probes/old/{place.name}", b"x")
    moved_to(found, START + 2 * DAY)
    for place in found:
        place.store.upload("lab/mongodb/x-e1/objects/young").write(b"x")
        place.store.put_new(f"probes/young/{place.name}", b"x")
    assert len(look(found, START + 2 * DAY).leftovers) == 3
    done = pruned(found, START + 2 * DAY)
    assert done.leftovers == 6
    assert {key for store in stores(found) for key in store.uploads} == {"lab/mongodb/x-e1/objects/young"}
    assert {key.split("/")[1] for key in traces(found, "probes/")} == {"young"}


def test_of_read_backs_the_newest_stay_and_those_of_what_went_go():
    found = places()
    backups = days(found, 3)
    for prefix in backups:
        for number in range(8):
            when = f"2026-08-05T0{number}:00:00Z"
            for place in found:
                place.store.put_new(verification_key(prefix, "a", when, True, "n"), b"{}")
    assert pruned(found, START + 9 * DAY).leftovers == 3 * (8 + 3 + 3)
    for store in stores(found):
        left = [key.split("/")[6][:13] for key in store.objects if "evidence/verify" in key]
        assert left == [f"2026-08-05T0{number}" for number in range(3, 8)] * 2
        assert not any(backups[0].strip("/") in key.replace("evidence/verify/", "") for key in store.objects)


def test_the_journal_of_a_finished_backup_goes_after_the_longest_run():
    found = places()
    prefix = take(found, START)
    for place in found:
        place.store.put_new(prefix + "journal/begun.json", b"{}")
    assert pruned(found, START + DAY - 1).leftovers == 0
    assert pruned(found, START + DAY + 1).leftovers == 3
    assert whole(found) == [prefix] and not traces(found, "journal/")


# --- two credentials


def test_who_may_delete_is_found_out_by_trying():
    (place,) = places()[:1]
    pruner = SimulatedPruner(place.store)  # type: ignore[arg-type]
    assert may_delete(place.store, pruner, "n1")
    pruner.refuses("probes/")
    assert not may_delete(place.store, pruner, "n2")
    assert traces([place], "probes/") == ["probes/n2/a-delete"]


def test_a_destination_that_promises_a_lock_and_has_none_is_refused_before_anything_is_read():
    found = stores(places())
    check_lock(found[2:])
    with pytest.raises(Refused, match="a is immutable in the environment, and a has no object lock: nothing was read"):
        check_lock(found)


def test_a_destination_that_cannot_be_asked_about_its_lock_is_told_of_when_it_is_written_to():
    class Away(SimulatedStore):
        def cannot_lock(self) -> str:
            raise Transient("nothing answers")

    check_lock([Away("a")])
