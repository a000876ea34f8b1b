"""An RDB as Redis writes it, found whole while it streams by, and its keys counted.

::

    "REDIS" · 4 digits, or "VALKEY" · 3 · (opcode | type · key · value)* · 0xFF · CRC-64, 8 bytes little-endian

The CRC (Jones, reflected; all zero where the server does not compute one) is over everything before it, so a right one
shows that nothing is missing or altered. The walk counts keys; it proves the end where there is no CRC. What follows a
type is said in Redis' rdb.c. The CRC is passed in as a function, so that this module stays standard library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field

from onlyvips.errors import Permanent

Crc = Callable[[bytes, int], int]
"""``crc(data, before)`` is the CRC-64/REDIS of what came before followed by ``data``; ``crc(b"", 0)`` is 0."""

_HEAD, _FOOT = 9, 8
_OLDEST = 5
"""The first version with a CRC: Redis 2.6."""
_LONGEST_TEXT = 256
_BYTE, _NUMBER, _STRINGS, _SKIP, _TEXT = range(5)
_Want = tuple[int, int, int]
"""What the walk needs next: a byte, a number, so many strings with so many bytes behind each, bytes to pass, a text."""
_Walk = Generator[_Want, int, None]

_EOF, _SELECT, _EXPIRE_S, _EXPIRE_MS, _RESIZE, _AUX, _FREQ, _IDLE, _MODULE_AUX = range(0xFF, 0xF6, -1)
_FUNCTION, _SLOT = 0xF5, 0xF4
_OF_ONE_STRING = frozenset((0, 9, 10, 11, 12, 13, 16, 17, 20))
"""Strings, and the packed encodings of small collections."""
_PER_ELEMENT = {1: (1, 0), 2: (1, 0), 4: (2, 0), 5: (1, 8), 14: (1, 0)}
"""Strings an element, and bytes behind each: list, set, hash, sorted set, quicklist."""
_QUICKLIST_2, _MODULE, _HASH_TTL, _LISTPACK_TTL = 18, 7, 24, 25
_STREAMS = (15, 19, 21)


class BrokenRdb(Permanent):
    """This is not a whole RDB: the message says what is wrong with it."""


class _Lost(Exception):
    """The walk does not know what comes."""


@dataclass
class Database:
    """One of Redis' numbered databases: its keys, and how many of them expire."""

    number: int
    keys: int = 0
    expire: int = 0


@dataclass(frozen=True)
class Rdb:
    """What a whole RDB is. ``crc64`` is its own, all zero where the server computes none; ``uncounted`` says why the
    keys are not known; ``told`` is what the server wrote about itself (``redis-ver``, ``ctime``, ``repl-id`` …)."""

    version: int
    size: int
    crc64: str
    databases: tuple[Database, ...]
    told: dict[str, str] = field(default_factory=dict)
    uncounted: str = ""

    @property
    def keys(self) -> int:
        """Of all databases; 0 where they were not counted."""
        return sum(one.keys for one in self.databases) if not self.uncounted else 0


def checked(chunks: Iterable[bytes], reader: Reader) -> Iterator[bytes]:
    """The same bytes. Whoever read the last one asks ``reader.finish`` whether they were all."""
    for chunk in chunks:
        reader.feed(chunk)
        yield chunk


