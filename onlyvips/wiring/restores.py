"""Restores of an environment: planned from what its destinations have, done into a target that a reference names.

What is written over is named first, and backed up; what was done is kept as evidence beside the backups.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from onlyvips import environment as environments
from onlyvips.adapters.cache_redis import flush
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.core.manifest import moment
from onlyvips.core.points import check_past
from onlyvips.core.swap import missing
from onlyvips.errors import Conflict, OnlyVipsError, Permanent, Refused
from onlyvips.steps.pipe import Progress
from onlyvips.steps.several import Stopped, stoppable
from onlyvips.steps.sound import Tell
from onlyvips.wiring import backups, past_restores, restore_turn
from onlyvips.wiring.places import stores_of
from onlyvips.wiring.restoring import BUILT, LIVE, Asked, Done, Planned

__all__ = ["Asked", "Done", "Planned"]


@dataclass(frozen=True)
class Carried:
    """What was done, sentences about what stands around it, and about what comes after and failed; ``safety``: the
    safety backup, or why there is none."""

    done: Done
    told: tuple[str, ...]
    failed: tuple[str, ...]
    safety: str


def check(asked: Asked) -> None:
    """All that can be refused without asking anybody. Raises Refused, without showing what stands for the target."""
    if asked.kind == "oplog":
        raise Refused("The oplog comes back with its base: --kind mongodb, and --at a moment. Nothing was read.")
    if asked.kind not in BUILT:
        raise Refused(
            f"Kind `{asked.kind}` cannot be restored by this command yet ({', '.join(BUILT)} can): nothing was read; "
            "docs/runbooks/restore.md says how it is done by hand."
        )
    if asked.users_and_roles and asked.kind != "mongodb":
        raise Refused(
            "--users-and-roles is about MongoDB's databases: leave it out, or say --kind mongodb. Nothing was read."
        )
    if asked.kind != "mongodb":  # which says what can be had in place of it
        check_past(asked.at, moment(SystemClock().now()), asked.environment, asked.kind)
    BUILT[asked.kind].check(asked)


def plan(asked: Asked) -> Planned:
    """What a run would do. Nothing is written anywhere, and no object is read. Raises Refused for bad input."""
    check(asked)
    planned = BUILT[asked.kind].plan(asked)
    if "how_long" in planned.values:
        return planned
    loaded = environments.load(asked.environment)
    how_long = past_restores.how_long(lambda: stores_of(loaded), loaded.name, asked.kind)
    line, logged = f"  how long: {how_long}", planned.logged
    return replace(
        planned,
        lines=(*planned.lines, line),
        values={**planned.values, "how_long": how_long},
        logged=None if logged is None else (*logged, line),
    )


def allow(asked: Asked, planned: Planned) -> None:
    """Raise Refused unless it may be run: nothing is in its way, what it writes over was named, the environment too."""
    check_confirmed(asked)
    if planned.refusals:
        raise Refused(" ".join(planned.refusals))
    if unnamed := missing(planned.overwritten, asked.overwrite):
        raise Refused(
            f"{', '.join(unnamed)} of the target would be written over: nothing was changed. Where that is meant, say "
            f"so: {' '.join(f'--overwrite {one!r}' for one in unnamed)}. A safety backup is taken first."
        )
    if unprotected(asked, planned) and not asked.waived:
        raise Refused(
            "What is in that target is in no backup, and no safety backup can be taken of it: nothing was changed. "
            "Where it may be lost, say why: --without-safety-backup REASON."
        )


def unprotected(asked: Asked, planned: Planned) -> bool:
    """Whether it writes over what is in no backup, and what no safety backup can be taken of."""
    return bool(planned.overwritten) and asked.target != LIVE


def needs(asked: Asked, planned: Planned) -> list[str]:
    """The options that a run must be given, those about what it writes over."""
    waived = ["--without-safety-backup REASON"] if unprotected(asked, planned) else []
    return [*(f"--overwrite {one!r}" for one in planned.overwritten), *waived]


def needs_name(asked: Asked) -> bool:
    """Whether the environment's name must be typed for it."""
    return BUILT[asked.kind].confirmed and asked.target == LIVE


def check_confirmed(asked: Asked) -> None:
    """Raise Refused where the environment's name must be typed and was not."""
    if not needs_name(asked) or asked.confirmed == asked.environment:
        return
    typed = f"`{asked.confirmed}` was given, and that is not its name" if asked.confirmed else "nobody did"
    raise Refused(
        f"Into the live {asked.kind} of {asked.environment} only who types the environment's name may write, and "
        f"{typed}: nothing was changed. Look at `restore plan`; then type it in a terminal, or give --yes "
        f"{asked.environment} (`confirmed` of the deployment)."
    )


def counted(tell: Tell) -> Progress:
    """Tells a restore's progress what a backup reads meanwhile, which says how much altogether."""
    told = 0

    def progress(size: int, documents: int) -> None:
        nonlocal told
        tell("backing up", size - told)
        told = size

    return progress


def protect(asked: Asked, planned: Planned, holder: str, tell: Progress) -> str:
    """What would bring back what is written over: a backup, taken now; or why there is none.

    Raises what a backup raises; nothing was changed then.
    """
    if not planned.overwritten:
        return "none needed: nothing is written over"
    if asked.waived:
        return f"waived: {asked.waived}"
    taken = backups.take_one(environments.load(asked.environment), asked.kind, holder, tell)
    name = f"{taken.manifest.id}-e{taken.manifest.epoch}"
    if taken.degraded:
        raise Permanent(
            f"The safety backup {name} is not in every destination ({'; '.join(taken.lacking)}): it is kept, nothing "
            "else was changed. Correct that and run this again, or say why it is enough: --without-safety-backup "
            "REASON."
        )
    return name


