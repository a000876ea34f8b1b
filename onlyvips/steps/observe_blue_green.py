"""Look at the world of a blue-green release: both colours, what the Service selects, the preview, the autoscaler."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from onlyvips.core.colours import colour_name, preview_name
from onlyvips.core.manifests import RELEASE
from onlyvips.core.record import Record
from onlyvips.core.world import Split, World
from onlyvips.ports import Manifest
from onlyvips.steps.generations import unused
from onlyvips.steps.observe import SCALER, Observer, is_held, scaler_of
from onlyvips.steps.routers import colour_router


class BlueGreenObserver(Observer):
    """What one process has seen so far of both colours."""

    def world(self, record: Record, waiting: str = "", waited: float = 0.0) -> World:
        """One observation, now. The world's stable is the colour that users were on when the release began."""
        names = [colour_name(self._plan.service.deployment, colour) for colour in record.colours]
        old, new = (self._cluster.get("Deployment", name) for name in names)
        return World(
            stable=self.workload(old, record),
            canary=self.workload(new, record),
            split=self._selected(record),
            leftovers=self._left_behind(record, names, old),
            waiting=waiting,
            waited=waited,
            scaler=self._scaled(names),
        )

    def _selected(self, record: Record) -> Split | None:
        split = self.split(colour_router(self._cluster, self._plan, record))
        previews = [self._cluster.get(kind, preview_name(record.service)) for kind in ("Service", "HTTPRoute")]
        return replace(split, listed=all(each is not None for each in previews)) if split else None

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
        return (
            *made,
            *(f"{SCALER}/{each['metadata']['name']}" for each in scalers),
            *unused(self._cluster, record, old),
        )
