"""Restores of media on simulators: what is planned, written, left alone, from which copies, whoever dies or fails."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from onlyvips.core.media_restore import choose, overwritten, pairs_of
from onlyvips.core.media_restored import RestoredMedia
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.steps.media_restore import Means, Ready, Target, check, prepare, restore_media
from tests.procedures.media import catalog, name_of, take, trees
from tests.procedures.test_media import BIG, MEDIA, small_is_less_than_a_kilobyte
from tests.simulators.clock import SimClock
from tests.simulators.media import SimulatedMedia, SimulatedSink, SimulatedTree
from tests.simulators.objects import Killed, Life

__all__ = ["small_is_less_than_a_kilobyte"]
LATER = {**MEDIA, "a.jpg": b"A", "big.mp4": BIG + b"!", "new": b"n"}
TREE = "lab/media-tree/"


@pytest.fixture(autouse=True)
def large_is_a_kilobyte(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("media_restore", "media_sources"):
        monkeypatch.setattr(f"onlyvips.steps.{module}.SMALL", 1000)


class World:
    """Two backups, of MEDIA and then of LATER, in three destinations; ``media`` is what they are of."""

    def __init__(self) -> None:
        self.places = trees("s3", "disk", "far")
        self.media = SimulatedMedia(MEDIA)
        self.first = name_of(take(self.media, self.places))
        self.media.replace_all(LATER)
        self.second = name_of(take(self.media, self.places))
        self.sink = SimulatedSink(self.media)
        self.live = True

    def lives(self, life: Life) -> None:
        """A process that may die at a write of the target."""
        self.sink = SimulatedSink(self.media, life)

    def ready(self, at: str = "latest", *names: str) -> Ready:
        backups = catalog(self.places)
        return prepare(choose(backups, at), choose(backups, "latest"), pairs_of(names), self.target, self.means)

    def restore(self, at: str = "latest", *names: str) -> RestoredMedia:
        return restore_media(self.ready(at, *names), self.target, self.means)

    @property
    def target(self) -> Target:
        return Target(self.media, self.sink, self.live)

    @property
    def means(self) -> Means:
        return Means(self.places, lambda doing, size: None, 3, SimClock())

    def elsewhere(self, objects: Mapping[str, bytes] = {}) -> None:  # noqa: B006 - never changed
        """The target is another place."""
        self.media, self.live = SimulatedMedia(objects), False
        self.sink = SimulatedSink(self.media)

    @property
    def has(self) -> dict[str, bytes]:
        return {key: data for key, (_, data) in self.media._objects.items()}


@pytest.fixture
def world() -> World:
    return World()


def damage(place: SimulatedTree, key: str) -> None:
    """Another byte behind the store's back, under the same size."""
    data = place.store.objects[TREE + key]
    place.store.objects[TREE + key] = bytes([data[0] ^ 1]) + data[1:]


# --- what is written


def test_what_is_missing_or_differs_comes_back_and_what_the_backup_has_not_stays(world: World) -> None:
    world.media.remove("b/c.jpg")
    world.media.write("a.jpg", b"vandal")
    world.media.write("since", b"s")
    found = world.ready().plan.found
    assert (found.missing, list(found.differ), found.others) == (("b/c.jpg",), ["a.jpg"], ("since",))
    done = world.restore()
    assert world.has == LATER | {"since": b"s"}
    assert sorted(world.sink.writes) == ["a.jpg", "b/c.jpg"]
    assert (done.files, done.replaced, done.kept, done.others, done.flaws) == (2, 1, 4, 1, ())


def test_an_older_backup_comes_back_out_of_trees_and_versions(world: World) -> None:
    done = world.restore(world.first)
    assert world.has == MEDIA | {"new": b"n"}
    assert sorted(world.sink.writes) == ["a.jpg", "big.mp4"] and done.replaced == 2


def test_an_empty_place_gets_all_of_it(world: World) -> None:
    world.elsewhere()
    world.restore(world.first)
    assert world.has == MEDIA


def test_what_has_the_right_bytes_is_not_written_nor_read_where_its_listing_tells(world: World) -> None:
    world.media.reads.clear()
    done = world.restore()
    assert (world.sink.writes, world.media.reads, done.files) == ([], [], 0)
    assert (done.kept, done.believed) == (len(LATER), len(LATER))


def test_another_place_is_read_and_not_believed(world: World) -> None:
    world.elsewhere(LATER)
    done = world.restore()
    assert world.sink.writes == [] and sorted(set(world.media.reads)) == sorted(LATER)
    assert (done.kept, done.believed) == (len(LATER), 0)


def test_a_file_touched_but_not_changed_is_read_and_not_written(world: World) -> None:
    world.media.write("a.jpg", LATER["a.jpg"])
    world.media.write("big.mp4", LATER["big.mp4"])
    world.media.reads.clear()
    done = world.restore()
    assert world.sink.writes == [] and set(world.media.reads) == {"a.jpg", "big.mp4"}
    assert (done.kept, done.believed) == (len(LATER), len(LATER) - 2)


