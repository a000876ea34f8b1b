"""The RDB of one Redis server as the one object of a backup: found whole while it passes, and again when it is opened.

In the manifest it is one namespace of type ``rdb``: ``documents`` are keys, ``bytes`` those of the plain file,
``crc64`` its own CRC-64/REDIS (all zero: the server computes none), ``metadata`` what is known of it, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import anycrc

from onlyvips.core.manifest import NamespaceRecord, ObjectRecord
from onlyvips.core.rdb import BrokenRdb, Rdb, Reader, checked
from onlyvips.errors import Transient
from onlyvips.ports import SnapshotSource
from onlyvips.steps.pipe import Meter, Piece

TYPE = "rdb"
_TOLD = ("ctime", "redis-ver", "repl-id", "repl-offset", "used-mem", "valkey-ver")


def new_reader() -> Reader:
    """Checks the bytes of one RDB."""
    return Reader(anycrc.Model("CRC64-REDIS").calc)


def is_rdb(record: ObjectRecord) -> bool:
    """Whether the object is an RDB."""
    return [one.type for one in record.namespaces] == [TYPE]


def rdb_piece(source: SnapshotSource) -> Piece:
    """All databases of the server. Its end raises Transient when it was not a whole RDB."""
    found: list[Rdb] = []

    def read(meter: Meter) -> Iterator[bytes]:
        found.clear()
        reader, keys = new_reader(), 0
        try:
            for chunk in checked(source.snapshot(), reader):
                meter.add(len(chunk), reader.keys - keys)
                keys = reader.keys
                yield chunk
            found.append(reader.finish())
        except BrokenRdb as error:
            raise Transient(
                f"What Redis sent is not a whole RDB: {error}; it counts for nothing: look into Redis' log, then take "
                "it again.",
                delay=10.0,
            ) from error

    return Piece("objects/0001-redis.rdb.zst.age", read, lambda: (_record(found[0]),))


def difference(record: ObjectRecord, found: Rdb) -> str:
    """What of an opened object is not as the manifest says, in words; "" when everything is.

    Keys are compared where they were counted then and now: another version of this program may know more types.
    """
    (told,), here = record.namespaces, _record(found)
    counted = not found.uncounted and "uncounted" not in json.loads(told.metadata)
    if (told.bytes, told.crc64) == (here.bytes, here.crc64) and (told.documents == here.documents or not counted):
        return ""
    return f"holds {_in_words(here)}, the manifest says {_in_words(told)}"


def _record(found: Rdb) -> NamespaceRecord:
    databases = [{"number": one.number, "keys": one.keys, "expire": one.expire} for one in found.databases]
    told = {name: value for name, value in found.told.items() if name in _TOLD}
    keys = {"uncounted": found.uncounted} if found.uncounted else {"databases": databases}
    metadata = json.dumps({"rdb": found.version, **keys, **told}, sort_keys=True)
    return NamespaceRecord("redis", "dump.rdb", TYPE, metadata, found.keys, found.size, found.crc64)


def _in_words(one: NamespaceRecord) -> str:
    return f"{one.documents} keys in {one.bytes} bytes with CRC-64 {one.crc64}"
