"""Scratch on MongoDB and on FerretDB."""

from __future__ import annotations

from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.core.drills import SCRATCH
from onlyvips.errors import Misuse


class MongoScratch:
    """One server, over the connection of a ``MongoDatabase``."""

    def __init__(self, database: MongoDatabase) -> None:
        self._database = database

    def databases(self) -> list[str]:
        with self._database.explained("list its databases"):
            client = self._database.client
            return sorted(one for one in client.list_database_names() if client[one].list_collection_names())

    def drop(self, database: str) -> None:
        if not database.startswith(SCRATCH):
            raise Misuse(f"{database} is no drill's database: it is not dropped.")
        with self._database.explained(f"drop {database}"):
            self._database.client.drop_database(database)