def test_a_folder_or_a_file_comes_back_alone_and_under_another_name(world: World) -> None:
    world.media.replace_all({"a.jpg": b"stays"})
    world.restore("latest", "b/=b/")
    assert world.has == {"a.jpg": b"stays", "b/c.jpg": b"cc", "b/d.jpg": b"ddd"}
    world.restore("latest", "b/=rescue/b/", "big.mp4=rescue/one.mp4")
    assert world.has["rescue/b/c.jpg"] == b"cc" and world.has["rescue/one.mp4"] == BIG + b"!"


def test_what_is_written_over_is_told_by_the_names_that_were_asked_for(world: World) -> None:
    world.media.write("b/c.jpg", b"other")
    world.media.write("b/more", b"m")
    assert overwritten(world.ready().plan.found, ()) == ("media",)
    pairs = ("b/=b/", "a.jpg=a.jpg")
    found = world.ready("latest", *pairs).plan.found
    assert overwritten(found, pairs_of(pairs)) == ("b/",)
    assert found.others == ("b/more",), "what is outside of the selection is not its business"
    assert overwritten(world.ready("latest", "a.jpg=a.jpg").plan.found, pairs_of(("a.jpg=a.jpg",))) == ()


# --- copies


def test_a_copy_that_lists_something_else_is_asked_last(world: World) -> None:
    world.elsewhere()
    damage(world.places[0], "a.jpg")
    damage(world.places[0], "big.mp4")
    del world.places[0].store.objects[TREE + "b/c.jpg"]
    assert choose(catalog(world.places), "latest").copies[0] == "s3"
    world.places[0].reads.clear()
    world.restore()
    assert world.has == LATER
    assert set(world.places[0].reads) == {TREE + key for key in ("b/d.jpg", "empty", "new")}