class Reader:
    """Takes an RDB in chunks of any size; memory is bounded by them."""

    def __init__(self, crc: Crc) -> None:
        self._crc_of, self._crc = crc, 0
        self._head = self._foot = b""
        self._size = 0
        self._walk = _Walker()

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises BrokenRdb for what does not begin as an RDB does."""
        self._size += len(data)
        held = self._foot + data
        self._crc = self._crc_of(held[:-_FOOT], self._crc)
        self._foot = held[-_FOOT:]
        if len(self._head) < _HEAD:
            rest = _HEAD - len(self._head)
            self._head, data = self._head + data[:rest], data[rest:]
            if len(self._head) == _HEAD:
                self._version()
        self._walk.feed(data)

    @property
    def keys(self) -> int:
        """Counted so far."""
        return sum(one.keys for one in self._walk.databases.values())

    def finish(self) -> Rdb:
        """What it is, after the last byte. Raises BrokenRdb when that was not the last, or some are not right."""
        if self._size < _HEAD + 1 + _FOOT:
            raise BrokenRdb(f"it has {self._size} bytes")
        said, why = int.from_bytes(self._foot, "little"), self._walk.unfinished()
        if said and said != self._crc:
            raise BrokenRdb(f"CRC-64 of its {self._size} bytes is {self._crc:016x}, its end says {said:016x}")
        if why and not said:
            advice = ": set rdbchecksum to yes" if self._walk.lost else ""
            raise BrokenRdb(f"it has no checksum (rdbchecksum no), and {why}{advice}")
        if why and not self._walk.lost:  # two whole ones behind each other have a right CRC as well
            raise BrokenRdb(why)
        databases = tuple(sorted(self._walk.databases.values(), key=lambda one: one.number))
        return Rdb(self._version(), self._size, f"{said:016x}", databases, self._walk.told, why)

    def _version(self) -> int:
        told = re.fullmatch(rb"REDIS(\d{4})|VALKEY(\d{3})", self._head)
        if told is None or (version := int(told[1] or told[2])) < _OLDEST:
            raise BrokenRdb(f"it begins with {self._head!r} and not as an RDB of version {_OLDEST} or newer")
        if told[2]:
            self._walk.lost = "this format of Valkey's own is not walked"
        return version


class _Walker:
    """Goes from key to key. It gives up where it does not know what comes, and says why."""

    def __init__(self) -> None:
        self.databases: dict[int, Database] = {}
        self.told: dict[str, str] = {}
        self.lost = ""
        self._database = Database(0)
        self._data, self._at, self._text = b"", 0, ""
        self._behind: int | None = None
        """Bytes after the opcode that ends it, once that was met."""
        self._file = self._opcodes()
        self._want = next(self._file)

    def feed(self, data: bytes) -> None:
        """Go on as far as these bytes reach."""
        if self._behind is not None:
            self._behind += len(data)
        if self._behind is not None or self.lost:
            return
        self._data += data
        end = len(self._data)
        try:
            while self._at < end:
                self._step()
        except IndexError:
            pass  # the rest of it is not here yet
        except _Lost as lost:
            self.lost = str(lost)
        except StopIteration:
            self._behind = end - self._at
        self._data, self._at = self._data[self._at :], max(0, self._at - end)

    def unfinished(self) -> str:
        """Why the end was not reached, in words; "" when it was, exactly."""
        if self.lost or self._behind == _FOOT:
            return self.lost
        return "it ends too early" if self._behind is None or self._behind < _FOOT else "bytes follow its end"

    def _step(self) -> None:
        """Read what is wanted, and ask what is wanted next. Raises IndexError when not all of it is here."""
        what, count, behind = self._want
        value = 0
        if what == _BYTE:
            self._hurry()
            value = self._data[self._at]
            self._at += 1
        elif what == _STRINGS:
            self._at, left = _pass(self._data, self._at, count, behind)
            if left:
                self._want = (what, left, behind)
                raise IndexError
        elif what == _NUMBER:
            value, self._at = _number(self._data, self._at)
        elif what == _SKIP:
            self._at += count
        else:
            self._text, self._at = _text(self._data, self._at)
        self._want = self._file.send(value)

    def _hurry(self) -> None:
        """Pass keys of the commonest shape, one string with or without an expiry, without asking for each part."""
        data, at, one = self._data, self._at, self._database
        try:
            while True:
                code, start = data[at], at + 1
                if expires := code == _EXPIRE_MS:
                    code, start = data[at + 9], at + 10
                if code not in _OF_ONE_STRING:
                    break
                first = data[start]
                start = start + 1 + first if first < 64 else _end_of_string(data, start)
                first = data[start]
                at = start + 1 + first if first < 64 else _end_of_string(data, start)
                one.keys += 1
                one.expire += expires
        except IndexError:
            pass
        self._at = at

    # --- what an RDB is made of

    def _opcodes(self) -> _Walk:
        """To the opcode that ends it."""
        while (code := (yield _BYTE, 0, 0)) != _EOF:
            if code in _OF_ONE_STRING:
                self._database.keys += 1
                yield _STRINGS, 2, 0
            elif code < _SLOT:
                self._database.keys += 1
                yield _STRINGS, 1, 0
                yield from _value(code)
            elif code in (_EXPIRE_MS, _EXPIRE_S):
                self._database.expire += 1
                yield _SKIP, 8 if code == _EXPIRE_MS else 4, 0
            elif code == _SELECT:
                number = yield _NUMBER, 0, 0
                self._database = self.databases.setdefault(number, Database(number))
            elif code == _AUX:
                yield from self._aux()
            else:
                yield from _other(code)

    def _aux(self) -> _Walk:
        """What the server says of itself: a name and a value."""
        yield _TEXT, 0, 0
        name = self._text
        yield _TEXT, 0, 0
        self.told[name] = self._text


def _other(code: int) -> _Walk:
    """An opcode that counts for nothing here."""
    if code == _RESIZE:
        yield from _numbers(2)
    elif code == _SLOT:
        yield from _numbers(3)
    elif code == _FREQ:
        yield _SKIP, 1, 0
    elif code == _IDLE:
        yield _NUMBER, 0, 0
    elif code == _FUNCTION:
        yield _STRINGS, 1, 0
    elif code == _MODULE_AUX:
        yield from _numbers(1)
        yield from _module()
    else:
        raise _Lost(f"its opcode {code} is not known here")


def _value(code: int) -> _Walk:
    """The value of a key whose type is ``code``."""
    if code in _PER_ELEMENT:
        strings, behind = _PER_ELEMENT[code]
        yield _STRINGS, strings * (yield _NUMBER, 0, 0), behind
    elif code == _QUICKLIST_2:
        for _ in range((yield _NUMBER, 0, 0)):
            yield _NUMBER, 0, 0
            yield _STRINGS, 1, 0
    elif code in _STREAMS:
        yield from _stream(code)
    elif code == _MODULE:
        yield from _numbers(1)
        yield from _module()
    elif code == _HASH_TTL:
        yield _SKIP, 8, 0
        for _ in range((yield _NUMBER, 0, 0)):
            yield _NUMBER, 0, 0
            yield _STRINGS, 2, 0
    elif code == _LISTPACK_TTL:
        yield _SKIP, 8, 0
        yield _STRINGS, 1, 0
    else:
        raise _Lost(f"its type {code} is not known here")


def _stream(code: int) -> _Walk:
    """Listpacks by their first id, counters, then consumer groups with what is pending."""
    newer, newest = code >= _STREAMS[1], code >= _STREAMS[2]
    yield _STRINGS, 2 * (yield _NUMBER, 0, 0), 0
    yield from _numbers(8 if newer else 3)
    for _ in range((yield _NUMBER, 0, 0)):
        yield _STRINGS, 1, 0
        yield from _numbers(3 if newer else 2)
        for _ in range((yield _NUMBER, 0, 0)):
            yield _SKIP, 16 + 8, 0
            yield _NUMBER, 0, 0
        for _ in range((yield _NUMBER, 0, 0)):
            yield _STRINGS, 1, 0
            yield _SKIP, 16 if newest else 8, 0
            yield _SKIP, 16 * (yield _NUMBER, 0, 0), 0


def _module() -> _Walk:
    """What a module wrote: parts, each with its kind, to a 0."""
    while part := (yield _NUMBER, 0, 0):
        if part in (1, 2):
            yield _NUMBER, 0, 0
        elif part in (3, 4):
            yield _SKIP, 4 * (part - 2), 0
        elif part == 5:
            yield _STRINGS, 1, 0
        else:
            raise _Lost(f"a module wrote something of kind {part}")


def _numbers(count: int) -> _Walk:
    for _ in range(count):
        yield _NUMBER, 0, 0


# --- bytes; each raises IndexError when they are not all here


def _pass(data: bytes, at: int, count: int, behind: int) -> tuple[int, int]:
    """Pass ``count`` strings, and the bytes behind each, as far as the data reaches: where that is, how many are left.

    The last one may end beyond the data: what is in it does not matter.
    """
    end = len(data)
    try:
        while count and at < end:
            first = data[at]
            at = (at + 1 + first if first < 64 else _end_of_string(data, at)) + behind
            count -= 1
    except IndexError:
        pass
    return at, count


def _end_of_string(data: bytes, at: int) -> int:
    """Where the string ends: plain, an integer of one, two or four bytes, or compressed by LZF."""
    kind = data[at]
    if kind < 0xC0:
        size, start = _number(data, at)
        return start + size
    if kind < 0xC3:
        return at + 1 + (1 << (kind & 3))
    if kind > 0xC3:
        raise _Lost(f"a string is encoded as {kind}")
    packed, start = _number(data, at + 1)
    _, start = _number(data, start)
    return start + packed


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of 6, 14, 32 or 64 bits, and where it ends."""
    first = data[at]
    if first < 64:
        return first, at + 1
    if first < 128:
        return (first & 63) << 8 | data[at + 1], at + 2
    if first not in (0x80, 0x81):
        raise _Lost(f"a number begins with {first}")
    size = 4 if first == 0x80 else 8
    return int.from_bytes(_some(data, at + 1, size), "big"), at + 1 + size


def _text(data: bytes, at: int) -> tuple[str, int]:
    """A short string, and where it ends; what is long or compressed is passed by as ""."""
    end = _end_of_string(data, at)
    kind = data[at]
    if kind < 0xC0:
        size, start = _number(data, at)
        return (_some(data, start, size).decode("ascii", "replace") if size <= _LONGEST_TEXT else ""), end
    if kind < 0xC3:
        return str(int.from_bytes(_some(data, at + 1, end - at - 1), "little", signed=True)), end
    return "", end


def _some(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise IndexError
    return data[at : at + size]
