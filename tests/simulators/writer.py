"""A writer that keeps its own journal: entries as MongoDB logs them, and what the documents are after each."""

from __future__ import annotations

import copy
import random
from typing import Any

import bson

from tests.simulators.oplog import entry

State = dict[Any, dict[str, Any]]


class Writer:
    """Writes to one collection, one entry a second; ``states`` is its journal, by second. ``kinds``: what it does, by
    chance: insert, change, replace, remove."""

    kinds = "iuuurd"

    def __init__(self, start: int, seed: int = 0, ns: str = "app.orders", documents: State | None = None) -> None:
        self.at, self.ns = start, ns
        self.documents = copy.deepcopy(documents or {})
        self.states: dict[int, State] = {start: copy.deepcopy(self.documents)}
        self.dice = random.Random(seed)

    def step(self) -> bytes:
        """One more entry."""
        self.at += 1
        kind = self.dice.choice(self.kinds) if self.documents else "i"
        made = getattr(self, f"_{kind}")()
        self.states[self.at] = copy.deepcopy(self.documents)
        return entry(self.at, ns=self.ns, **made)

    def _some(self) -> Any:
        return self.dice.choice(sorted(self.documents))

    def _i(self) -> dict[str, Any]:
        id = 1000 + self.at
        self.documents[id] = {"_id": id, "n": self.at, "list": [1, 2], "in": {"a": 1}}
        return {"op": "i", "o": self.documents[id]}

    def _d(self) -> dict[str, Any]:
        id = self._some()
        del self.documents[id]
        return {"op": "d", "o": {"_id": id}}

    def _r(self) -> dict[str, Any]:
        id = self._some()
        self.documents[id] = {"_id": id, "replaced": self.at}
        return {"op": "u", "o": self.documents[id], "o2": {"_id": id}}

    def _u(self) -> dict[str, Any]:
        """As the server writes it: a field that is there changes in place, another comes at the end."""
        id = self._some()
        document = self.documents[id]
        diff: dict[str, Any] = {"u" if "n" in document else "i": {"n": self.at}}
        document["n"] = self.at
        if "list" in document and self.dice.random() < 0.5:
            document["list"].append(self.at)
            diff["slist"] = {"a": True, f"u{len(document['list']) - 1}": self.at}
        elif "in" in document:
            del document["in"]
            diff = {"d": {"in": False}, **diff}
        return {"op": "u", "o": {"$v": 2, "diff": diff}, "o2": {"_id": id}}


def decoded(documents: dict[bytes, bytes]) -> State:
    """By ``_id``."""
    found = [bson.decode(one) for one in documents.values()]
    return {one["_id"]: one for one in found}