def test_a_copy_whose_bytes_changed_unlisted_is_found_by_its_hash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its listing says what it was: a disk that rots tells nobody."""
    world.elsewhere()
    honest = list(world.places[0].listing(""))
    damage(world.places[0], "a.jpg")
    damage(world.places[0], "big.mp4")
    pages = [[one for page in honest for one in page if one.key.startswith(p)] for p in (TREE, "lab/media-versions/")]
    monkeypatch.setattr(world.places[0], "listing", lambda prefix: [pages[0] if prefix == TREE else pages[1]])
    done = world.restore()
    assert world.has == LATER and world.sink.unfinished == set()
    for key in ("a.jpg", "big.mp4"):
        assert any(f"s3: lab/media-tree/{key} has SHA-256" in flaw for flaw in done.flaws)


def test_a_file_without_any_copy_is_refused_before_anything_is_written(world: World) -> None:
    world.elsewhere()
    for place in world.places:
        del place.store.objects[TREE + "b/c.jpg"]
    with pytest.raises(Refused, match=r'No copy lists 1 of the files .*"b/c.jpg".*Nothing was written'):
        world.restore()
    assert world.has == {}
    world.restore("latest", "a.jpg=a.jpg")
    assert world.has == {"a.jpg": b"A"}


@pytest.mark.parametrize("key", ["a.jpg", "big.mp4"])
def test_a_file_whose_every_copy_is_bad_is_named_at_the_end_and_all_else_is_restored(world: World, key: str) -> None:
    world.elsewhere({key: b"what is there"})
    for place in world.places:
        damage(place, key)
    with pytest.raises(Permanent, match=f"1 have no good copy and were left as they were: .{key}") as raised:
        world.restore()
    assert not isinstance(raised.value, Refused)
    assert world.has == {**LATER, key: b"what is there"} and world.sink.unfinished == set()


def test_a_destination_that_goes_away_in_the_middle_is_passed_by(world: World) -> None:
    world.elsewhere()
    ready = world.ready()
    world.places[0].store.goes_away_while_reading()
    done = restore_media(ready, world.target, world.means)
    assert world.has == LATER
    assert any("s3: the connection broke" in flaw for flaw in done.flaws)


def test_a_destination_that_cannot_be_listed_is_told_and_not_needed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(prefix: str) -> None:
        raise Transient("s3: nothing answers there.")

    world.elsewhere()
    monkeypatch.setattr(world.places[0], "listing", away)
    assert "s3 was not read: s3: nothing answers there." in world.ready().plan.notes
    world.restore()
    assert world.has == LATER


def test_an_index_is_taken_from_a_copy_that_has_it_right_or_all_is_refused(world: World) -> None:
    index = f"lab/media/{world.second}/objects/0001-index.jsonl.zst"
    world.elsewhere()
    for place in world.places[:2]:
        place.store.objects[index] = place.store.objects[index][:-1] + b"?"
    done = world.restore()
    assert world.has == LATER and any("s3: " in flaw and "index" in flaw for flaw in done.flaws)
    world.places[2].store.objects[index] = b""
    with pytest.raises(Refused):
        world.restore(world.second)


# --- whoever dies, or writes there


def test_a_death_at_any_write_leaves_no_wrong_byte_and_the_next_run_ends_it() -> None:
    def wrecked(life: Life) -> World:
        world = World()
        world.media.replace_all({"a.jpg": b"vandal", "b/c.jpg": b"cc", "since": b"s", "big.mp4": b"cut"})
        world.lives(life)
        return world

    alive = Life()
    wrecked(alive).restore()
    assert alive.writes >= 8
    for death in range(1, alive.writes + 1):
        world = wrecked(Life(death))
        before = world.has
        with pytest.raises(Killed):
            world.restore()
        assert all(data in (LATER.get(key), before.get(key)) for key, data in world.has.items())
        written = list(world.sink.writes)
        world.lives(Life())
        world.restore()
        assert world.has == LATER | {"since": b"s"}
        assert not set(written) & set(world.sink.writes), "what came back is not written again"


def test_what_somebody_else_writes_meanwhile_is_not_written_over_but_told(world: World) -> None:
    world.media.remove("new")
    world.media.write("big.mp4", b"cut")

    def upload(key: str) -> None:
        world.sink.before_write = lambda _: None
        world.media.write("new", b"a user's")
        world.media.write("big.mp4", b"a user's too")

    world.sink.before_write = upload
    with pytest.raises(Permanent, match="2 are not as they should be, for somebody else writes there"):
        world.restore()
    assert (world.has["new"], world.has["big.mp4"]) == (b"a user's", b"a user's too")


def test_a_target_that_does_not_keep_what_it_is_given_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = world.media.write
    world.elsewhere()
    honest = world.media.write
    monkeypatch.setattr(world.media, "write", lambda key, data: honest(key, data[:-1] + b"?" if data else data))
    with pytest.raises(Permanent, match="reads back with SHA-256"):
        world.restore()


def test_what_changes_after_it_was_read_back_is_told(world: World) -> None:
    world.elsewhere({"b/c.jpg": LATER["b/c.jpg"]})
    world.sink.before_write = lambda key: world.media.write("b/c.jpg", b"vandal")
    with pytest.raises(Permanent, match=r"b/c\.jpg: it changed after it was read"):
        world.restore()


def test_two_restores_into_one_place_are_kept_apart(world: World) -> None:
    world.elsewhere()
    with world.sink.writing(), pytest.raises(Refused, match="Another restore of media writes there"):
        world.restore()
    assert world.has == {}


# --- what is refused


def test_a_target_without_room_is_refused_before_anything_is_written(world: World) -> None:
    world.elsewhere()
    world.sink.free = 3000
    with pytest.raises(Refused, match=r"need [\d,]+ bytes there, and 3,000 are free: nothing was written"):
        world.restore()
    assert world.has == {}
    world.restore("latest", "b/=b/")


def test_names_that_a_target_cannot_have_are_refused_with_all_of_it(world: World) -> None:
    world.elsewhere()
    world.sink.odd = {"a.jpg": "its name is odd"}
    with pytest.raises(Refused, match="1 files cannot come back there under exactly their names .*its name is odd"):
        world.ready()


def test_a_moment_is_the_newest_backup_that_was_whole_by_then_and_others_say_what_there_is(world: World) -> None:
    backups = catalog(world.places)
    ends = {one.name: one.finished for one in backups}
    for name in (world.first, world.second):
        assert choose(backups, ends[name]).backup.name == name
        assert choose(backups, name[:25]).backup.name == name
    assert choose(backups, "latest").backup.name == world.second
    assert choose(backups, world.first).newer == (world.second,)
    for at, told in (
        ("2020-01-01T00:00:00Z", f"before the first backup of media was whole: that is {world.first}"),
        ("2020-02-31T00:00:00Z", "is no moment"),
        ("nonsense", f"the newest is {world.second}"),
        ("2026", "more than one backup of media"),
    ):
        with pytest.raises(Refused, match=told):
            choose(backups, at)
    with pytest.raises(Refused, match="no backup of media"):
        choose([], "latest")


@pytest.mark.parametrize("name", ["a", "a=", "=a", "a/=b", "a=b/", "a=b=c"])
def test_a_selection_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="says no media"):
        pairs_of([name])


@pytest.mark.parametrize(
    ("names", "told"),
    [(["x/=x/"], "has nothing at `x/`"), (["b/=x/", "b/c.jpg=x/c.jpg"], 'would become one, "x/c.jpg"')],
)
def test_a_selection_that_the_backup_has_not_or_that_meets_itself_is_refused(
    world: World, names: list[str], told: str
) -> None:
    with pytest.raises(Refused, match=told):
        world.ready("latest", *names)


def test_a_plan_writes_nothing_and_tells_what_else_a_person_must_know(world: World) -> None:
    world.media.remove("a.jpg")
    world.media.remove("new")
    third = name_of(take(world.media, world.places))
    ready = world.ready(third)
    check(ready, world.target)
    assert ready.plan.found.to_write == () and world.sink.writes == []
    assert any("2 files of the backup before were gone by then" in note for note in ready.plan.notes)
    assert any("1 newer backups of media" in note for note in world.ready(world.second).plan.notes)
    assert not any("newer" in note for note in ready.plan.notes)
