"""Kind media: files of a backup, into the live bucket or directory, or into another directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.media_directory import DirectoryMedia
from onlyvips.adapters.sink_directory import DirectorySink
from onlyvips.adapters.sink_s3 import BucketSink
from onlyvips.core import media_restored as report
from onlyvips.core.media_restore import choose, overwritten, pairs_of
from onlyvips.core.swap import missing
from onlyvips.environment import Environment, references
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports.media import MediaSink
from onlyvips.steps import media_restore as steps
from onlyvips.steps.media_restore import Means, Ready, Target, prepare, restore_media
from onlyvips.steps.sound import Tell
from onlyvips.wiring.backups import catalog
from onlyvips.wiring.kinds.media import address_of, destinations_of, is_below, resolved, source_of, where_of
from onlyvips.wiring.places import trees_of
from onlyvips.wiring.restoring.kind import LIVE, Asked, Done, Kind, Planned


def _check(asked: Asked) -> None:
    if not asked.target:
        raise Refused(
            f"Say where to: --target {LIVE}, the environment's own media, or env:NAME or file:/path, a reference of "
            "the path of a directory. Nothing was read."
        )
    if asked.target != LIVE and not references.is_reference(asked.target):
        raise Refused(
            f"--target is no reference: write {LIVE}, or env:NAME or file:/path, where the path of a directory is. "
            "Nothing was read."
        )
    pairs_of(asked.names)


def _planned(asked: Asked) -> Planned:
    ready, target = _prepared(asked, _silent)
    refusals, names = list[str](), _overwritten(ready, asked)
    try:
        steps.check(ready, target)
        _check_moment(ready, asked, names)
    except (Refused, Permanent, Transient) as error:
        refusals.append(str(error))
    told, values = tuple(report.lines(ready.plan)), report.as_json(ready.plan, names)
    return Planned(told, values, tuple(refusals), names, at=ready.plan.chosen.backup.name)


def _run(asked: Asked, tell: Tell) -> Done:
    ready, target = _prepared(asked, tell)
    names = _overwritten(ready, asked)
    _check_moment(ready, asked, names)
    if unnamed := missing(names, asked.overwrite):
        options = " ".join(f"--overwrite {name}" for name in unnamed)
        raise Refused(
            f"{len(ready.plan.found.differ):,} files are there with other bytes: nothing was written; look at `restore "
            f"plan`, and where they may be written over, give {options}."
        )
    done = restore_media(ready, target, _means(environments.load(asked.environment), tell))
    return Done(report.done(done), report.result(done))


def _prepared(asked: Asked, tell: Tell) -> tuple[Ready, Target]:
    loaded = environments.load(asked.environment)
    found = catalog(asked.environment)
    chosen, newest = choose(found.backups, asked.at), choose(found.backups, "latest")
    target = _target(loaded, asked.target)
    return prepare(chosen, newest, pairs_of(asked.names), target, _means(loaded, tell)), target


def _overwritten(ready: Ready, asked: Asked) -> tuple[str, ...]:
    return overwritten(ready.plan.found, pairs_of(asked.names))


def _check_moment(ready: Ready, asked: Asked, names: tuple[str, ...]) -> None:
    """The live media are backed up by schedule, and what is written over is before that: of the ruins, both times."""
    if asked.at == "latest" and (ready.plan.found.to_write if asked.target == LIVE else names):
        raise Refused(
            "Files would be written, and `latest` may be another backup when this is run again (of what is there now, "
            f"for one): nothing was written; say --at {ready.plan.chosen.backup.name}."
        )


def _means(loaded: Environment, tell: Tell) -> Means:
    return Means(trees_of(loaded), tell, environments.backup_plan(loaded).workers, SystemClock())


def _target(loaded: Environment, reference: str) -> Target:
    if reference == LIVE:
        return Target(source_of(loaded), _live_sink(loaded), live=True)
    path = Path(environments.endpoint(loaded, reference))
    if not path.is_absolute() or "://" in str(path):
        raise Refused(
            f"--target {reference} says no path of a directory: nothing was read. Into another bucket media come back "
            "by way of a directory, or by aws s3 sync (docs/runbooks/restore.md)."
        )
    _check_apart(destinations_of(loaded), path)
    _check_not_live(loaded, path)
    return Target(DirectoryMedia(path), DirectorySink(path), live=False)


def _check_apart(destinations: Mapping[str, tuple[str, str]], path: Path) -> None:
    here = ("", resolved(str(path)))
    for name, place in destinations.items():
        if here == place or is_below(here, place) or is_below(place, here):
            raise Refused(f"The target is in the place of the destination {name}: nothing was changed; give another.")


def _check_not_live(loaded: Environment, path: Path) -> None:
    """Raise Refused where the live media are, whichever way leads there: what protects them asks whether it is live."""
    reader = loaded.backup.media
    if reader is None or reader.kind != "directory":
        return
    here, live = ("", resolved(str(path))), where_of(loaded)
    if here == live or is_below(here, live) or is_below(live, here):
        raise Refused(
            "The target is the live media, or in or around them: nothing was changed. When that is meant, say --target "
            f"{LIVE}; else give a directory apart from them."
        )


def _live_sink(loaded: Environment) -> MediaSink:
    reader = loaded.backup.media
    if reader is not None and reader.kind == "s3":
        return BucketSink(address_of(loaded, reader), reader.prefix or "")
    return DirectorySink(Path(where_of(loaded)[1]))


def _silent(doing: str, size: int) -> None:
    """Nobody asked how far it is."""


KIND = Kind(_check, _planned, _run)
