"""The migration's program: the plan's indexes, made where they are missing (``python -m`` in the migration's Job).

Reads ``MONGODB_URI`` (from a Secret) and ``MIGRATION``, JSON: ``database`` and ``indexes``, each with ``collection``,
``keys`` and ``unique``.
Making an index that is there is done, so the Job may run again.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from onlyvips.errors import Permanent

_TIMEOUT_MS = 5000


def make_indexes(uri: str, migration: dict[str, Any]) -> list[str]:
    """Make each index and return its name as the server says it. Raises Permanent, naming the one that failed."""
    client: MongoClient[dict[str, Any]] = MongoClient(
        uri, serverSelectionTimeoutMS=_TIMEOUT_MS, connectTimeoutMS=_TIMEOUT_MS, retryWrites=False
    )
    with client:
        return [_make(client, migration["database"], index) for index in migration["indexes"]]


def _make(client: MongoClient[dict[str, Any]], database: str, index: dict[str, Any]) -> str:
    keys = [(key, direction) for key, direction in index["keys"]]
    collection = client[database][index["collection"]]
    try:
        # FerretDB refuses ``unique: false``, so it is said only when it is true.
        name = collection.create_index(keys, unique=True) if index["unique"] else collection.create_index(keys)
    except PyMongoError as error:
        raise Permanent(
            f"The index {keys} of {database}.{index['collection']} was not made: {error}. The indexes before it stay."
        ) from error
    return f"{database}.{index['collection']}.{name}"


def main() -> int:
    """Run the migration of this process's environment."""
    try:
        made = make_indexes(os.environ["MONGODB_URI"], json.loads(os.environ["MIGRATION"]))
    except Permanent as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"index {name} is there\n" for name in made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