def earlier(asked: Asked) -> list[str]:
    """Sentences about runs of the same restore that did not end: what brings back the state before the first of them
    is their safety backup, not that of this run."""
    begun, ended = dict[str, bytes](), set[str]()
    for store in stores_of(environments.load(asked.environment)):
        try:
            for one in store.list(f"{asked.environment}/evidence/restore/"):
                id, _, what = one.key.rpartition("/")[2].partition(".")
                if what == "ended.json":
                    ended.add(id)
                elif id not in begun:
                    begun[id] = b"".join(store.read(one.key))
        except OnlyVipsError:
            continue  # another destination has it too, and whoever cannot be read says so when it is planned
    told, found = "An earlier run, of {written}, did not end; its safety backup: {safety_backup}.", list[str]()
    for id in sorted(begun.keys() - ended):
        try:
            one = json.loads(begun[id])
            if all(one["asked"][name] == asdict(asked)[name] for name in ("kind", "at", "target")):
                found.append(told.format_map(one))
        except (ValueError, KeyError, TypeError):  # damaged evidence must not keep anybody from restoring
            found.append(f"The evidence {id} of an earlier run that did not end cannot be read: look at it by hand.")
    return found


def carry_out(asked: Asked, planned: Planned, holder: str, tell: Tell) -> Carried:
    """All of it in this process, in order."""
    allow(asked, planned)
    before = earlier(asked) if planned.overwritten else []
    safety = protect(asked, planned, holder, counted(tell))
    id, lacking = keep(asked, holder, safety, {"plan": dict(planned.values)})
    done = run(asked, tell)
    _, lacking_too = keep(asked, holder, safety, {"result": dict(done.values)}, id)
    told = [f"Safety backup: {safety}.", *before] if planned.overwritten else []
    failed = list[str]()
    for step in (flush_cache, new_base):
        try:
            told += step(asked, holder, counted(tell))
        except OnlyVipsError as error:
            failed.append(after_all(error))
    try:
        if not failed:
            finish(asked)
    except OnlyVipsError as error:
        failed.append(after_all(error))
    return Carried(done, (*told, *filter(None, {lacking, lacking_too})), tuple(failed), safety)


def after_all(error: OnlyVipsError) -> str:
    """What to do when only what comes after a restore failed."""
    return (
        f"All of it is restored, but what comes after failed: {error} Run the same command again: it does not restore "
        "again, it does only what is left (flush the cache, take a new base)."
    )


def finish(asked: Asked) -> None:
    """All of it is done, also what comes after: the same command means another restore from now on."""
    done = BUILT[asked.kind].finish
    if done is not None:
        done(asked)


def run(asked: Asked, tell: Tell) -> Done:
    """Do it, or go on with it. Raises Refused, with the target untouched, for all that can be known before."""
    check(asked)
    check_confirmed(asked)
    stopping = threading.Event()

    def told(doing: str, size: int) -> None:
        if stopping.is_set():
            raise Stopped("It was told to stop.")
        tell(doing, size)

    return stoppable(lambda: BUILT[asked.kind].run(asked, restore_turn.telling(asked, told)), stopping)


def flush_cache(asked: Asked, holder: str, tell: Progress) -> list[str]:
    """The cache of a platform whose database was restored: gone. Returns what was done; it may be done again."""
    loaded = environments.load(asked.environment)
    if (asked.kind, asked.target) != ("mongodb", LIVE) or loaded.endpoints.redis is None:
        return []
    return [f"The cache was flushed: {flush(environments.endpoint(loaded, loaded.endpoints.redis)):,} keys."]


def new_base(asked: Asked, holder: str, tell: Progress) -> list[str]:
    """A base of a platform whose database was restored, so that moments from now on can be had. Raises as a backup."""
    if (asked.kind, asked.target) != ("mongodb", LIVE):
        return []
    taken = backups.take_one(environments.load(asked.environment), "mongodb", holder, tell)
    return [f"A new base is taken, for what is there now: {taken.manifest.id}-e{taken.manifest.epoch}."]


def keep(asked: Asked, holder: str, safety: str, values: Mapping[str, Any], begun: str = "") -> tuple[str, str]:
    """Keep as evidence what is about to be done, or, of what was ``begun``, what was done.

    Returns its name, and why it is not kept everywhere ("" where it is): a restore does not fail for want of it.
    """
    clock = SystemClock()
    id = begun or f"{moment(clock.now()).translate({45: None, 58: None})}-{secrets.token_hex(4)}"
    key = f"{asked.environment}/evidence/restore/{id}.{'ended' if begun else 'begun'}.json"
    document = {"schema": 1, "kind": "restore", "written": moment(clock.now()), "by": holder, "asked": _kept(asked)}
    text = json.dumps({**document, "safety_backup": safety, **values}, indent=1, ensure_ascii=False)
    failed = list[str]()
    for store in stores_of(environments.load(asked.environment)):
        try:
            store.put_new(key, text.encode())
        except Conflict:
            pass
        except OnlyVipsError as error:
            failed.append(f"{store.name}: {error}")
    return id, f"The evidence {key} is not everywhere: {'; '.join(failed)}" if failed else ""


def _kept(asked: Asked) -> dict[str, Any]:
    """What was asked, as evidence may have it: names of secrets are a count there."""
    told = asdict(asked)
    return told if BUILT[asked.kind].named else {**told, "overwrite": len(asked.overwrite)}
