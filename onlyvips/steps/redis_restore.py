"""A restore of Redis: a good copy opened into a server of our own, its keys moved, compared, the rest removed.

A word noted in the target stands there from before the first key to after the last: a run that died is run again and
does all of it once more, to the same end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from onlyvips.core.keys import Entry
from onlyvips.core.redis_restore import (
    MARKED,
    Begun,
    RedisPlan,
    RestoredKeys,
    check_loaded,
    check_target,
    name_of,
)
from onlyvips.errors import Conflict, Permanent, Refused
from onlyvips.ports import Clock
from onlyvips.ports.keys import LoadedKeys, Loader, NotedKeys
from onlyvips.steps.sound import Reader, Tell, open_sound

PROBE = b"onlyvips:probe"
"""A key that no server ever has: its time has come before it is written."""
_TOLERANCE = 1000
"""Milliseconds by which two may expire apart, for older servers say only how long a key still lives."""
_CLOCKS = 60_000
"""Milliseconds by which the target's clock may be ahead of ours before a key that it let go counts as lost."""


def restore_redis(
    plan: RedisPlan, target: NotedKeys, loader: Loader, reader: Reader, clock: Clock, over: Iterable[int]
) -> RestoredKeys:
    """Do it, or do it again. ``over``: databases whose keys may be written over and removed.

    Raises Refused, with the target untouched, for all that can be known before.
    """
    began = clock.monotonic()
    check_target(plan)
    (source,) = plan.point.sources
    with loader.room(plan.plain) as file:
        flaws = open_sound(source, reader, file)
        with loader.load(file, plan.room) as loaded:
            moving = _Moving(plan, target, loaded, clock, reader.tell)
            moving.begin(frozenset(over))
            moving.run()
    return RestoredKeys(
        backup=plan.point.name,
        reached=plan.point.manifest.finished,
        databases=tuple(map(name_of, moving.databases)),
        keys=moving.keys,
        expired=moving.expired,
        removed=moving.removed,
        others=moving.others,
        libraries=moving.libraries,
        amid=moving.amid,
        flaws=flaws,
        resumed=plan.begun is not None,
        seconds=clock.monotonic() - began,
    )


