"""Commands of many raw documents over pymongo, without a Python object for each of them on the way.

Documents are sent as one run of bytes, which is how they stand in a message (OP_MSG, section of kind 1); what a cursor
answers is cut where its array says.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import count
from typing import Any

from bson.codec_options import CodecOptions
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument
from bson.son import SON
from pymongo.errors import OperationFailure, PyMongoError, WriteConcernError

from onlyvips.core import little_bson

_RAW: Any = CodecOptions(document_class=RawBSONDocument)
_LARGE = 4 << 20
_receiving = threading.Lock()
"""Held while a large reply is received, which takes several times its size: one at a time is enough of them."""
_MOST, _LARGEST = 10_000, 8 << 20
"""Statements and bytes of one command; a larger statement goes alone."""
_MOST_AT_ONCE = 100_000
"""Documents of one insert, which a server takes at most (``maxWriteBatchSize``)."""
_IDS = 1 << 20
"""Bytes of ids, about, that are asked for at a time: all of a filter is one document, of 16 MiB at most."""
FIRST, _MOST_ASKED, _ASKED = 100, 10_000, 1 << 20
"""Documents in the first batch of a cursor, at most in any, and bytes of one, about."""
_KEY = 8
"""Bytes of a key in an array, at most."""
_VALUE = 9
"""Where the value of ``{_id: …}`` begins."""
Failure = tuple[int, int, str]
"""Place (from 0), code and words of what the server did not write."""


class _Run(RawBSONDocument):
    """Documents one after the other, in the place of one: pymongo copies ``raw`` into its message as it is."""

    __slots__ = ("_run",)

    def __init__(self, run: bytes) -> None:  # without the one above, which refuses more than one document
        self._run = run

    @property
    def raw(self) -> bytes:
        return self._run


def insert(database: Any, collection: str, run: bytes, **options: Any) -> list[Failure]:
    """Insert the documents that stand one after the other in ``run``; which of them the server did not."""
    failed, before = list[Failure](), 0
    whole = len(run) <= _LARGEST and little_bson.are_at_most(_MOST_AT_ONCE, run)
    for part in [run] if whole else _runs(little_bson.each(run)):
        answer = _done(database, SON([("insert", collection), ("documents", [_Run(part)])]), options)
        wrong = answer.get("writeErrors", ())
        failed += [(before + int(one["index"]), int(one["code"]), str(one.get("errmsg", ""))) for one in wrong]
        before += int(answer["n"]) + len(wrong)
    return failed


def replace(database: Any, collection: str, pairs: Iterable[tuple[bytes, bytes]], **options: Any) -> None:
    """Put each document in the place of any with its ``{_id: …}``: pairs of that and the whole document."""
    told = (little_bson.document(b"\x03q\0", id, b"\x03u\0", whole, b"\x08upsert\0\x01") for id, whole in pairs)
    for run in _runs(told):
        _all(_done(database, SON([("update", collection), ("updates", [_Run(run)])]), options))


def delete(database: Any, collection: str, filters: Iterable[bytes], *, limit: int = 1, **options: Any) -> None:
    """Remove what each filter finds: the first, or all of it where ``limit`` is 0."""
    told = (little_bson.document(b"\x03q\0", one, little_bson.int32("limit", limit)) for one in filters)
    for run in _runs(told):
        _all(_done(database, SON([("delete", collection), ("deletes", [_Run(run)])]), options))


def find(database: Any, asked: Mapping[str, Any], first: int = FIRST) -> Iterator[list[bytes]]:
    """The documents that ``asked`` (find's own fields) finds, about 1 MiB at a time, the ``first`` ones in the first
    batch, all by one session. While the caller looks at a batch, the next one comes; not where they are large."""
    client, name = database.client, {"collection": asked["find"]}
    with ThreadPoolExecutor(1) as beside, _session(client) as session:
        how = {"codec_options": _RAW, "session": session, "read_preference": client.read_preference}
        number, array = _batch(database.command(SON({**asked, "batchSize": first}), **how))
        documents = little_bson.inside(array)
        del array
        try:
            while number:
                size, most = sum(map(len, documents)), _batch_of(documents) or first
                more = SON([("getMore", Int64(number)), *name.items(), ("batchSize", most)])
                if size > _LARGE:
                    yield documents
                    documents = []
                    number, documents = _alone(database, more, how)
                    continue
                coming = beside.submit(database.command, more, **how)
                yield documents
                number, array = _batch(coming.result())
                documents = little_bson.inside(array)
                del array, coming
            yield documents
        finally:
            beside.shutdown()  # a session is for one command at a time
            if number:
                over = SON([("killCursors", asked["find"]), ("cursors", [Int64(number)])])
                with suppress(PyMongoError):
                    database.command(over, session=session)


def ids(documents: Sequence[bytes]) -> bytes:
    """The filter for documents by their ``{_id: …}``."""
    keys = (b"%d\0" % number for number in count())
    values = (one[4:5] + key + one[_VALUE:-1] for one, key in zip(documents, keys, strict=False))
    array = b"\x04$in\0" + little_bson.document(*values)
    return little_bson.document(little_bson.embedded("_id", little_bson.document(array)))


def portions(ids: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The same ids, as many at a time as one filter may have."""
    begin, size = 0, 0
    for at, one in enumerate(ids):
        size += len(one) + _KEY
        if size > _IDS and at > begin:
            yield ids[begin:at]
            begin, size = at, len(one) + _KEY
    if begin < len(ids):
        yield ids[begin:]


def _session(client: Any) -> AbstractContextManager[Any]:
    """A session, where the server has any: a cursor goes on in the one that it began in."""
    if client.topology_description.logical_session_timeout_minutes is None:  # or it was not asked of late
        client.admin.command("ping")
    if client.topology_description.logical_session_timeout_minutes is None:
        return nullcontext()
    session: AbstractContextManager[Any] = client.start_session()
    return session


def _runs(documents: Iterable[bytes]) -> Iterator[bytes]:
    waiting, size = list[bytes](), 0
    for one in documents:
        if waiting and (len(waiting) == _MOST or size + len(one) > _LARGEST):
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(one)
        size += len(one)
    if waiting:
        yield b"".join(waiting)


def _done(database: Any, command: SON[str, Any], options: Mapping[str, Any]) -> Any:
    """Do a write, unordered, acknowledged by a majority; its answer. Raises WriteConcernError."""
    command.update(SON([("ordered", False), ("writeConcern", {"w": "majority"})]), **options)
    answer = database.command(command, codec_options=_RAW)
    if (short := answer.get("writeConcernError")) is not None:
        raise WriteConcernError(str(short.get("errmsg")), short.get("code"))
    return answer


def _all(answer: Any) -> None:
    for one in answer.get("writeErrors", ()):
        raise OperationFailure(str(one.get("errmsg")), one["code"])


def _alone(database: Any, more: SON[str, Any], how: Mapping[str, Any]) -> tuple[int, list[bytes]]:
    with _receiving:
        number, array = _batch(database.command(more, **how))
        return number, little_bson.inside(array)


def _batch(answer: Any) -> tuple[int, little_bson.Element]:
    """A cursor's number (0 with the last batch), and the array of its next batch."""
    told = {one.name: one for one in little_bson.fields(bytes(answer.raw))["cursor"].elements()}
    return told["id"].number() or 0, told["firstBatch"] if "firstBatch" in told else told["nextBatch"]


def _batch_of(documents: Sequence[bytes]) -> int:
    """How many such documents to ask for at a time; 0 where there is none to tell."""
    return documents and max(1, min(_MOST_ASKED, _ASKED * len(documents) // sum(map(len, documents)))) or 0
