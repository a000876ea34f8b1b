"""``service-selector``: a Service selects one of two colours, so a share is none or all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onlyvips.core import colours
from onlyvips.core.colours import selector_of
from onlyvips.core.world import ASTRAY
from onlyvips.errors import Misuse, Permanent, Transient
from onlyvips.ports import Cluster, Manifest
from onlyvips.ports.router import Patch, Share


class SelectorRouter:
    """A Service before two Deployments, told apart by ``label``; ``names`` are the colour that users were on and the
    other one, each with its Deployment. ``before``: the whole selector that it has when it goes back unconditionally.
    See ``ports.router.Router``."""

    def __init__(
        self,
        cluster: Cluster,
        service: str,
        label: str,
        names: Mapping[str, str],
        before: Callable[[], Mapping[str, str]],
    ) -> None:
        self._cluster, self._service, self._label, self._before = cluster, service, label, before
        self._names = names
        self._weights = dict(zip(names, (0, 100), strict=True))

    def read(self) -> Share | None:
        """See ``ports.router.Router``."""
        front = self._cluster.get("Service", self._service)
        if front is None:
            return None
        weight = self._weight(front)
        colour = selector_of(front).get(self._label, "")
        deployment = self._cluster.get("Deployment", self._names[colour]) if colour in self._names else None
        if deployment is not None and not colours.selects(front, deployment):
            weight = ASTRAY  # somebody changed another part of the selector
        return Share(weight, weight == 100)

    def shift(self, patch: Patch, weight: int, expected: int | None) -> str:
        """See ``ports.router.Router``. On the way back, ``expected`` None, its whole selector is what it was."""
        if weight not in self._weights.values():
            raise Misuse(f"A Service's selector gives all or nothing, not {weight} %.")
        colour = next(name for name, share in self._weights.items() if share == weight)
        before = dict(self._before())

        def change(now: Manifest) -> Sequence[Manifest]:
            if expected is None and selector_of(now) != before:
                return ({"op": "add", "path": "/spec/selector", "value": before},)
            found = self._weight(now)
            if expected is not None and found not in (weight, expected):
                seen = selector_of(now).get(self._label)
                raise Transient(f"The Service selects {seen} by now: nothing was written, decided anew.")
            return colours.select(now, self._label, colour)

        patch("Service", self._service, change)
        read = self._cluster.get("Service", self._service)
        if read is None:
            raise Permanent(f"Service {self._service} is gone: somebody removed it in the middle of the release.")
        if (selected := selector_of(read).get(self._label)) != colour:
            raise Transient(f"Service {self._service} was switched to {colour} and selects {selected}.")
        return f"Service {self._service} selects {colour}"

    def forget(self, patch: Patch) -> None:
        """See ``ports.router.Router``."""
        self.shift(patch, 0, None)

    def _weight(self, front: Manifest) -> int:
        return self._weights.get(selector_of(front).get(self._label, ""), ASTRAY)
