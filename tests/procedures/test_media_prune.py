"""Prune of media on simulators: what no backup needs goes, what any needs stays, in every destination."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from onlyvips.core.catalog import newest
from onlyvips.core.locking import LockPlan
from onlyvips.core.retention import Policy
from onlyvips.errors import Permanent
from onlyvips.steps.locks import locks_of
from onlyvips.steps.prune import By, Pruned, prune
from onlyvips.steps.survey import Place, Rules, Survey, survey
from tests.procedures.media import Minutes, begin, brought_back, catalog, name_of, published, synced, take
from tests.procedures.test_media import MEDIA, small_is_less_than_a_kilobyte
from tests.simulators.media import SimulatedMedia, SimulatedTree
from tests.simulators.objects import Killed, Life, SimulatedStore
from tests.simulators.pruner import SimulatedPruner

__all__ = ["small_is_less_than_a_kilobyte"]
LATER = Minutes(100_000)
DAY = 86400.0


def trees() -> list[SimulatedTree]:
    """A directory, and a bucket that keeps versions and whose writer cannot remove."""
    found = [SimulatedTree(SimulatedStore("disk")), SimulatedTree(SimulatedStore("s3", versioned=True))]
    found[1].may_remove = False
    return found


def places(found: Sequence[SimulatedTree]) -> list[Place]:
    return [Place(tree.store, SimulatedPruner(tree.store), False, tree) for tree in found]


def look(found: Sequence[SimulatedTree], keep: int) -> Survey:
    return survey(places(found), "lab", "media", Rules({"media": Policy(last=keep)}, DAY), LATER.now())


def pruned(found: Sequence[SimulatedTree], keep: int) -> Pruned:
    return prune(look(found, keep), places(found), By(LATER, os.urandom))


def versions(tree: SimulatedTree) -> set[bytes]:
    return {data for key, data in tree.store.objects.items() if "/media-versions/" in key}


def test_what_a_sync_must_not_bring_back_goes_and_what_backups_need_stays():
    source, found = SimulatedMedia(MEDIA), trees()
    first = name_of(take(source, found))
    source.replace_all({"a.jpg": b"new"})
    second = name_of(take(source, found))
    assert set(synced(found[1].store.objects)) == set(MEDIA), "they linger"
    done = pruned(found, keep=9)
    assert not done.failures and done.removed == ()
    for tree in found:
        assert synced(tree.store.objects) == {"a.jpg": b"new"}
        assert brought_back(tree.store.objects, first) == MEDIA
        assert brought_back(tree.store.objects, second) == {"a.jpg": b"new"}
        assert not [key for key, _ in tree.store.older if "media-tree" in key]


def test_versions_that_only_removed_backups_named_go_with_the_next_prune():
    source, found = SimulatedMedia(MEDIA), trees()
    for number in range(4):
        source.write("a.jpg", str(number).encode())
        take(source, found)
    assert len(published(found[0])) == 4 and versions(found[1]) == {b"0", b"1", b"2"}
    assert len(pruned(found, keep=2).removed) == 2
    pruned(found, keep=2)
    for tree in found:
        assert len(published(tree)) == 2 and versions(tree) == {b"2"}
        for name in published(tree):
            assert set(brought_back(tree.store.objects, name)) == set(MEDIA)
    assert look(found, keep=2).leftovers == ()


def test_what_a_run_that_died_had_put_into_the_tree_is_left_for_its_next_attempt():
    source, found = SimulatedMedia(MEDIA), trees()
    take(source, found)
    source.write("new", b"n")
    session = begin(source, found)
    for key in session.keys:
        session.write(key)
    pruned(found, keep=1)
    assert synced(found[0].store.objects)["new"] == b"n"


def test_a_file_whose_bytes_are_kept_nowhere_is_never_removed():
    source, found = SimulatedMedia(MEDIA), trees()
    take(source, found)
    found[0].store.objects["lab/media-tree/stranger"] = b"who?"
    assert [one for one in look(found, keep=1).leftovers if "stranger" in one.version.key] == []


def test_while_an_index_cannot_be_read_nothing_of_the_media_is_removed():
    source, found = SimulatedMedia(MEDIA), trees()
    first = name_of(take(source, found))
    source.write("a.jpg", b"2")
    take(source, found)
    for tree in found:
        key = next(key for key in tree.store.objects if first in key and "0001-index" in key)
        tree.store.objects[key] = b"?"
    before = [dict(tree.store.objects) for tree in found]
    with pytest.raises(Permanent, match=f"No destination gives the index of {first}"):
        look(found, keep=1)
    assert [tree.store.objects for tree in found] == before


# --- locks


SPAN = 2 * DAY


def locking() -> list[SimulatedTree]:
    """A directory, and a bucket that locks what is written there for two days."""
    lock = LockPlan("governance", {"media": SPAN})
    found = [SimulatedTree(SimulatedStore("disk")), SimulatedTree(SimulatedStore("s3", versioned=True, lock=lock))]
    found[1].may_remove = False
    moved_to(found, Minutes(0).now())
    return found


def moved_to(found: Sequence[SimulatedTree], at: float) -> None:
    for tree in found:
        tree.store.now = at


def locked(found: Sequence[SimulatedTree]) -> float:
    """Until when the newest copy at the bucket is locked, as an audit sees it."""
    last = newest(catalog(found), "media")
    assert last is not None
    return locks_of([last], [found[1].store])[last.prefix, "s3"]


def pruned_at(found: Sequence[SimulatedTree], at: float) -> Pruned:
    moved_to(found, at)
    where = [Place(tree.store, SimulatedPruner(tree.store), tree.name == "s3", tree) for tree in found]
    rules = Rules({"media": Policy(last=9, locked_for=SPAN)}, DAY)
    return prune(survey(where, "lab", "media", rules, at), where, By(LATER, os.urandom))


def test_files_of_media_are_locked_when_they_are_written_and_one_that_is_not_is_seen():
    source, found = SimulatedMedia(MEDIA), locking()
    take(source, found)
    assert locked(found) == Minutes(0).now() + SPAN
    for key in [key for key in found[1].store.locks if "media-tree/a.jpg" in key[0]]:
        del found[1].store.locks[key]
    assert locked(found) == 0.0


def test_what_backups_need_is_locked_again_before_its_lock_runs_out_and_not_each_time():
    source, found = SimulatedMedia(MEDIA), locking()
    take(source, found)
    source.write("a.jpg", b"new")
    take(source, found)
    start = Minutes(0).now()
    assert pruned_at(found, start + 0.9 * DAY).extended == ()
    assert "6 files at s3" in pruned_at(found, start + 1.1 * DAY).extended
    until = start + 1.1 * DAY + SPAN
    needed = {key for key in found[1].store.objects if "/media-tree/" in key or "/media-versions/" in key}
    assert {found[1].store.locks[key, found[1].store.version(key)] for key in needed} == {until}
    assert pruned_at(found, start + 1.2 * DAY).extended == ()
    assert not pruned_at(found, start + 3 * DAY).failures


def test_what_a_lock_holds_is_no_leftover_yet_and_goes_once_it_ran_out():
    source, found = SimulatedMedia(MEDIA), locking()
    take(source, found)
    source.remove("a.jpg")
    take(source, found)
    start = Minutes(0).now()
    done = pruned_at(found, start + DAY / 2)
    assert not done.failures and "a.jpg" in synced(found[1].store.objects)
    pruned_at(found, start + 3 * DAY)
    assert "a.jpg" not in synced(found[1].store.objects)


def test_a_death_at_any_removal_leaves_every_backup_that_stays_whole():
    def prepared() -> tuple[list[SimulatedTree], dict[str, dict[str, bytes]]]:
        source, found = SimulatedMedia(MEDIA), trees()
        then = {}
        for number in range(3):
            source.replace_all({**MEDIA, "a.jpg": str(number).encode()} if number < 2 else {"a.jpg": b"2"})
            then[name_of(take(source, found))] = dict({key: data for key, (_, data) in source._objects.items()})
        return found, then

    alive = Life()
    found, _ = prepared()
    for tree in found:
        tree.store._life = alive
    pruned(found, keep=2)
    assert alive.writes > 5
    for death in range(1, alive.writes + 1):
        found, then = prepared()
        life = Life(death)
        for tree in found:
            tree.store._life = life
        with pytest.raises(Killed):
            pruned(found, keep=2)
        for tree in found:
            for name in published(tree)[-2:]:
                assert brought_back(tree.store.objects, name) == then[name]
