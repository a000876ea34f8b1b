"""What all sides are given, and the rounds in which they take turns."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyrage
from rich.console import Console

from tests.bench.measure import Cost, run
from tests.bench.programs import Programs
from tests.bench.servers import ACCESS, AT_ONCE, BUCKET, REGION, SECRET, Bucket, Source, bucket

Command = Sequence[str | Path]
Round = Mapping[str, Cost]
"""What each side cost in one round, by its name."""


@dataclass(frozen=True)
class Setting:
    """The servers, the programs, the keys, and a folder for a run's files."""

    programs: Programs
    identities: tuple[pyrage.x25519.Identity, ...]
    buckets: tuple[Bucket, ...]
    folder: Path
    source: Source | None = None
    delay: str = AT_ONCE

    @property
    def recipients(self) -> tuple[str, ...]:
        """The public keys that all sides encrypt for."""
        return tuple(str(identity.to_public()) for identity in self.identities)

    @property
    def identity(self) -> Path:
        """A file with one of the keys that open what the sides encrypted."""
        (path := self.folder / "identity").write_text(str(self.identities[0]))
        return path

    @property
    def env(self) -> dict[str, str]:
        """The environment of every side's programs: who they are at the S3 servers, and nothing of the user's."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def run(self, *commands: Command, env: Mapping[str, str] | None = None) -> Cost:
        """The commands as one side, with ``env`` in their environment too. Raises Failed."""
        pids = [place.pid for place in self.buckets] + ([self.source.pid] if self.source else [])
        return run(commands, self.env | dict(env or {}), self.folder / "log", pids)

    def ours(self, what: str, told: Mapping[str, Any]) -> tuple[Cost, Any]:
        """Our side of ``what`` in a process of its own: what it cost, and what it says of itself."""
        given, done = self.folder / "told.json", self.folder / "done.json"
        given.write_text(json.dumps(told))
        cost = self.run((sys.executable, "-m", "tests.bench.ours", what, given, done))
        return cost, json.loads(done.read_text())

    def aws(self, *words: str | Path) -> Command:
        """A command of the AWS CLI at the first bucket's server."""
        return (self.programs["aws"], "--endpoint-url", self.buckets[0].endpoint, "s3", *words)

    def url(self, key: str) -> str:
        """An object in the first bucket, as the AWS CLI names it."""
        return f"s3://{BUCKET}/{key}"


@contextmanager
def set_up(programs: Programs, buckets: Sequence[str]) -> Iterator[Setting]:
    """S3 servers with these names, new keys and a folder, until the block ends."""
    identities = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    with TemporaryDirectory(prefix="onlyvips-bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        made = [stack.enter_context(bucket(programs["versitygw"], one, Path(name))) for one in buckets]
        yield Setting(programs, identities, tuple(made), Path(name))


def take_turns(sides: Mapping[str, Callable[[bool], Cost]], rounds: int, console: Console) -> list[Round]:
    """Each side once a round; who begins changes, and the first round, in which results are checked, is not counted.

    A side is called with whether to check what it left.
    """
    names, found = list(sides), list[Round]()
    for number in range(rounds + 1):
        console.print(f"round {number} of {rounds} …" if number else "warming up, and checking what each side leaves …")
        turn = number % len(names)
        costs = {name: sides[name](not number) for name in names[turn:] + names[:turn]}
        if number:
            found.append({name: costs[name] for name in names})
    return found
