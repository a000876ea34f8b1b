"""The programs of the benchmark: out of the lab's cache, made there where they are missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

LAB = Path(__file__).resolve().parents[2] / "deployments" / "lab"
sys.path.insert(0, str(LAB))

import builds  # noqa: E402

COLLECTIONS = 4
DOCUMENT_SIZE = 1024
DATABASE = "bench"
_NEEDED = ("mongo-tools", "age", "zstd")
_PATIENCE = 10.0


class Failed(Exception):
    """A program did not do what it was started for; the message holds what it said."""


@dataclass(frozen=True)
class Source:
    """A running firehose: where it listens, and how much it serves."""

    uri: str
    size: int
    documents: int


def prepare(console: Console) -> dict[str, Path]:
    """Every program of the benchmark by its name."""
    cache = builds.cache_folder()
    firehose = builds.Module("firehose", Path(__file__).parent / "firehose", (("firehose", "."),))
    wanted = [firehose.ingredient(), *(item for item in builds.ingredients() if item.name in _NEEDED)]
    absent = [item for item in wanted if not builds.cached(cache, item).exists()]
    if absent:
        builds.check_go()
        builds.make_all(cache, absent, console)
    return {program.name: program for item in wanted for program in (builds.cached(cache, item) / "bin").iterdir()}


@contextmanager
def serving(program: Path, megabytes: int) -> Iterator[Source]:
    """A firehose with about so much data, on a port of its own, until the block ends."""
    documents = max(1, megabytes * 1_000_000 // (DOCUMENT_SIZE * COLLECTIONS))
    numbers = {"docs": documents, "size": DOCUMENT_SIZE, "collections": COLLECTIONS}
    flags = [f"-{name}={number}" for name, number in numbers.items()]
    process = subprocess.Popen([program, "-listen=127.0.0.1:0", *flags], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise Failed(f"{program} did not begin to serve.")
        told = dict(word.split("=") for word in words[2:])
        yield Source(f"mongodb://{words[1]}/", int(told["bytes"]), int(told["docs"]))
    finally:
        end([process])


@contextmanager
def piped(commands: Sequence[Sequence[str | Path]], output: int, log: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Commands that run at once, each reading what the one before writes; the last writes to `output`."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        with log.open("ab") as messages:
            for command in commands:
                given = running[-1].stdout if running else subprocess.DEVNULL
                taken = output if command is commands[-1] else subprocess.PIPE
                running.append(subprocess.Popen(command, stdin=given, stdout=taken, stderr=messages))
                if len(running) > 1:
                    running[-2].stdout.close()  # so that a program learns when its reader is gone
        yield running
        for command, process in zip(commands, running, strict=True):
            if code := process.wait():
                raise Failed(f"{command[0]} exited with {code}:\n{log.read_text(errors='replace')[-2000:]}")
    finally:
        end(running)


def end(processes: Sequence[subprocess.Popen]) -> None:
    """Stop what still runs, and wait for all."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
