"""As much BSON as the framing of an archive needs: documents of strings, booleans and integers, in a fixed order."""

from __future__ import annotations

import struct

_INT32 = struct.Struct("<i")
_INT64 = struct.Struct("<q")
_KINDS = {0x02: "str", 0x08: "bool", 0x10: "int32", 0x12: "int64"}


def string(name: str, value: str) -> bytes:
    data = value.encode() + b"\0"
    return b"\x02" + name.encode() + b"\0" + _INT32.pack(len(data)) + data


def boolean(name: str, value: bool) -> bytes:
    return b"\x08" + name.encode() + b"\0" + bytes([value])


def int32(name: str, value: int) -> bytes:
    return b"\x10" + name.encode() + b"\0" + _INT32.pack(value)


def int64(name: str, value: int) -> bytes:
    return b"\x12" + name.encode() + b"\0" + _INT64.pack(value)


def document(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return _INT32.pack(len(body) + 5) + body + b"\0"


Value = str | bool | int


def decode(data: bytes, fields: dict[str, str]) -> dict[str, Value]:
    """The elements of ``data``, which must be exactly ``fields`` (name: kind) in that order. Raises ValueError."""
    found: dict[str, Value] = {}
    at = 4
    for name, kind in fields.items():
        end = data.index(0, at + 1)
        if (data[at + 1 : end].decode(), _KINDS.get(data[at])) != (name, kind):
            raise ValueError(f"field {name} ({kind}) is missing")
        found[name], at = _value(data, end + 1, kind)
    if at != len(data) - 1:
        raise ValueError("there are more fields than the format knows")
    return found


def _value(data: bytes, at: int, kind: str) -> tuple[Value, int]:
    if kind == "int32":
        return _INT32.unpack_from(data, at)[0], at + 4
    if kind == "int64":
        return _INT64.unpack_from(data, at)[0], at + 8
    if kind == "bool":
        if data[at] > 1:
            raise ValueError(f"a boolean is {data[at]}")
        return bool(data[at]), at + 1
    end = at + 4 + _INT32.unpack_from(data, at)[0]
    if not at + 4 < end < len(data) or data[end - 1] != 0:
        raise ValueError("a string does not end where it says")
    return data[at + 4 : end - 1].decode(), end
