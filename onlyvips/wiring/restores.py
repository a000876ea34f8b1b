"""Restores of an environment: planned from what its destinations have, done into a target that a reference names.

What is written over is named first, and backed up; what was done is kept as evidence beside the backups.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from onlyvips import environment as environments
from onlyvips.adapters.cache_redis import flush
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.core.manifest import moment
from onlyvips.core.swap import missing
from onlyvips.errors import Conflict, OnlyVipsError, Refused
from onlyvips.steps.pipe import Progress
from onlyvips.steps.sound import Tell
from onlyvips.wiring import backups
from onlyvips.wiring.places import stores_of
from onlyvips.wiring.restoring import BUILT, LIVE, Asked, Done, Planned

__all__ = ["Asked", "Done", "Planned"]


def check(asked: Asked) -> None:
    """All that can be refused without asking anybody. Raises Refused, without showing what stands for the target."""
    if asked.kind == "oplog":
        raise Refused("The oplog comes back with its base: --kind mongodb, and --at a moment. Nothing was read.")
    if asked.kind not in BUILT:
        raise Refused(
            f"Kind `{asked.kind}` cannot be restored by this command yet ({', '.join(BUILT)} can): nothing was read; "
            "docs/runbooks/restore.md says how it is done by hand."
        )
    BUILT[asked.kind].check(asked)


def plan(asked: Asked) -> Planned:
    """What a run would do. Nothing is written anywhere, and no object is read. Raises Refused for bad input."""
    check(asked)
    return BUILT[asked.kind].plan(asked)


def allow(asked: Asked, planned: Planned) -> None:
    """Raise Refused unless it may be run: nothing is in its way, and what it writes over was named."""
    if planned.refusals:
        raise Refused(" ".join(planned.refusals))
    if unnamed := missing(planned.overwritten, asked.overwrite):
        raise Refused(
            f"{', '.join(unnamed)} of the target would be written over: nothing was changed. Where that is meant, say "
            f"so: {' '.join(f'--overwrite {one!r}' for one in unnamed)}. A safety backup is taken first."
        )
    if planned.overwritten and asked.target != LIVE and not asked.waived:
        raise Refused(
            "What is in that target is in no backup, and no safety backup can be taken of it: nothing was changed. "
            "Where it may be lost, say why: --without-safety-backup REASON."
        )


def settled(asked: Asked, planned: Planned) -> Asked:
    """What was planned, also when a safety backup becomes the latest."""
    return replace(asked, at=planned.at) if planned.at and asked.at == "latest" else asked


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
    return f"{taken.manifest.id}-e{taken.manifest.epoch}"


def carry_out(asked: Asked, planned: Planned, holder: str, tell: Tell) -> tuple[Done, list[str]]:
    """All of it in this process, in order. Returns what was done, and sentences about what stands around it."""
    allow(asked, planned)
    asked = settled(asked, planned)
    safety = protect(asked, planned, holder, counted(tell))
    id, lacking = keep(asked, holder, safety, {"plan": dict(planned.values)})
    done = run(asked, tell)
    _, lacking_too = keep(asked, holder, safety, {"result": dict(done.values)}, id)
    told = [f"Safety backup: {safety}."] if planned.overwritten else []
    told += afterwards(asked, holder, counted(tell))
    return done, [*told, *filter(None, {lacking, lacking_too})]


def run(asked: Asked, tell: Tell) -> Done:
    """Do it, or go on with it. Raises Refused, with the target untouched, for all that can be known before."""
    check(asked)
    return BUILT[asked.kind].run(asked, tell)


def afterwards(asked: Asked, holder: str, tell: Progress) -> list[str]:
    """What a platform needs whose database was restored: its cache flushed, and a new base. Returns what was done.

    Raises what either raises; both may be done again.
    """
    if (asked.kind, asked.target) != ("mongodb", LIVE):
        return []
    loaded, told = environments.load(asked.environment), list[str]()
    if loaded.endpoints.redis is not None:
        flushed = flush(environments.endpoint(loaded, loaded.endpoints.redis))
        told.append(f"The cache was flushed: {flushed:,} keys.")
    taken = backups.take_one(loaded, "mongodb", holder, tell)
    return [*told, f"A new base is taken, for what is there now: {taken.manifest.id}-e{taken.manifest.epoch}."]


def keep(asked: Asked, holder: str, safety: str, values: Mapping[str, Any], begun: str = "") -> tuple[str, str]:
    """Keep as evidence what is about to be done, or, of what was ``begun``, what was done.

    Returns its name, and why it is not kept everywhere ("" where it is): a restore does not fail for want of it.
    """
    clock = SystemClock()
    id = begun or f"{moment(clock.now()).translate({45: None, 58: None})}-{secrets.token_hex(4)}"
    key = f"{asked.environment}/evidence/restore/{id}.{'ended' if begun else 'begun'}.json"
    document = {"schema": 1, "kind": "restore", "written": moment(clock.now()), "by": holder, "asked": asdict(asked)}
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
