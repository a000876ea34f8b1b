"""Our backups beside the usual tools, the judge by chance, and the way back of a canary:
python -m tests.bench [base|media|restore|judge|rollback|own|flagger] …
"""

from __future__ import annotations

import json
import signal
import sys
from types import FrameType
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console

from onlyvips.errors import OnlyVipsError
from tests.bench import base, judge, media, report, restore, rollback, with_flagger
from tests.bench.measure import Failed
from tests.bench.programs import builds, prepare

app = App(name="tests.bench", help="Our backups beside the usual tools.", result_action="return_value")
console = Console(stderr=True, highlight=False, soft_wrap=True)

WIDTH = 130
FURTHER = "500us"
"""How long each answer takes of a server that is a little further away."""
Count = Annotated[int, Parameter(validator=Number(gte=1))]
Json = Annotated[bool, Parameter(name="--json", negative=())]


@app.default
def everything(
    *,
    megabytes: Count = 1000,
    files: Count = 20_000,
    operations: Count = 200_000,
    rounds: Count = 5,
    as_json: Json = False,
) -> int:
    """All parts, one after another.

    Args:
        megabytes: BSON that each side of a base reads, or restores, in a round, about.
        files: Media that each side copies.
        operations: Entries of the oplog that each side replays.
        rounds: How often each side is measured.
        as_json: Print JSON in place of tables.
    """
    parts = [part_base(megabytes, rounds), *parts_media(files, rounds), *parts_restore(megabytes, operations, rounds)]
    return tell(parts, as_json)


@app.command(name="base")
def only_base(*, megabytes: Count = 1000, rounds: Count = 5, as_json: Json = False) -> int:
    """A base of the database.

    Args:
        megabytes: BSON that each side reads in a round, about.
        rounds: How often each side is measured.
        as_json: Print JSON in place of tables.
    """
    return tell([part_base(megabytes, rounds)], as_json)


@app.command(name="media")
def only_media(*, files: Count = 20_000, rounds: Count = 5, as_json: Json = False) -> int:
    """Media.

    Args:
        files: How many files each side copies.
        rounds: How often each side is measured.
        as_json: Print JSON in place of tables.
    """
    return tell(parts_media(files, rounds), as_json)


@app.command(name="restore")
def only_restore(
    *, megabytes: Count = 1000, operations: Count = 200_000, rounds: Count = 5, as_json: Json = False
) -> int:
    """Restores.

    Args:
        megabytes: BSON that each side restores in a round, about.
        operations: Entries of the oplog that each side replays.
        rounds: How often each side is measured.
        as_json: Print JSON in place of tables.
    """
    return tell(parts_restore(megabytes, operations, rounds), as_json)


@app.command(name="judge")
def only_judge(*, runs: Count = 300, as_json: Json = False) -> int:
    """The judge of a canary: false alarms and faults found, over whole canaries by chance.

    Args:
        runs: How many canaries of each sort.
        as_json: Print JSON in place of a table.
    """
    lines = list(judge.measure(runs, console))
    if as_json:
        print(json.dumps([line.facts() for line in lines], indent=1))
    else:
        judge.show(lines, Console(highlight=False, width=WIDTH))
    return 0


@app.command(name="rollback")
def only_rollback(*, rounds: Count = 3, as_json: Json = False) -> int:
    """A canary on a lab of its own: the way back of a version that turns bad, and what a good one takes of our time.

    Args:
        rounds: How often each is measured.
        as_json: Print JSON in place of tables.
    """
    backs, releases = rollback.measure(rounds, console)
    if as_json:
        print(json.dumps({"machine": report.machine(), **rollback.facts(backs, releases)}, indent=1))
    else:
        rollback.show(backs, releases, Console(highlight=False, width=WIDTH))
    return 0


@app.command(name="own")
def only_own(*, rounds: Count = 3, as_json: Json = False) -> int:
    """A good canary with the shortest holds, on a lab of its own: what it takes of our time.

    Args:
        rounds: How many releases.
        as_json: Print JSON in place of a table.
    """
    releases = rollback.measure_own(rounds, console)
    if as_json:
        print(json.dumps({"machine": report.machine(), **rollback.facts([], releases)}, indent=1))
    else:
        rollback.show([], releases, Console(highlight=False, width=WIDTH))
    return 0


@app.command(name="flagger")
def only_flagger(*, rounds: Count = 3, as_json: Json = False) -> int:
    """The way back of a version that turns bad, on a lab of its own: ours and Flagger's by turns.

    Args:
        rounds: How often each is measured.
        as_json: Print JSON in place of a table.
    """
    rows = with_flagger.measure(rounds, console)
    if as_json:
        print(json.dumps({"machine": report.machine(), "back": with_flagger.facts(rows)}, indent=1))
    else:
        with_flagger.show(rows, Console(highlight=False, width=WIDTH))
    return 0


def part_base(megabytes: int, rounds: int) -> report.Part:
    """Measured."""
    return report.of_base(base.measure(prepare(console), megabytes, rounds, console))


def parts_media(files: int, rounds: int) -> list[report.Part]:
    """Measured, one a phase."""
    return report.of_media(files, media.measure(prepare(console), files, rounds, console))


def parts_restore(megabytes: int, operations: int, rounds: int) -> list[report.Part]:
    """Measured: a base, and the oplog, into a server that answers at once, and into one a little further away."""
    programs = prepare(console)
    loaded = restore.measure_load(programs, megabytes, rounds, console)
    replayed = restore.measure_replay(programs, operations, rounds, console)
    further = restore.measure_replay(programs, operations // 4, rounds, console, FURTHER)
    return [report.of_load(loaded), report.of_replay(replayed), report.of_replay(further)]


def tell(parts: list[report.Part], as_json: bool) -> int:
    """Print what came out."""
    if as_json:
        print(json.dumps({"machine": report.machine(), "parts": [part.facts() for part in parts]}, indent=1))
    else:
        report.show(parts, Console(highlight=False, width=WIDTH))
    return 0


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
