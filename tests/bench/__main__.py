"""Our backup pipe beside `mongodump --archive | zstd | age`, alternating in one run, from the same server in memory.

python -m tests.bench [--megabytes 200] [--rounds 3] [--json]
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Annotated, Any

import pyrage
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table

from onlyvips.errors import OnlyVipsError
from tests.bench import sides
from tests.bench.programs import Failed, builds, prepare, serving
from tests.bench.sides import Measured, Setting

Side = Callable[[Setting, Path], Measured]
Round = dict[str, Measured]
SIDES: dict[str, Side] = {"ours": sides.ours, "pipeline": sides.pipeline}
NOTES = (
    "Ratios count, not seconds: both sides ran in turn on this machine, whatever else it did. Above 1 ours is faster.",
    "MB/s are of BSON read. One round before these is not counted: it warms the server and checks both backups.",
    "Only ours syncs to the disk, reads all back, and keeps SHA-256 and CRC-64; only the pipeline starts processes.",
)
_PATIENCE = 15.0

app = App(name="tests.bench", help="Our backup pipe beside mongodump, zstd and age.", result_action="return_value")
console = Console(stderr=True, highlight=False, soft_wrap=True)


@app.default
def bench(
    *,
    megabytes: Annotated[int, Parameter(validator=Number(gte=1))] = 200,
    rounds: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Measure both sides in turn and print what came out.

    Args:
        megabytes: BSON that each side reads in a round, about.
        rounds: How often each side is measured.
        as_json: Print JSON in place of tables.
    """
    programs = prepare(console)
    identities = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    # The order matters at an end by Ctrl-C: the server goes first, our threads then end, their files last.
    with (
        tempfile.TemporaryDirectory(prefix="onlyvips-bench-") as folder,
        threads_joined(),
        serving(programs["firehose"], megabytes) as source,
    ):
        setting = Setting(source, programs, identities)
        result = summary(setting, measure(setting, Path(folder), rounds))
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        show(result, Console(highlight=False))
    return 0


def measure(setting: Setting, folder: Path, rounds: int) -> list[Round]:
    """All rounds; who begins changes from one to the next, and the first one is not counted."""
    found = []
    for number in range(rounds + 1):
        console.print(f"round {number} of {rounds} …" if number else "warming up …")
        order = list(SIDES) if number % 2 else list(reversed(SIDES))
        found.append({name: run(name, setting, folder, check=not number) for name in order})
    return found[1:]


def run(name: str, setting: Setting, folder: Path, *, check: bool) -> Measured:
    """One side once, in a folder that is gone afterwards, so that its unwritten pages burden nobody."""
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as own:
        measured = SIDES[name](setting, Path(own))
        if check and name == "pipeline":
            sides.check_pipeline(setting, Path(own))
    return measured


def summary(setting: Setting, rounds: Sequence[Round]) -> dict[str, Any]:
    """What is printed, as JSON."""
    size = setting.source.size
    ratios = [found["pipeline"].seconds / found["ours"].seconds for found in rounds]
    return {
        "source": {"bytes": size, "documents": setting.source.documents},
        "cores": os.cpu_count(),
        "rounds": [{name: facts(found[name], size) for name in SIDES} for found in rounds],
        **{name: spread([found[name] for found in rounds], size) for name in SIDES},
        "ratio": {"rounds": [round(ratio, 3) for ratio in ratios], "median": round(median(ratios), 3)},
        "notes": NOTES,
    }


def facts(measured: Measured, size: int) -> dict[str, float]:
    """One measurement."""
    return {
        "seconds": round(measured.seconds, 3),
        "mb_per_s": round(size / measured.seconds / 1e6, 1),
        "bytes": measured.size,
    }


def spread(measured: Sequence[Measured], size: int) -> dict[str, float]:
    """MB/s of one side over all rounds, and the size of its backup."""
    speeds = [size / one.seconds / 1e6 for one in measured]
    found = {"min": min(speeds), "median": median(speeds), "max": max(speeds)}
    return {name: round(value, 1) for name, value in found.items()} | {"bytes": measured[-1].size}


def show(result: dict[str, Any], out: Console) -> None:
    """The same as a table."""
    source = result["source"]
    out.print(f"{source['bytes'] / 1e6:.0f} MB of BSON, {source['documents']} documents, {result['cores']} cores")
    table = Table("MB/s", *("min", "median", "max", "size MB"), box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, label in (("ours", "ours"), ("pipeline", "mongodump | zstd | age")):
        row = result[name]
        numbers = (f"{row[key]:.0f}" for key in ("min", "median", "max"))
        table.add_row(label, *numbers, f"{row['bytes'] / 1e6:.1f}")
    out.print(table)
    ratio = result["ratio"]
    each = ", ".join(f"{value:.2f}" for value in ratio["rounds"])
    out.print(f"ours / pipeline: {each} in each round, median {ratio['median']:.2f}")
    for note in result["notes"]:
        out.print(note, soft_wrap=True)


@contextmanager
def threads_joined() -> Iterator[None]:
    """At the end, wait for the threads of a backup that was given up."""
    try:
        yield
    finally:
        for thread in set(threading.enumerate()) - {threading.current_thread()}:
            if not thread.daemon:
                thread.join(_PATIENCE)


def terminated(number: int, frame: FrameType | None) -> None:
    """End by SIGTERM as by Ctrl-C, with everything stopped."""
    sys.exit(128 + number)


def main() -> int:
    """The exit code: 2 when a prerequisite is missing, 1 when a side failed."""
    signal.signal(signal.SIGTERM, terminated)
    try:
        return app()
    except builds.Missing as missing:
        console.print(str(missing), markup=False)
        return 2
    except (Failed, OnlyVipsError) as error:
        console.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
