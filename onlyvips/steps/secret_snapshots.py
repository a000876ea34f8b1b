"""A system's own snapshot as the one object of a backup."""

from __future__ import annotations

from collections.abc import Iterator

from onlyvips.core.manifest import Fact, Server
from onlyvips.ports import SnapshotSource
from onlyvips.steps.backup import About
from onlyvips.steps.pipe import Meter, Piece


def snapshot_piece(source: SnapshotSource, name: str) -> Piece:
    """``name`` is what the bytes are without compression and encryption, for people: ``vault.snap``, ``ssm.jsonl``."""

    def read(meter: Meter) -> Iterator[bytes]:
        for chunk in source.snapshot():
            meter.add(len(chunk), 0)
            yield chunk

    return Piece(f"objects/0001-{name}.zst.age", read)


def about(source: SnapshotSource) -> About:
    """What the manifest says of it."""
    told = dict(source.describe())
    server = Server(told.pop("dialect"), told.pop("version"))
    return About(server, facts=tuple(Fact(name, value) for name, value in sorted(told.items())))
