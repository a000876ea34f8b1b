"""Entries of the oplog that no replay of the whole database can do, found while they are backed up. Pure.

The rule is the replay's own (``core.replay``): what a restore would refuse in a disaster is known when it is backed up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from onlyvips.core.crud import Crud
from onlyvips.core.manifest import Fact, Manifest
from onlyvips.core.oplog_entry import Logged, Position
from onlyvips.core.replay import DIFF, Names, Translator, Untranslatable

NOT_REPLAYABLE = "not_replayable"
"""A fact of a slice, or of a base with a window, for each such entry: ``SECONDS:ORDINAL WHY``."""
LAST = (1 << 32) - 1
"""The highest number of an entry within its second."""
_MOST = 20
"""Facts of one backup; the last one tells a stretch then: ``SECONDS:ORDINAL-SECONDS:ORDINAL WHY``."""
_LONGEST = 200
_FACT = re.compile(r"(\d+):(\d+)(?:-(\d+):(\d+))? (.+)", re.DOTALL)
_EVER = Position(1 << 32, 0)
_WHOLE = b"\x10$v\0\1\0\0\0\x03$set\0"
_INSIDE = 4 + len(DIFF)
"""Where the document begins that follows one of these, as the only thing after it."""


@dataclass(frozen=True)
class Stop:
    """An entry that ends a replay, and ``why``; or a stretch of more of them than were listed, up to ``last``."""

    at: Position
    last: Position
    why: str

    @property
    def before(self) -> Position:
        """Up to here all can be had, inclusive."""
        return Position(self.at.seconds, self.at.ordinal - 1) if self.at.ordinal > 1 else self.second_before

    @property
    def second_before(self) -> Position:
        """The end of the last whole second before it."""
        return Position(self.at.seconds - 1, LAST)

    @property
    def told(self) -> str:
        """What stands in the way, in words."""
        return f"the entry {_text(self.at)} of the oplog cannot be replayed: {self.why}"

    @property
    def fact(self) -> Fact:
        """As a manifest has it."""
        stretch = "" if self.last == self.at else f"-{_text(self.last)}"
        return Fact(NOT_REPLAYABLE, f"{_text(self.at)}{stretch} {self.why}")

    def since(self, start: Position) -> Stop | None:
        """It as a replay meets it that begins at ``start``."""
        if start <= self.at:
            return self
        return replace(self, at=start) if start <= self.last else None


def stops(manifest: Manifest) -> list[Stop]:
    """What the facts of a backup say; nothing where it was taken by a version that did not look."""
    said = (_FACT.fullmatch(fact.value) for fact in manifest.facts if fact.name == NOT_REPLAYABLE)
    return [_stop(one) for one in said if one]


def first_stop(every: Iterable[Stop], start: Position) -> Stop | None:
    """The one at which a replay ends that begins at ``start``."""
    found = (met for stop in every if (met := stop.since(start)))
    return min(found, key=lambda stop: stop.at, default=None)


@dataclass
class Watch:
    """Looks at entries in order, for a replay of ``names``, and keeps which of them it could not do. A transaction's
    are looked at where they are written, though they take effect with its end."""

    names: Names
    found: list[Stop] = field(default_factory=list)
    commands: str = ""
    """Why the first of them that is no update; "" where none is."""
    _translator: Translator = field(init=False)

    def __post_init__(self) -> None:
        self._translator = Translator(self.names, Position(0, 0), _EVER)

    def see(self, entries: Iterable[Logged | Crud]) -> None:
        """The next ones. Writes of documents are passed by at once: nearly all are, and a replay does them."""
        for one in entries:
            if isinstance(one, Crud):
                _, _, op, namespace, what, _, _ = one
                if (op == "u" and not common(what)) or ".system." in namespace:
                    self._try(one)
            elif one.entry.op != "n":
                self._try(Logged(one.entry._replace(role=""), one.fields))

    def _try(self, one: Logged | Crud) -> None:
        try:
            self._translator.translate(one)
        except Untranslatable as error:
            self._add(one, str(error.__cause__))

    def _add(self, one: Logged | Crud, why: str) -> None:
        at, why = one.position, why[:_LONGEST]
        if len(self.found) < _MOST:
            self.found.append(Stop(at, at, why))
        else:
            self.found[-1] = replace(self.found[-1], last=at)
        if one.entry.op != "u":
            self.commands = self.commands or why

    @property
    def ends_a_base(self) -> str:
        """Why a base whose window has this is none, in words; "" where it is one."""
        return f"something was done that cannot be replayed ({self.commands})" if self.commands else ""

    @property
    def facts(self) -> tuple[Fact, ...]:
        """For the manifest."""
        return tuple(one.fact for one in self.found)


def common(what: bytes) -> bool:
    """Whether an update is, by its first bytes, one that each replay does: a diff, a whole document of FerretDB, or a
    whole document without ``$``. False says nothing."""
    head = what[4:_INSIDE]
    if head == DIFF or (head == _WHOLE and what[_INSIDE + 5 : _INSIDE + 9] == b"_id\0"):
        return int.from_bytes(what[_INSIDE : _INSIDE + 4], "little") + _INSIDE + 1 == len(what)
    return b"$" not in what


def _text(at: Position) -> str:
    return f"{at.seconds}:{at.ordinal}"


def _stop(said: re.Match[str]) -> Stop:
    at = Position(int(said[1]), int(said[2]))
    return Stop(at, Position(int(said[3]), int(said[4])) if said[3] else at, said[5])
