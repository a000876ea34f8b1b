"""The end of the demo: documents are deleted on purpose, found in the backups to the second, and brought back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from rich.console import Console

from onlyvips.core.manifest import moment

ROOT = Path(__file__).resolve().parent.parent
ONLYVIPS = str(Path(sys.executable).parent / "onlyvips")
COLLECTION = "onlyvips.payments"
DELETED = {"amount": {"$lt": 10}}
BEFORE, AFTER = "rescue_before", "rescue_after"
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Counts:
    """Documents that match ``DELETED``: at first, after they were deleted, in the two restores, and at the end."""

    first: int
    deleted: int
    before: int
    after: int
    last: int

    @property
    def good(self) -> bool:
        """They were there a second before, gone a second after, and are back."""
        return self.first > 0 and (self.deleted, self.before, self.after, self.last) == (0, self.first, 0, self.first)

    @property
    def told(self) -> str:
        """It in a sentence."""
        sentence = (
            f"Of {self.first:,} payments deleted on purpose, the restore to one second before has {self.before:,}, the "
            f"one to one second after {self.after:,}, and the platform has {self.last:,} again."
        )
        return sentence if self.good else f"{sentence} That is NOT as expected."


def rescue(uri: str) -> Counts:
    """Delete, look at both sides of that second, bring back. ``uri``: of the lab's database."""
    with MongoClient[dict[str, Any]](uri) as client:
        first, second = delete(client)
        ran = onlyvips("backup", "run", "-e", "lab", "--kind", "oplog", "--local")
        deleted = count(client, "onlyvips")
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(beside, BEFORE, second - 1), pool.submit(beside, AFTER, second + 1)]
            ran = ran and all([one.result() for one in both])
        before, after = (count(client, name) for name in (BEFORE, AFTER))
        for name in (BEFORE, AFTER):
            client.drop_database(name)
        if ran:
            console.rule("[bold]Back in the platform")
            onlyvips(*live(second - 1))
        return Counts(first, deleted, before, after, count(client, "onlyvips"))


def delete(client: MongoClient[dict[str, Any]]) -> tuple[int, int]:
    """Delete within one second in which nothing else happens; returns how many there were, and that second."""
    first = count(client, "onlyvips")
    time.sleep(2 - time.time() % 1)
    client["onlyvips"]["payments"].delete_many(DELETED)
    second = int(time.time())
    console.print(f"{first:,} payments deleted at {moment(second)}, as a person might by mistake.")
    time.sleep(2)
    return first, second


def count(client: MongoClient[dict[str, Any]], database: str) -> int:
    return client[database]["payments"].count_documents(DELETED)


def beside(database: str, second: int) -> bool:
    """A restore of the collection into a database of its own."""
    named = ("--namespace", f"{COLLECTION}={database}.payments")
    return onlyvips(*run_to("env:ONLYVIPS_LAB_MONGODB_URI", second), *named, "--local")


def live(second: int) -> Sequence[str]:
    """The restore into the platform."""
    return (*run_to("live", second), "--namespace", f"{COLLECTION}={COLLECTION}", "--overwrite", COLLECTION, "--local")


def run_to(target: str, second: int) -> Sequence[str]:
    return ("restore", "run", "-e", "lab", "--target", target, "--at", moment(second))


def onlyvips(*words: str) -> bool:
    """A command as a person gives it, its output shown; whether it exited 0."""
    console.print(f"$ onlyvips {' '.join(words)}")
    return subprocess.run([ONLYVIPS, *words], cwd=ROOT, check=False).returncode == 0
