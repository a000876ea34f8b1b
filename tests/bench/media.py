"""Media: many small files; the first time, with nothing changed, with 1 % changed; beside rclone and the AWS CLI.

Each side keeps its copy below a prefix of its own in one bucket, read from the same directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from random import Random

from rich.console import Console

from onlyvips.adapters.bucket_s3 import AT_ONCE
from onlyvips.core.media import tree_of
from tests.bench.base import plan, s3
from tests.bench.measure import Cost, Failed
from tests.bench.programs import Programs
from tests.bench.servers import ACCESS, BUCKET, REGION, SECRET
from tests.bench.setting import Round, Setting, set_up

SIZE = 20_000
CHANGED = 100
"""One file in so many changes."""
PHASES = "first pass", "nothing changed", "1 % changed"
_FOLDERS = 100
_OURS = tree_of("bench")


def measure(programs: Programs, files: int, rounds: int, console: Console) -> dict[str, list[Round]]:
    """What each side cost in each round, by phase. The first round, in which results are compared, is not counted."""
    found: dict[str, list[Round]] = {phase: [] for phase in PHASES}
    with set_up(programs, ("s3-a",)) as setting:
        source = setting.folder / "media"
        write(source, range(files), "first")
        sides = _sides(setting, source)
        for number in range(rounds + 1):
            console.print(f"media: round {number} of {rounds} …" if number else "media: warming up, and comparing …")
            for phase in PHASES:
                if phase == PHASES[-1]:
                    write(source, range(number % CHANGED, files, CHANGED), f"round {number}")
                costs = _phase(sides, number, setting, source)
                if number:
                    found[phase].append(costs)
            setting.buckets[0].clear()
    return found


def write(folder: Path, numbers: Iterable[int], salt: str) -> None:
    """These files, with bytes that only ``salt`` and the file's number decide."""
    for number in numbers:
        path = folder / f"{number % _FOLDERS:02d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Random(f"{salt} {number}").randbytes(SIZE))


def _sides(setting: Setting, source: Path) -> dict[str, tuple[str, Callable[[], Cost]]]:
    """Each side's prefix in the bucket, and what it does."""
    at_once = plan(setting)["workers"] * AT_ONCE
    return {
        "ours": (_OURS, partial(_ours, setting, source)),
        "rclone": ("rclone/", partial(_rclone, setting, source, at_once)),
        "aws s3 sync": ("aws/", partial(_aws, setting, source, at_once)),
    }


def _phase(
    sides: dict[str, tuple[str, Callable[[], Cost]]], number: int, setting: Setting, source: Path
) -> dict[str, Cost]:
    names = list(sides)
    turn = number % len(names)
    costs = {}
    for name in names[turn:] + names[:turn]:
        prefix, action = sides[name]
        costs[name] = action()
        if not number:
            compare(source, setting.buckets[0].folder / prefix, name)
    return {name: costs[name] for name in names}


def compare(source: Path, copy: Path, name: str) -> None:
    """Raises Failed unless the copy has the same files with the same bytes, and no other."""
    have = {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()}
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    other = [path for path in wanted & have if (source / path).read_bytes() != (copy / path).read_bytes()]
    if have != wanted or other:
        raise Failed(f"{name}: {len(have)} files of {len(wanted)}, {len(other)} of them with other bytes.")


def _ours(setting: Setting, source: Path) -> Cost:
    asked = plan(setting) | {"kind": "media", "database": ""}
    place = setting.buckets[0]
    cost, done = setting.ours("media", {"plan": asked, "source": str(source), "store": s3(place.name, place.endpoint)})
    if done["lacking"]:
        raise Failed(f"Our backup of media lacks {done['lacking']}.")
    return cost


def _rclone(setting: Setting, source: Path, at_once: int) -> Cost:
    told = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": setting.buckets[0].endpoint, "REGION": REGION}
    told |= {"ACCESS_KEY_ID": ACCESS, "SECRET_ACCESS_KEY": SECRET}
    env = {f"RCLONE_CONFIG_BENCH_{name}": value for name, value in told.items()} | {"RCLONE_CONFIG": "/dev/null"}
    command = (setting.programs["rclone"], "sync", source, f"bench:{BUCKET}/rclone", "--s3-no-check-bucket")
    return setting.run((*command, f"--transfers={at_once}", f"--checkers={at_once}"), env=env)


def _aws(setting: Setting, source: Path, at_once: int) -> Cost:
    config = setting.folder / "aws-config"
    config.write_text(f"[default]\ns3 =\n  max_concurrent_requests = {at_once}\n")
    command = setting.aws("sync", "--only-show-errors", "--delete", source, setting.url("aws/"))
    return setting.run(command, env={"AWS_CONFIG_FILE": str(config)})
