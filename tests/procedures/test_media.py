"""Backups of media on simulators: what is moved, what is left alone, what comes back, whoever dies or fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onlyvips.errors import Permanent, Refused, Transient
from tests.procedures.media import PLAN, begin, brought_back, facts, name_of, published, reborn, synced, take, trees
from tests.simulators.media import SimulatedMedia, SimulatedTree
from tests.simulators.objects import Killed, Life

BIG = b"large" * 500
MEDIA = {"a.jpg": b"a", "b/c.jpg": b"cc", "b/d.jpg": b"ddd", "empty": b"", "big.mp4": BIG}


@pytest.fixture(autouse=True)
def small_is_less_than_a_kilobyte(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("media", "media_places", "media_copies"):
        monkeypatch.setattr(f"onlyvips.steps.{module}.SMALL", 1000)


KEYS = st.sampled_from(["a", "a/b", ".env", "x//y", "größe", "z/"])
STATES = st.dictionaries(KEYS, st.sampled_from([b"", b"1", b"2", b"33"]), min_size=1)


@given(st.lists(STATES, min_size=1, max_size=6), st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_backup_brings_back_what_there_was_whatever_came_after(
    states: list[dict[str, bytes]], data: st.DataObject
):
    """Whatever came after, and whoever died in between, at any write, in any destination."""
    source, places = SimulatedMedia(), trees("s3", "disk")
    then: dict[str, dict[str, bytes]] = {}
    for state in states:
        source.replace_all(state)
        deadline = data.draw(st.integers(0, 40))
        places = reborn(places, Life(deadline))
        try:
            taken = take(source, places)
        except Killed:
            pass
        else:
            assert not taken.degraded
            then[name_of(taken)] = dict(state)
            for place in places:
                assert synced(place.store.objects) == state
        for place in places:
            for name in published(place):
                assert brought_back(place.store.objects, name) == then.setdefault(name, dict(state))


def test_a_first_backup_holds_everything_in_every_destination_as_plain_objects():
    source, places = SimulatedMedia(MEDIA), trees("a", "b", "c")
    taken = take(source, places)
    for place in places:
        assert synced(place.store.objects) == MEDIA
        assert brought_back(place.store.objects, name_of(taken)) == MEDIA
    told = facts(taken)
    assert (told["files"], told["new"], told["bytes"]) == ("5", "5", str(sum(map(len, MEDIA.values()))))
    assert sorted(source.reads) == sorted(MEDIA), "each is read once, however many destinations there are"


def test_an_unchanged_second_pass_reads_nothing_but_listings_and_writes_no_object():
    source, places = SimulatedMedia(MEDIA), trees("a", "b")
    take(source, places)
    source.reads.clear()
    for place in places:
        place.writes.clear()
        place.reads.clear()
    taken = take(source, places)
    assert source.reads == [] and all(place.writes == place.reads == [] for place in places)
    assert (facts(taken)["new"], facts(taken)["changed"], facts(taken)["bytes_read"]) == ("0", "0", "0")
    assert brought_back(places[1].store.objects, name_of(taken)) == MEDIA


def test_what_is_replaced_or_removed_is_kept_and_removals_are_recorded():
    source, places = SimulatedMedia(MEDIA), trees("a", "b")
    first = take(source, places)
    source.write("a.jpg", b"another")
    source.write("big.mp4", b"small now")
    source.remove("b/c.jpg")
    source.reads.clear()
    second = take(source, places)
    assert sorted(source.reads) == ["a.jpg", "big.mp4"]
    assert (facts(second)["changed"], facts(second)["gone"], facts(second)["before"]) == ("2", "1", name_of(first))
    for place in places:
        assert brought_back(place.store.objects, name_of(first)) == MEDIA
        now = {**MEDIA, "a.jpg": b"another", "big.mp4": b"small now"}
        del now["b/c.jpg"]
        assert brought_back(place.store.objects, name_of(second)) == synced(place.store.objects) == now


def test_a_file_that_was_only_touched_is_read_and_not_written():
    source, places = SimulatedMedia(MEDIA), trees("a")
    take(source, places)
    places[0].writes.clear()
    source.write("a.jpg", b"a")
    source.reads.clear()
    assert facts(take(source, places))["changed"] == "0"
    assert (source.reads, places[0].writes) == (["a.jpg"], [])


def test_a_death_at_any_write_leaves_the_backup_before_whole_and_the_next_run_goes_on():
    changed = {"a.jpg": b"new a", "b/d.jpg": b"ddd", "c.jpg": b"c", "big.mp4": BIG + b"!"}
    start = trees("a", "b")
    first = name_of(take(SimulatedMedia(MEDIA), start))
    alive = Life()
    take(_later(changed), reborn(start, alive))
    assert alive.writes > 20
    for death in range(1, alive.writes + 1):
        source, places = _later(changed), reborn(start, Life(death))
        with pytest.raises(Killed):
            take(source, places)
        for place in places:
            assert brought_back(place.store.objects, first) == MEDIA
            assert published(place)[:1] == [first]
        again = reborn(places)
        taken = take(source, again)
        assert not taken.degraded
        for place in again:
            assert brought_back(place.store.objects, first) == MEDIA
            assert brought_back(place.store.objects, name_of(taken)) == synced(place.store.objects) == changed


def _later(state: dict[str, bytes]) -> SimulatedMedia:
    """A source whose media were those of the first backup, and are these now."""
    source = SimulatedMedia(MEDIA)
    source.replace_all(state)
    return source


def test_what_a_run_that_died_had_moved_is_not_moved_again():
    source, places = SimulatedMedia({str(number): b"x" * number for number in range(40)}), trees("a", "b")
    session = begin(source, places)
    for key in session.keys:
        session.write(key)
    source.reads.clear()
    again = reborn(places)
    taken = take(source, again)
    assert source.reads == [] and all(place.writes == place.reads == [] for place in again)
    assert facts(taken)["files"] == "40"


def test_a_source_that_is_empty_all_at_once_is_refused_and_nothing_is_removed():
    source, places = SimulatedMedia(MEDIA), trees("a")
    take(source, places)
    before = dict(places[0].store.objects)
    source.replace_all({})
    with pytest.raises(Refused, match="The media are empty, and .* holds 5 files: nothing was changed"):
        take(source, places)
    assert places[0].store.objects == before
    assert facts(take(SimulatedMedia(), trees("b")))["files"] == "0"


# --- a source that changes


@pytest.mark.parametrize("key", ["a.jpg", "big.mp4"])
def test_an_object_that_changes_before_it_is_read_is_taken_as_it_is_then(key: str):
    source, places = SimulatedMedia(MEDIA), trees("a", "b")
    replaced = {"a.jpg": b"replaced", "big.mp4": BIG + b"2"}
    _once(source, key, lambda: source.write(key, replaced[key]))
    taken = take(source, places)
    assert facts(taken)["left"] == "0"
    for place in places:
        assert brought_back(place.store.objects, name_of(taken)) == synced(place.store.objects)
        assert synced(place.store.objects)[key] == replaced[key]


def _once(source: SimulatedMedia, key: str, action: Callable[[], None]) -> None:
    def before(asked: str) -> None:
        if asked == key:
            source.before_read = lambda _: None
            action()

    source.before_read = before


def test_a_large_object_that_never_stops_changing_is_left_by_name_and_its_old_bytes_stay():
    source, places = SimulatedMedia(MEDIA), trees("a")
    take(source, places)
    source.write("big.mp4", BIG + b"1")
    source.before_read = lambda key: source.write(key, BIG + str(len(source.reads)).encode())
    taken = take(source, places)
    assert (facts(taken)["left"], facts(taken)["left_names"]) == ("1", '"big.mp4"')
    assert brought_back(places[0].store.objects, name_of(taken))["big.mp4"] == BIG
    assert source.reads.count("big.mp4") == 4
    source.before_read = lambda _: None
    taken = take(source, places)
    assert facts(taken)["left"] == "0"
    assert synced(places[0].store.objects)["big.mp4"] == source._objects["big.mp4"][1]


def test_an_object_that_goes_while_it_is_read_is_left_by_name():
    source, places = SimulatedMedia(MEDIA), trees("a")
    _once(source, "b/d.jpg", lambda: source.remove("b/d.jpg"))
    taken = take(source, places)
    assert facts(taken)["left_names"] == '"b/d.jpg"'
    assert set(brought_back(places[0].store.objects, name_of(taken))) == set(MEDIA) - {"b/d.jpg"}


def test_a_source_that_dies_leaves_the_backup_before_and_the_batch_can_be_tried_again():
    source, places = SimulatedMedia(MEDIA), trees("a", "b")
    first = name_of(take(source, places))
    source.write("a.jpg", b"new")
    session = begin(source, places)

    def dies(_: str) -> None:
        raise Transient("The media went away.")

    source.before_read = dies
    with pytest.raises(Transient, match="went away"):
        session.write(session.keys[0])
    assert published(places[0]) == [first]
    source.before_read = lambda _: None
    for key in session.keys:
        session.write(key)
    assert not session.publish().degraded


# --- destinations that fail


def test_a_destination_that_fails_is_left_behind_and_has_everything_after_the_next_run():
    source, places = SimulatedMedia(MEDIA), trees("a", "b")
    first = take(source, places)
    places[1].store.refuses_key("media-tree")
    source.replace_all({**MEDIA, "a.jpg": b"2", "new": b"n"})
    degraded = take(source, places)
    assert degraded.degraded and "b: b: cannot write" in degraded.lacking
    assert published(places[1]) == [name_of(first)]
    again = reborn(places)
    source.reads.clear()
    source.remove("new")
    third = take(source, again)
    assert not third.degraded
    assert source.reads == ["a.jpg"]
    for name, state in ((name_of(first), MEDIA), (name_of(third), {**MEDIA, "a.jpg": b"2"})):
        assert brought_back(again[1].store.objects, name) == state


FAULTS: dict[str, tuple[Callable[[SimulatedTree], None], str]] = {
    "refuses": (lambda tree: tree.store.refuses_writes(), "AccessDenied"),
    "full": (lambda tree: tree.store.runs_full(after_bytes=1), "no space is left"),
    "unreadable": (lambda tree: setattr(tree, "listing", _broken), "the connection broke"),
}


def _broken(prefix: str) -> None:
    raise Transient("b: the connection broke.")


@pytest.mark.parametrize("fault", FAULTS)
def test_one_destination_that_fails_degrades_and_all_of_them_are_no_backup(fault: str):
    inject, why = FAULTS[fault]
    places = trees("a", "b")
    inject(places[1])
    taken = take(SimulatedMedia(MEDIA), places)
    assert taken.degraded and why in taken.lacking
    assert brought_back(places[0].store.objects, name_of(taken)) == MEDIA
    assert published(places[1]) == []
    both = trees("a", "b")
    for place in both:
        inject(place)
    with pytest.raises(Permanent, match=f"no destination has a complete copy .*{why}.*no manifest was written"):
        take(SimulatedMedia(MEDIA), both)
    assert published(both[0]) == published(both[1]) == []


def test_a_destination_that_stalls_is_left_behind():
    places = trees("a", "b")
    places[1].store.stalls()
    try:
        taken = take(SimulatedMedia(MEDIA), places, replace(PLAN, stall_timeout=1.0))
    finally:
        places[1].store.flows()
    assert "b: it stalled: " in taken.lacking
    assert published(places[0]) == [name_of(taken)]


def test_an_object_that_a_destination_took_and_does_not_list_makes_it_no_copy():
    places = trees("a", "b")
    honest = places[1].put
    places[1].put = lambda objects: honest(objects[1:]) + ["lost"]  # type: ignore[method-assign]
    taken = take(SimulatedMedia(MEDIA), places)
    assert taken.degraded and "its tree lacks" in taken.lacking
    assert published(places[1]) == []


def test_what_may_not_be_removed_lingers_by_name_and_is_no_fault():
    source, places = SimulatedMedia(MEDIA), trees("a", "b")
    take(source, places)
    source.remove("a.jpg")
    places[0].may_remove = False
    taken = take(source, places)
    assert not taken.degraded
    assert facts(taken)["lingering_a"] == '1: "a.jpg"'
    assert "a.jpg" in synced(places[0].store.objects) and "a.jpg" not in synced(places[1].store.objects)
    places[0].may_remove = True
    take(source, places)
    assert "a.jpg" not in synced(places[0].store.objects)


def test_what_somebody_else_changed_in_a_tree_is_noticed_by_its_listing_and_kept_before_it_is_put_right():
    source, places = SimulatedMedia(MEDIA), trees("a", "b")
    take(source, places)
    places[1].store.objects["lab/media-tree/a.jpg"] = b"?"
    places[1].store.objects["lab/media-tree/stranger"] = b"who?"
    source.reads.clear()
    taken = take(source, places)
    assert source.reads == ["a.jpg"]
    assert synced(places[1].store.objects) == brought_back(places[1].store.objects, name_of(taken)) == MEDIA
    assert {b"?", b"who?"} <= {data for key, data in places[1].store.objects.items() if "media-versions" in key}
