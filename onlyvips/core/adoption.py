"""Adoption: a Deployment without ``track`` gets it, and users see nothing. Pure.

A selector cannot be changed, so the Deployment is made anew while a twin carries the traffic, chosen by the Service.
Where it stands is seen in the objects alone: each step can be done again, by anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onlyvips.core.manifests import PREFIX

Kind = Literal[
    "create-twin", "grow-twin", "select-twin", "remove-old", "create-stable", "select-stable", "remove-twin",
    "select-all", "let-go", "wait", "done",
]  # fmt: skip
TWIN, STABLE = "twin", "stable"
KEPT = f"{PREFIX}/adopts"
"""The annotation of the twin that holds what the Deployment and the Service were."""


def twin_of(name: str) -> str:
    """The twin's name."""
    return f"{name}-twin"


@dataclass(frozen=True)
class Standing:
    """A Deployment: whether its selector has ``track: stable``, how many pods it asks for, and what its pods are, seen
    by the router or not."""

    tracked: bool
    wanted: int
    ready: int
    visible: int
    quiet: float
    complete: bool
    trouble: str = ""


@dataclass(frozen=True)
class Scene:
    """What was seen. ``front`` is the ``track`` that the Service selects ("" for none), ``settled`` for how long it was
    seen so; ``held``: an autoscaler's minimum is held. ``own``: how many of its pods the Deployment itself says are
    ready; ``whole``: for how long it has said so of all, as many as the twin has; below 0 when it does not."""

    capacity: int
    stable: Standing | None
    twin: Standing | None
    front: str
    settled: float
    own: int
    whole: float
    held: bool = False


@dataclass(frozen=True)
class Next:
    """The next step and why."""

    kind: Kind
    reason: str


def next_step(scene: Scene, propagation: float, *, back: bool = False) -> Next:
    """What comes next; ``back``: to how it was, as long as the old Deployment is there."""
    if scene.stable is not None and scene.stable.tracked:
        return _finish(scene, scene.stable, propagation)
    if scene.stable is None:
        return _anew(scene, propagation)
    return _undo(scene, propagation) if back else _begin(scene, scene.stable, propagation)


def _begin(scene: Scene, old: Standing, propagation: float) -> Next:
    if scene.twin is None:
        return Next("create-twin", f"it carries all while the Deployment is made anew, {scene.capacity} pods")
    if scene.twin.wanted < old.wanted:
        return Next("grow-twin", f"the Deployment has {old.wanted} pods by now, the twin {scene.twin.wanted}")
    unseen = _unseen("twin", scene.twin, scene, propagation)
    if scene.front != TWIN:
        return unseen or Next("select-twin", "the router sees all its pods")
    return _router(scene, propagation) or unseen or Next("remove-old", "no request reaches it any more")


def _anew(scene: Scene, propagation: float) -> Next:
    if scene.twin is None:
        return Next("wait", "the Deployment and its twin are both gone: put one back")
    if scene.front != TWIN:
        return _unseen("twin", scene.twin, scene, propagation) or Next("select-twin", "nothing else is left")
    return Next("create-stable", "with `track: stable` in its selector and its pods' labels")


def _finish(scene: Scene, stable: Standing, propagation: float) -> Next:
    if scene.front != STABLE:
        return _unseen("stable", stable, scene, propagation) or Next("select-stable", "the router sees all its pods")
    if scene.twin is not None:
        unseen = _unseen("stable", stable, scene, propagation)
        return _router(scene, propagation) or unseen or Next("remove-twin", "no request reaches it any more")
    return _let_go(scene) or Next("done", "the Deployment and its Service have `track: stable`")


def _undo(scene: Scene, propagation: float) -> Next:
    if scene.front == TWIN:
        return Next("select-all", "the old Deployment is untouched")
    if scene.twin is not None:
        unable = _unable(scene, scene.twin, propagation)
        return _router(scene, propagation) or unable or Next("remove-twin", "it goes back to how it was")
    return _let_go(scene) or Next("done", "as it was")


def _let_go(scene: Scene) -> Next | None:
    return Next("let-go", "the autoscaler gets its minimum back") if scene.held else None


def _router(scene: Scene, propagation: float) -> Next | None:
    if scene.settled < propagation:
        return Next("wait", f"the router is given {propagation:g} s to obey")
    return None


def _unseen(who: str, standing: Standing, scene: Scene, propagation: float) -> Next | None:
    if standing.ready < scene.capacity or not standing.complete:
        trouble = standing.trouble or "no pod says why"
        return Next("wait", f"{standing.ready} of {scene.capacity} pods of {who} are ready ({trouble})")
    if standing.visible < scene.capacity or standing.quiet < propagation:
        return Next("wait", f"the router is given {propagation:g} s to see the pods of {who}")
    return None


def _unable(scene: Scene, twin: Standing, propagation: float) -> Next | None:
    """Whether the old Deployment cannot carry all. Its selector has the twin's pods too, so its own word counts."""
    if scene.own and not twin.ready:
        return None  # the twin carries nothing: it takes nothing away with it
    if scene.whole < 0:
        return Next("wait", f"{scene.own} pods of the old Deployment are ready, and {scene.capacity} carry the traffic")
    if scene.whole < propagation:
        return Next("wait", f"the router is given {propagation:g} s to see the pods of the old Deployment")
    return None


def outline(scene: Scene) -> list[str]:
    """What an adoption would do from here, in order, for people."""
    if scene.stable is not None and scene.stable.tracked and scene.front == STABLE and scene.twin is None:
        return ["It is adopted already: nothing to do."]
    anew = scene.stable is None or scene.stable.tracked
    before = [
        f"a twin comes up with {scene.capacity} pods, which serve beside the old ones",
        "the Service selects the twin's pods alone; the router is given time",
        "the Deployment, to which no request comes any more, is deleted",
    ]
    after = [
        "the Deployment is made anew, with `track: stable` in its selector and its pods' labels",
        "the Service selects `track: stable`; the router is given time",
        "the twin goes; the autoscaler has its minimum back",
    ]
    return [f"{number}. {line}" for number, line in enumerate(after if anew else before + after, start=1)]
