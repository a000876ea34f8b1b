"""What was seen of the world when a decision is made: plain facts, no client objects.

Durations are seconds *as seen by this process* with its own monotonic clock. A driver that has just started has seen
nothing yet, so it waits a whole propagation before it relies on a router: no clock of another machine is believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Standing = Literal["", "before", "moved", "ours", "unfinished", "other"]
"""A Helm release beside a record: as it was ``before``, ``moved`` (the Deployment is, the rest somebody changed), as
``ours`` left it, ``unfinished`` (before or ours, cut off or failed), or ``other``: somebody else's. "" where it was not
asked."""
Together = Literal["", "undecided", "promoted", "failed"]
"""What was decided about all services of a release of several; empty for a release of one."""


@dataclass(frozen=True)
class Workload:
    """One Deployment and its pods.

    ``release`` is the id in its pod template (empty: not by us). ``ready`` counts pods of the current template that
    are Ready and not terminating; ``visible`` those that were so for a whole propagation, so that the router can see
    them. ``quiet``: seconds since a pod left. ``complete``: no pod of another template is left. ``template``:
    fingerprint of the pod template. ``others`` counts pods of another template, ``running`` all pods of which a process
    may live, those that are ending too; ``ending`` names these.
    """

    image: str
    release: str
    replicas: int
    ready: int
    visible: int
    quiet: float
    complete: bool
    trouble: str = ""
    template: str = ""
    others: int = 0
    running: int = 0
    ending: tuple[str, ...] = ()


ASTRAY = -1


@dataclass(frozen=True)
class Split:
    """The route's rule: the canary's ``weight`` in percent, since when it is seen so, and whether it has an entry.

    ``sticky``: rules or cookies keep users to a version; ``strayed``: not those that the release would have now;
    ``refused``: what the router says against them.

    In blue-green what the Service selects: 0 the colour that users were on, 100 the other one, ``ASTRAY`` neither; and
    whether the preview is there.
    """

    weight: int
    settled: float
    listed: bool
    sticky: bool = False
    strayed: bool = False
    refused: str = ""


@dataclass(frozen=True)
class World:
    """One observation. None means that there is no such object. ``waited``: seconds spent on the same wait so far.

    ``scaler``: which of the two an autoscaler scales, "" for none; only blue-green asks. ``chart``: how the Helm
    release that owns stable stands, in words in ``chart_told``, and for how long it was seen so. ``now``: unix seconds,
    for deadlines of people alone.
    """

    stable: Workload | None
    canary: Workload | None
    split: Split | None
    leftovers: tuple[str, ...] = ()
    waited: float = 0.0
    waiting: str = ""
    together: Together = ""
    scaler: Literal["", "stable", "canary"] = ""
    now: float = 0.0
    chart: Standing = ""
    chart_told: str = ""
    chart_still: float = 0.0


def pods_for(weight: int, capacity: int) -> int:
    """Pods that ``weight`` percent of the traffic needs, when all of it needs ``capacity``: rounded up, at least 1."""
    return max(1, -(-weight * capacity // 100))


def weight_for(pods: int, capacity: int) -> int:
    """The greatest weight in percent that ``pods`` ready pods may carry."""
    return min(100, 100 * pods // max(1, capacity))
