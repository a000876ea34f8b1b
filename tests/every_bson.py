"""Documents of every BSON type, as bytes: what a driver would not write any more, or not read back, is among them."""

from __future__ import annotations

import hashlib
import struct

import bson

from onlyvips.core.little_bson import document, element


def text(value: str) -> bytes:
    data = value.encode() + b"\0"
    return struct.pack("<i", len(data)) + data


def decimal(value: str) -> bytes:
    return bson.Decimal128(value).bid


_SCOPE = document(element(0x10, "n", struct.pack("<i", 1)))
_CODE_WITH_SCOPE = text("f") + _SCOPE
_OLD_BINARY = struct.pack("<i", 6) + b"\x02" + struct.pack("<i", 2) + b"ab"
_NAN, _OTHER_NAN = struct.pack("<d", float("nan")), bytes.fromhex("010000000000f87f")

VALUES: dict[str, tuple[int, bytes]] = {
    "double": (0x01, struct.pack("<d", 1.5)),
    "minus zero": (0x01, struct.pack("<d", -0.0)),
    "nan": (0x01, _NAN),
    "another nan": (0x01, _OTHER_NAN),
    "infinity": (0x01, struct.pack("<d", float("-inf"))),
    "text": (0x02, text("é 漢字 \U0001f600 \0 in the middle")),
    "empty text": (0x02, text("")),
    "document": (0x03, document(element(0x02, "a.b", text("x")), element(0x02, "$c", text("y")))),
    "empty document": (0x03, document()),
    "binary": (0x05, struct.pack("<i", 3) + b"\x00\x01\x02\x03"),
    "old binary": (0x05, _OLD_BINARY),
    "uuid": (0x05, struct.pack("<i", 16) + b"\x04" + bytes(range(16))),
    "own binary": (0x05, struct.pack("<i", 1) + b"\x80\xff"),
    "object id": (0x07, bytes(range(12))),
    "true": (0x08, b"\x01"),
    "false": (0x08, b"\x00"),
    "date": (0x09, struct.pack("<q", 1_700_000_000_000)),
    "a date after the year 9999": (0x09, struct.pack("<q", 2**60)),
    "a date before the year 1": (0x09, struct.pack("<q", -(2**60))),
    "null": (0x0A, b""),
    "database pointer": (0x0C, text("db.c") + bytes(range(12))),
    "code": (0x0D, text("function(){}")),
    "symbol": (0x0E, text("sym")),
    "code with scope": (0x0F, struct.pack("<i", len(_CODE_WITH_SCOPE) + 4) + _CODE_WITH_SCOPE),
    "int32": (0x10, struct.pack("<i", -7)),
    "timestamp": (0x11, struct.pack("<Q", (5 << 32) + 1)),
    "int64": (0x12, struct.pack("<q", 2**62)),
    "decimal": (0x13, decimal("1.50")),
    "decimal nan": (0x13, decimal("NaN")),
    "decimal infinity": (0x13, decimal("-Infinity")),
    "a decimal as large as they are": (0x13, decimal("9.999999999999999999999999999999999E+6144")),
    "smallest key": (0xFF, b""),
    "largest key": (0x7F, b""),
}
"""What may be an ``_id``, and be anywhere else."""
NO_IDS: dict[str, tuple[int, bytes]] = {
    "array": (0x04, document(element(0x10, "0", b"\1\0\0\0"), element(0x04, "1", document()))),
    "undefined": (0x06, b""),
    "regular expression": (0x0B, b"a|\xc3\xa9\0imsx\0"),
}
"""What a server takes everywhere but there."""


def _many() -> list[bytes]:
    fields = [element(kind, name, value) for name, (kind, value) in {**VALUES, **NO_IDS}.items()]
    return [document(element(0x10, "_id", struct.pack("<i", n)), *fields[n:], *fields[:n]) for n in range(len(fields))]


def _number(number: int, field: bytes) -> bytes:
    return document(element(0x10, "_id", struct.pack("<i", number)), field)


def _ids() -> list[bytes]:
    each = [
        document(element(kind, "_id", value), element(0x02, "is", text(name))) for name, (kind, value) in VALUES.items()
    ]
    numbers = [
        document(element(0x10, "_id", struct.pack("<i", n)), element(0x02, "p", text("x" * 90))) for n in range(400)
    ]
    names = [document(element(0x02, "_id", text(f"k{n}")), element(0x02, "p", text("y" * 90))) for n in range(200)]
    # Between them, so that no range is one run.
    return [one for at in range(0, 400, 20) for one in (*numbers[at : at + 20], *each[at // 10 : at // 10 + 2])] + [
        *each[40:],
        *names,
    ]


def _deep(levels: int) -> bytes:
    inner = document(element(0x10, "n", b"\1\0\0\0"))
    for level in range(levels):
        inner = document(element(0x04, "0", inner)) if level % 2 else document(element(0x03, "0", inner))
    return document(element(0x10, "_id", b"\1\0\0\0"), element(0x03, "deep", inner))


def _large(size: int, seed: int) -> bytes:
    noise = hashlib.shake_256(bytes([seed])).digest(size)
    return _number(seed, element(0x05, "b", struct.pack("<i", size) + b"\0" + noise))


COLLECTIONS: dict[str, list[bytes]] = {
    "every type": _many(),
    "ids": _ids(),
    "deep": [_deep(95)],
    "large": [_large(15_000_000, 1), _large(15_000_000, 2), _large(16 * 1024 * 1024 - 100, 3)],
    "empty": [],
    "ünï/cödé 漢字%": [document(element(0x02, "_id", text("é")), element(0x02, "ключ", text("значение")))],
    "only an id": [document(element(0x07, "_id", bytes(12)))],
}
