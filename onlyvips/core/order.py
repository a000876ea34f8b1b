"""The order of services that need each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from onlyvips.errors import Refused


def in_order(services: Sequence[str], needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """``services`` with what one needs before it, else as they are given. Raises Refused, naming it, for a cycle."""
    sorter = TopologicalSorter({one: [each for each in needs.get(one, ()) if each in services] for one in services})
    try:
        sorter.prepare()
    except CycleError as error:
        raise Refused(f"{' needs '.join(reversed(error.args[1]))}: none of them can go first") from error
    ordered, ready = list[str](), list[str]()
    while sorter.is_active():
        ready += sorter.get_ready()
        first = min(ready, key=list(services).index)
        ready.remove(first)
        ordered.append(first)
        sorter.done(first)
    return tuple(ordered)