@dataclass
class _Moving:
    """The keys of ``loaded`` on their way into the target."""

    plan: RedisPlan
    target: NotedKeys
    loaded: LoadedKeys
    clock: Clock
    tell: Tell
    databases: Sequence[int] = ()
    keys: int = 0
    expired: int = 0
    removed: int = 0
    others: int = 0
    libraries: tuple[str, ...] = ()
    amid: bool = False
    begun: Begun = field(default_factory=lambda: Begun(""))

    def begin(self, over: frozenset[int]) -> None:
        """Check what is left to be checked, then note what is done. Raises Refused before that."""
        told, plan = self.loaded.describe(), self.plan
        self.libraries = told.libraries
        check_loaded(plan, told)
        self._set_word_aside()
        self.databases = sorted({*told.databases, *(plan.databases or {})})
        occupied = [number for number in plan.occupied if number in self.databases]
        if unasked := [number for number in occupied if number not in over]:
            raise Refused(
                f"{', '.join(map(name_of, unasked))} of the target has keys, and nobody asked to write over them: "
                "nothing was changed; see onlyvips restore plan."
            )
        empty = tuple(number for number in self.databases if number not in occupied)
        self._check_own([number for number in empty if number in self._before])
        self.begun = Begun(plan.point.manifest.prefix, empty, tuple(occupied))
        self._probe()
        self.target.note(MARKED, self.begun.to_json())

    def run(self) -> None:
        """All keys in, compared, and only then what else is there out."""
        for number in self.databases:
            self._copy(number)
        for number in self.databases:
            self._compare(number)
        self._account()
        for number in self.databases:
            self._clear(number)
        self.target.forget(MARKED)

    # --- how

    def _set_word_aside(self) -> None:
        """The word of a restore that was under way when the backup was taken is none of its keys: it stays away."""
        self.amid = bool(self.loaded.noted(MARKED))
        if self.amid and self.plan.databases:
            databases = dict(self.plan.databases)
            databases[MARKED] = replace(databases[MARKED], keys=databases[MARKED].keys - 1)
            self.plan = replace(self.plan, databases=databases)

    @property
    def _before(self) -> tuple[int, ...]:
        """Databases that were empty when an earlier run began: what it wrote there is in our way, and ours."""
        return self.plan.begun.empty if self.plan.begun else ()

    def _check_own(self, databases: Iterable[int]) -> None:
        """Raise Refused where there is what the earlier run cannot have written: then somebody uses it by now."""
        if used := [name_of(number) for number in databases if self._is_used(number)]:
            options = " ".join(f"--overwrite {name}" for name in used)
            raise Refused(
                f"{', '.join(used)} of the target has keys that the earlier run of this restore did not write, so "
                "somebody uses it again: nothing was changed by this one. Where the backup is to replace them, give "
                f"--at {self.plan.point.name} {options}; what is there is backed up first."
            )

    def _is_used(self, number: int) -> bool:
        for keys in self.target.keys(number):
            there = self.loaded.there(number, keys)
            for key in (key for key, mine in zip(keys, there, strict=True) if not mine):
                if any(one and not self._ends_soon(one) for one in self.target.read(number, [key])):
                    return True
        for keys in self.loaded.keys(number):
            pairs = zip(self.loaded.read(number, keys), self.target.read(number, keys), strict=True)
            if any(mine and theirs and self._otherwise(mine, theirs) for mine, theirs in pairs):
                return True
        return False

    def _probe(self) -> None:
        """Whether the target takes such values, in each database, from us: by one whose time has come."""
        one = next((self._first(number) for number in self.databases if self._first(number)), None)
        if one is None:
            return  # all of them expired
        for number in self.databases:
            try:
                self.target.write(number, [Entry(PROBE, one.payload, 1)], over=False)
            except Permanent as error:
                raise Refused(f"{error} Nothing was changed.") from error

    def _first(self, number: int) -> Entry | None:
        for keys in self.loaded.keys(number):
            if found := [one for one in self.loaded.read(number, keys) if one]:
                return found[0]
        return None

    def _copy(self, number: int) -> None:
        """With what an earlier run wrote, or what may be written over, in its way, it is written over."""
        over = number in self.begun.over or number in self._before
        for keys in self.loaded.keys(number):
            entries = [one for one in self.loaded.read(number, keys) if one]
            try:
                self.target.write(number, entries, over=over)
            except Conflict as error:
                raise Permanent(
                    f"{error} {name_of(number)} had none when this began, so somebody else writes there: stop that, "
                    "then run the restore again."
                ) from error
            self.tell("writing", _bytes(entries))

    def _compare(self, number: int) -> None:
        wrong = dict[str, int]()
        for keys in self.loaded.keys(number):
            mine, theirs = self.loaded.read(number, keys), self.target.read(number, keys)
            for one, other in zip(mine, theirs, strict=True):
                why = self._difference(one, other)
                if why:
                    wrong[why] = wrong.get(why, 0) + 1
            self.tell("comparing", _bytes(one for one in theirs if one))
        if wrong:
            told = ", ".join(f"{count:,} {why}" for why, count in wrong.items())
            raise Permanent(
                f"Keys of {name_of(number)} read back otherwise than they were written: {told} (which ones is not "
                "shown, for names may be secrets). Somebody else writes there, or it throws keys away: stop that, then "
                "run the restore again."
            )

    def _account(self) -> None:
        """Keys that were met nowhere any more can only have expired: no more of them than do."""
        told = self.plan.databases
        if told is None:
            return
        self.expired, expire = max(0, self.plan.keys - self.keys), sum(one.expire for one in told.values())
        if self.expired > expire:
            raise Permanent(
                f"Of {self.plan.keys:,} keys of the backup {self.keys:,} were compared, and only {expire:,} expire: "
                "run the restore again."
            )

    def _difference(self, mine: Entry | None, theirs: Entry | None) -> str:
        if mine is None or (theirs is None and self._ends_soon(mine)):
            self.expired += 1
            return ""
        if theirs is None:
            return "are missing"
        if why := self._otherwise(mine, theirs):
            return why
        self.keys += 1
        return ""

    def _ends_soon(self, one: Entry) -> bool:
        """Or has ended, by one of the clocks."""
        return 0 < one.expires <= self.clock.now() * 1000 + _CLOCKS

    def _otherwise(self, mine: Entry, theirs: Entry) -> str:
        if bool(mine.expires) != bool(theirs.expires) or abs(mine.expires - theirs.expires) > _TOLERANCE:
            return "expire at another time"
        if mine.payload != theirs.payload and not self.loaded.same(mine, theirs):
            return "have another value"
        return ""

    def _clear(self, number: int) -> None:
        """What the backup does not have goes where it was to be written over; elsewhere it is somebody's, and new."""
        for keys in self.target.keys(number):
            there = self.loaded.there(number, keys)
            foreign = [key for key, mine in zip(keys, there, strict=True) if not mine]
            if number in self.begun.over:
                self.target.remove(number, foreign)
                self.removed += len(foreign)
            else:
                self.others += len(foreign)


def _bytes(entries: Iterable[Entry]) -> int:
    return sum(len(one.key) + len(one.payload) for one in entries)
