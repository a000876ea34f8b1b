"""A restore over what is there: into shadows beside it, which are swapped in once all of them are verified. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from onlyvips.core.replay import OURS, Names
from onlyvips.core.restore import RestorePlan
from onlyvips.errors import Refused

SHADOW = f"{OURS}d_"
"""How the shadow of a collection begins, in the same database: only there a rename is one step."""
_LONGEST = 235
"""Bytes of a namespace that each server takes (MongoDB 255, before 4.4 and with an index's name less)."""


def shadowed(plan: RestorePlan, over: tuple[str, ...]) -> RestorePlan:
    """The same restore into shadows of its collections; views keep their names, and are made after the swap.

    Raises Refused for a name that is too long with what a shadow adds.
    """
    coming = [one if one.record.type == "view" else replace(one, target=shadow(one.target)) for one in plan.coming]
    if long := [one.source for one in coming if len(one.target.encode()) > _LONGEST]:
        raise Refused(f"{', '.join(long)}: the name is too long for a shadow beside it; restore it to another server.")
    names = Names(tuple((source, shadow(target)) for source, target in plan.names.pairs))
    return replace(plan, names=names, coming=tuple(coming), over=over)


def shadow(namespace: str) -> str:
    """What ``DB.COLLECTION`` (or ``DB.*``) is called until it is swapped in."""
    database, _, collection = namespace.partition(".")
    return f"{database}.{SHADOW}{collection}"


def final(namespace: str) -> str:
    """What a shadow becomes."""
    database, _, collection = namespace.partition(".")
    return f"{database}.{collection.removeprefix(SHADOW)}"


def missing(there: Iterable[str], over: Iterable[str]) -> tuple[str, ...]:
    """Those ``there`` that nobody allowed to be replaced; ``DB.*`` allows all of a database."""
    allowed = set(over)
    return tuple(one for one in there if not {one, f"{one.partition('.')[0]}.*"} & allowed)


def same_view(one: str, other: str) -> bool:
    """Whether two views' options (Extended JSON) are the same; the order of fields counts inside of them alone."""
    mine, theirs = ({name: json.dumps(told) for name, told in json.loads(each).items()} for each in (one, other))
    return mine == theirs
