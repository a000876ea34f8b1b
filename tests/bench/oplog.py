"""A history of one collection as MongoDB logs it, with what it must leave, known without replaying it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import bson

from tests.bench.servers import DATABASE
from tests.simulators.oplog import START, entry

COLLECTION = "orders"
_A_SECOND = 1000
Document = dict[str, Any]


@dataclass(frozen=True)
class History:
    """Raw ``entries``, the first of which is about nothing, and the ``documents`` that are there after the last."""

    entries: list[bytes]
    documents: dict[int, Document]

    @property
    def size(self) -> int:
        """Bytes of it."""
        return sum(map(len, self.entries))


def history(operations: int, seed: int = 1) -> History:
    """Two in five insert, two change by a ``$v: 2`` diff, one removes, of documents drawn from all that are there."""
    random, there = Random(seed), dict[int, Document]()
    ids, entries = list[int](), [entry(START, op="n", ns="")]
    for number in range(operations):
        at = START + 1 + number // _A_SECOND, 1 + number % _A_SECOND
        what = random.choice("iiuud") if ids else "i"
        if what == "i":
            ids.append(number)
            there[number] = _document(number, random)
            entries.append(_entry(at, "i", there[number]))
            continue
        place = random.randrange(len(ids))
        id = ids[place]
        if what == "u":
            entries.append(_entry(at, "u", _changed(there[id], number), o2={"_id": bson.Int64(id)}))
            continue
        ids[place] = ids[-1]
        ids.pop()
        del there[id]
        entries.append(_entry(at, "d", {"_id": bson.Int64(id)}))
    return History(entries, there)


def _entry(at: tuple[int, int], op: str, what: Document, **more: Any) -> bytes:
    return entry(*at, op=op, ns=f"{DATABASE}.{COLLECTION}", o=what, **more)


def _document(number: int, random: Random) -> Document:
    text = random.randbytes(100).hex()
    return {"_id": bson.Int64(number), "user": number % 97, "state": "new", "amount": random.random(), "text": text}


def _changed(document: Document, number: int) -> Document:
    """Change it; the diff that says so."""
    changed = {"state": "paid", "amount": number / 7}
    come = {"paid": bson.Int64(number)} if "paid" not in document else {}
    changed |= {} if come else {"paid": bson.Int64(number)}
    document |= changed | come
    return {"$v": 2, "diff": {"u": changed} | ({"i": come} if come else {})}
