"""Look at the world of a blue-green release: both colours, what the Service selects, the preview, the autoscaler."""

from __future__ import annotations

from typing import Literal

from onlyvips.core.colours import colour_name, preview_name, selector_of, selects
from onlyvips.core.manifests import RELEASE, secret_names, template_release
from onlyvips.core.record import Record
from onlyvips.core.world import ASTRAY, Split, World
from onlyvips.ports import Manifest
from onlyvips.steps.observe import SCALER, Observer, is_held, scaler_of


class BlueGreenObserver(Observer):
    """What one process has seen so far of both colours."""

    def world(self, record: Record, waiting: str = "", waited: float = 0.0) -> World:
        """One observation, now. The world's stable is the colour that users were on when the release began."""
        names = [colour_name(self._plan.service.deployment, colour) for colour in record.colours]
        old, new = (self._cluster.get("Deployment", name) for name in names)
        return World(
            stable=self.workload(old, record),
            canary=self.workload(new, record),
            split=self._selected(record, [old, new]),
            leftovers=self._left_behind(record, names, old),
            waiting=waiting,
            waited=waited,
            scaler=self._scaled(names),
        )

    def _selected(self, record: Record, colours: list[Manifest | None]) -> Split | None:
        assert self._plan.blue_green is not None
        front = self._cluster.get("Service", self._plan.service.service)
        if front is None:
            return None
        colour = selector_of(front).get(self._plan.blue_green.label)
        weight = dict(zip(record.colours, (0, 100), strict=True)).get(colour or "", ASTRAY)
        found = dict(zip(record.colours, colours, strict=True)).get(colour or "")
        if found is not None and not selects(front, found):
            weight = ASTRAY  # somebody changed another part of the selector
        previews = [self._cluster.get(kind, preview_name(record.service)) for kind in ("Service", "HTTPRoute")]
        return Split(weight, self._settled(weight), all(each is not None for each in previews))

    def _scaled(self, names: list[str]) -> Literal["", "stable", "canary"]:
        if scaler_of(self._cluster, names[0]) is not None:
            return "stable"
        return "canary" if scaler_of(self._cluster, names[1]) is not None else ""

    def _left_behind(self, record: Record, names: list[str], old: Manifest | None) -> tuple[str, ...]:
        made = [
            f"{kind}/{each['metadata']['name']}"
            for kind in ("HTTPRoute", "Service")
            for each in self._cluster.list(kind, {RELEASE: record.id})
        ]
        scalers = [found for name in names if (found := scaler_of(self._cluster, name)) is not None and is_held(found)]
        return (*made, *(f"{SCALER}/{each['metadata']['name']}" for each in scalers), *self._unused(record, old))

    def _unused(self, record: Record, old: Manifest | None) -> list[str]:
        """Secrets that only the version that went back referred to."""
        if record.phase != "rollback" or old is None or template_release(old) == record.id:
            return []
        used = secret_names(old["spec"]["template"])
        names = [secret["metadata"]["name"] for secret in self._cluster.list("Secret", {RELEASE: record.id})]
        return [f"Secret/{name}" for name in names if name not in used]
