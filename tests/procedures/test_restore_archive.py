"""Archives of mongodump's own form, restored on a simulator: read to their end first, loaded, compared."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import bson
import fastcrc
import pytest

from flows.commands import run
from onlyvips import environment as environments
from onlyvips.adapters.file_archive import read_archive, zstd
from onlyvips.core.archive import Entry, Prelude, Tally, write_collection, write_prelude
from onlyvips.core.changes import Create
from onlyvips.errors import Transient
from onlyvips.wiring.restoring import foreign, mongodb
from tests.simulators.objects import Killed, Life
from tests.simulators.target import SimulatedTarget, state

INDEXED = '{"indexes":[{"v":2,"key":{"_id":1},"name":"_id_"},{"v":2,"key":{"n":1},"name":"n_1"}]}'
VIEWED = '{"options":{"viewOn":"orders","pipeline":[]},"indexes":[],"type":"view"}'
ORDERS = {n: {"_id": n, "n": n * 2} for n in range(2500)}
ENTRIES = (
    Entry("app", "orders", INDEXED, "collection"),
    Entry("app", "seen", VIEWED, "view"),
    Entry("app", "$admin.system.users", "{}", "collection"),
)


def archive(*entries: Entry) -> bytes:
    parts = [write_prelude(Prelude("7.0.0", "100.9.0", entries or ENTRIES))]
    for one in entries or ENTRIES:
        documents = [bson.encode(each) for each in ORDERS.values()] if one.collection == "orders" else []
        batches = [b"".join(documents[at : at + 1100]) for at in range(0, len(documents), 1100)]
        parts += write_collection((one.database, one.collection), batches, Tally(), fastcrc.crc64.xz)
    return b"".join(parts)


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> SimulatedTarget:
    found, live = SimulatedTarget(), SimulatedTarget()
    live.identity = "live"
    for kind in (foreign, mongodb):
        monkeypatch.setattr(kind, "MongoDatabase", lambda uri, **_: uri)
        monkeypatch.setattr(kind, "MongoTarget", lambda uri: found if uri == "env:X" else live)
    monkeypatch.setattr(foreign.environments, "endpoint", lambda loaded, reference: reference)
    return found


def restore(path: Path, *more: str) -> int:
    return run(["restore", "archive", str(path), "-e", "lab", "--target", "env:X", *more])


@pytest.mark.parametrize("packed", [bytes, gzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
def test_it_comes_back_with_indexes_and_views_however_it_is_packed(
    target: SimulatedTarget, tmp_path: Path, packed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "dump"
    path.write_bytes(packed(archive()))
    assert restore(path) == 0
    assert state(target, "app.orders") == ORDERS
    assert [json.loads(one)["name"] for one in target.indexes["app.orders"]] == ["n_1"]
    assert json.loads(target.options["app.seen"])["viewOn"] == "orders"
    told = capsys.readouterr().out
    assert "2,500 documents of 2 collections read back equal, 1 indexes" in told
    assert "app.$admin.system.users is the server's own" in told


def test_one_collection_comes_back_under_another_name(target: SimulatedTarget, tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(archive())
    assert restore(tmp_path / "dump", "--namespace", "app.orders=x.y", "--json") == 0
    assert state(target, "x.y") == ORDERS and target.collections("app") == []


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda whole: whole[:-9], "the archive ends"),
        (lambda whole: whole[:900] + bytes([whole[900] ^ 1]) + whole[901:], "no whole archive"),
        (lambda whole: b"{}", "no whole archive"),
        (lambda whole: b"age-encryption.org/v1\n", "decrypt it first"),
        (lambda whole: gzip.compress(whole)[:-20], "cannot be read as an archive"),
        (lambda whole: archive(Entry("app", "s", "{}", "timeseries")), "app.s is a timeseries"),
        (lambda whole: archive(Entry("app", "system.users", "{}", "collection")), "nothing that comes back"),
    ],
)
def test_what_is_not_whole_or_cannot_be_exact_is_refused_before_anything_is_written(
    target: SimulatedTarget, tmp_path: Path, made: Any, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dump").write_bytes(made(archive()))
    assert restore(tmp_path / "dump") == 2
    assert why in capsys.readouterr().err and target.life.writes == 0


def test_a_file_that_is_not_there_and_a_target_that_has_some_of_it_are_refused(
    target: SimulatedTarget, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore(tmp_path / "none") == 2
    (tmp_path / "dump").write_bytes(archive())
    target.apply([Create("app.seen")])
    assert restore(tmp_path / "dump") == 2
    assert "already has app.seen" in capsys.readouterr().err


def test_the_live_database_is_refused_and_another_one_beside_it_is_not(
    target: SimulatedTarget, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = environments.load("lab").platform.mongodb.database
    (tmp_path / "dump").write_bytes(archive())
    target.identity = "live"
    assert restore(tmp_path / "dump", "--namespace", f"app.*={database}.*") == 2
    told = capsys.readouterr().err
    assert f"The target is the live source, and database {database} is what the backups are of" in told
    assert target.life.writes == 0
    assert restore(tmp_path / "dump") == 0


def test_a_live_database_that_does_not_answer_does_not_keep_from_restoring_elsewhere(
    target: SimulatedTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place(uri: str) -> SimulatedTarget:
        if uri != "env:X":
            raise Transient("It is away.")
        return target

    monkeypatch.setattr(mongodb, "MongoTarget", place)
    (tmp_path / "dump").write_bytes(archive())
    assert restore(tmp_path / "dump") == 0


@pytest.mark.parametrize("second", [archive()[:-9], gzip.compress(archive())[:-20]], ids=["plain", "gzip"])
def test_an_archive_that_is_bad_when_it_is_read_again_is_no_refusal_for_things_were_written(
    target: SimulatedTarget,
    tmp_path: Path,
    second: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, other = tmp_path / "dump", tmp_path / "other"
    first.write_bytes(archive())
    other.write_bytes(second)
    paths = iter([first, other])
    monkeypatch.setattr(foreign, "read_archive", lambda path: read_archive(next(paths)))
    assert restore(first) == 1
    assert "met after the first write, so a part of app.orders, app.seen is there" in capsys.readouterr().err
    assert target.life.writes > 0


def test_a_target_that_forgets_is_noticed(
    target: SimulatedTarget, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dump").write_bytes(archive())
    target.forgets = "app.orders"
    assert restore(tmp_path / "dump") == 1
    assert "app.orders reads back as 0 documents" in capsys.readouterr().err


def test_killed_it_is_refused_until_what_it_left_is_gone(target: SimulatedTarget, tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(archive())
    target.life = Life(100)
    with pytest.raises(Killed):
        restore(tmp_path / "dump")
    target.life = Life()
    assert restore(tmp_path / "dump") == 2
    target.data.clear()
    assert restore(tmp_path / "dump") == 0 and state(target, "app.orders") == ORDERS
