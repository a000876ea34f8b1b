"""A platform's data, the same at every run: users, tasks, contents and payments in FerretDB."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import seeds
from bson import ObjectId, encode
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from rich.console import Console

DATABASE = "onlyvips"
DOCUMENTS = 200_000
BATCH = 2_000
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SHARES = {"users": 0.20, "tasks": 0.30, "contents": 0.20, "payments": 0.30}
WORDS = (
    "story",
    "photo",
    "video",
    "voice",
    "live",
    "letter",
    "sunset",
    "studio",
    "travel",
    "kitchen",
    "music",
    "night",
)
Document = dict[str, Any]


def user(number: int, dice: random.Random) -> Document:
    """A person, told apart by the id Telegram gave them."""
    return {
        "telegramId": 100_000_000 + number * 7,  # unique
        "username": f"{dice.choice(WORDS)}_{number}",
        "role": dice.choices(("fan", "shower", "admin"), (90, 9, 1))[0],
        "profile": {"language": dice.choice(("tr", "en", "de", "ru"))},
    }


def task(number: int, dice: random.Random) -> Document:
    """Something to do for a reward."""
    return {
        "title": " ".join(dice.choices(WORDS, k=4)),
        "status": dice.choice(("open", "done", "expired")),
        "createdAt": moment(dice),
    }


def content(number: int, dice: random.Random) -> Document:
    """What a shower shows."""
    return {
        "showerId": 100_000_000 + dice.randrange(40_000) * 7,
        "status": dice.choice(("published", "draft", "removed")),
        "media": f"media/{number:08d}.jpg",
    }


def payment(number: int, dice: random.Random) -> Document:
    """Money that moved, or did not."""
    return {
        "userId": 100_000_000 + dice.randrange(40_000) * 7,
        "amount": dice.randrange(100, 50_000) / 100,
        "createdAt": moment(dice),
    }


MAKERS: dict[str, Callable[[int, random.Random], Document]] = {
    "users": user,
    "tasks": task,
    "contents": content,
    "payments": payment,
}


def moment(dice: random.Random) -> datetime:
    """A time in the half year after the epoch, in whole milliseconds as BSON keeps them."""
    return EPOCH + timedelta(milliseconds=dice.randrange(180 * 86_400_000))


def documents(collection: str, count: int) -> Iterator[RawBSONDocument]:
    """The first `count` documents of a collection, encoded once."""
    dice = random.Random(collection)
    for number in range(count):
        identity = {"_id": ObjectId(hashlib.sha256(f"{collection}/{number}".encode()).digest()[:12])}
        yield RawBSONDocument(encode(identity | MAKERS[collection](number, dice)))


def chunks(items: Iterable[RawBSONDocument], size: int) -> Iterator[list[RawBSONDocument]]:
    """Lists of at most `size` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def load(uri: str, folder: Path, cache: Path, count: int, console: Console) -> None:
    """Fill the database, unless it is filled, and keep a copy of it for the next fresh lab."""
    started = time.monotonic()
    sizes = {name: round(count * share) for name, share in SHARES.items()}
    with MongoClient(uri) as client:
        database = client[DATABASE]
        if database.command("dbStats")["objects"] >= sum(sizes.values()):  # counting would scan it all
            console.print(f"  {count} documents are there")
            return
        seeds.end_oplog(uri)  # it would log all of it
        for name, size in sizes.items():
            database[name].drop()
            for chunk in chunks(documents(name, size), BATCH):
                database[name].insert_many(chunk, ordered=False)
            console.print(f"  {name:<9} {size:>8} documents, {time.monotonic() - started:6.1f} s")
    seeds.begin_oplog(uri)
    target = cached(cache, count)
    if not target.exists():
        keep(folder / target.name, target)


def cached(cache: Path, count: int = DOCUMENTS) -> Path:
    """Where the cache keeps FerretDB's file of this data."""
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    return cache / f"dataset-{source}-{count}" / f"{DATABASE}.sqlite"


def keep(source: Path, target: Path) -> None:
    """Copy an SQLite file that is in use, by SQLite's own backup."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        copy = Path(folder) / target.name
        origin, destination = sqlite3.connect(source), sqlite3.connect(copy)
        origin.backup(destination)
        destination.close()
        origin.close()
        copy.rename(target)
