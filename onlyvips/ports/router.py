"""The port of traffic routers: what gives a share of a service's requests to another copy. See ``onlyvips.ports``.

What a router changes are objects of the cluster that others own too. It writes nothing by itself: each change goes
through the ``Patch`` of the one who drives, which fences it, and touches nothing else of the object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from onlyvips.ports import Manifest

Change = Callable[[Manifest], Sequence[Manifest]]
"""Says as JSON Patch what is still to change in an object; nothing when it is done already."""

Patch = Callable[[str, str, Change], Manifest]
"""Read an object by kind and name, change it if nobody else did meanwhile, return what is stored."""


@dataclass(frozen=True)
class Share:
    """What a router says: the other copy's ``weight`` in whole percent, -1 where it leads to neither copy, and whether
    it knows the other copy (``listed``). ``leads``: all that decides where requests go, to be compared; ``sticky``:
    something keeps users to a copy whatever the weight, ``strayed``: not what was asked for. ``refused``:
    what a gateway says against what keeps users."""

    weight: int
    listed: bool
    leads: str = ""
    sticky: bool = False
    strayed: bool = False
    refused: str = ""


class Router(Protocol):
    """One way to split a service's requests between the copy that users were on and another one."""

    def read(self) -> Share | None:
        """What it says now; None when there is no such split, or no telling which it is."""

    def shift(self, patch: Patch, weight: int, expected: int | None) -> str:
        """Give the other copy ``weight`` percent, read that back, and return what was read, for people.

        Done again it writes nothing. Raises Transient, and writes nothing, where it would be raised from anything but
        ``expected`` (None: from whatever there is), or does not read back; Permanent where the split is gone.
        """

    def forget(self, patch: Patch) -> None:
        """Take the other copy out, so that all goes to the one that users were on; nothing where it is not in it."""
