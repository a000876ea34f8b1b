"""Helm in memory: ``ports.charts.Charts`` with its revisions, its three-way merge, and deaths between its writes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from onlyvips.core.charts import Revision
from onlyvips.errors import Conflict, Permanent, Refused, UnknownOutcome
from onlyvips.ports import Manifest
from tests.simulators.cluster import SimCluster

Template = Callable[[Mapping[str, str]], Sequence[Manifest]]
"""A chart: values in, objects out."""
Write = Callable[[str, Callable[[], None]], None]
"""Does one write of Helm's of a kind; a process may die before or after it."""


def done(_: str, write: Callable[[], None]) -> None:
    """It is done."""
    write()


class SimHelm:
    """What Helm keeps of one release: its revisions with their values, the newest last."""

    def __init__(self, cluster: SimCluster, chart: Template, values: Mapping[str, str]) -> None:
        self.cluster, self.chart = cluster, chart
        self.revisions: list[Revision] = []
        self.values: list[Mapping[str, str]] = []
        self.missing: Exception | None = None
        self.breaks: Exception | None = None
        self.hooks: tuple[str, ...] = ()
        self._write(chart(values), values, "pending-install", done)

    def by(self, write: Write) -> SimCharts:
        """As a process uses it that does its writes by ``write``."""
        return SimCharts(self, write)

    def upgrade(self, values: Mapping[str, str], write: Write = done) -> None:
        """``helm upgrade --reuse-values``."""
        if self.revisions[-1].status.startswith("pending-"):
            raise Conflict("helm upgrade failed: another operation (install/upgrade/rollback) is in progress")
        deployed = next(
            number for number, one in reversed([*enumerate(self.revisions)]) if one.status in ("deployed", "superseded")
        )
        together = {**self.values[deployed], **values}
        self._write(self.chart(together), together, "pending-upgrade", write)

    def rollback(self, number: int, write: Write = done) -> None:
        """``helm rollback``."""
        found = [at for at, one in enumerate(self.revisions) if one.number == number]
        if not found:
            raise Permanent(f"helm rollback failed: release has no {number} version")
        self._write(self.revisions[found[0]].objects, self.values[found[0]], "pending-rollback", write)

    def _write(self, objects: Sequence[Manifest], values: Mapping[str, str], status: str, write: Write) -> None:
        before = {(one["kind"], one["metadata"]["name"]): one for one in self._base()}
        made = Revision(len(self.revisions) + 1, status, tuple(copy.deepcopy(list(objects))), self.hooks)

        def begin() -> None:
            self.revisions.append(made)
            self.values.append(dict(values))

        write("Secret", begin)
        if self.breaks is not None:
            self._break(made)
        for each in made.objects:
            old = before.get((each["kind"], each["metadata"]["name"]), {})
            write(each["kind"], lambda each=each, old=old: self._apply(old, each))  # type: ignore[misc]
        write("Secret", lambda: self._deployed(made.number))

    def _break(self, made: Revision) -> None:
        """Once: before anything but the revision is written."""
        error, self.breaks = self.breaks, None
        assert error is not None
        if not isinstance(error, UnknownOutcome):
            self.revisions[-1] = replace(made, status="failed")
        raise error

    def _base(self) -> Sequence[Manifest]:
        return self.revisions[-1].objects if self.revisions else ()

    def _deployed(self, number: int) -> None:
        told = {number: "deployed"}
        self.revisions = [
            replace(one, status=told.get(one.number, "superseded" if one.status == "deployed" else one.status))
            for one in self.revisions
        ]

    def _apply(self, old: Manifest, new: Manifest) -> None:
        kind, name = new["kind"], new["metadata"]["name"]
        if self.cluster.see(kind, name) is None:
            self.cluster.create(copy.deepcopy(new))
        marks = {"meta.helm.sh/release-name": "onlyvips"}
        self.cluster.change(kind, name, lambda live: live["metadata"].setdefault("annotations", {}).update(marks))
        self.cluster.change(kind, name, lambda live: _merge(live, old, new))


def _merge(live: dict[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Three-way: what the chart says wins, what it says no more goes, what it never said stays."""
    for key in old.keys() - new.keys():
        live.pop(key, None)
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(live.get(key), dict):
            _merge(live[key], old.get(key) or {}, value)
        else:
            live[key] = copy.deepcopy(value)


class SimCharts:
    """One process's Helm."""

    def __init__(self, helm: SimHelm, write: Write) -> None:
        self._helm, self._write = helm, write

    def newest(self) -> Revision | None:
        """See ``ports.charts.Charts``."""
        self._there()
        return self._helm.revisions[-1] if self._helm.revisions else None

    def render(self, values: Mapping[str, str]) -> Revision:
        """See ``ports.charts.Charts``."""
        self._there()
        last, helm = self._helm.revisions[-1], self._helm
        if last.status.startswith("pending-"):
            raise Refused("helm upgrade failed: another operation is in progress")
        objects = tuple(helm.chart({**helm.values[-1], **values}))
        return Revision(last.number + 1, "pending-upgrade", objects, helm.hooks)

    def upgrade(self, values: Mapping[str, str]) -> None:
        """See ``ports.charts.Charts``."""
        self._there()
        self._helm.upgrade(values, self._write)

    def rollback(self, number: int) -> None:
        """See ``ports.charts.Charts``."""
        self._there()
        self._helm.rollback(number, self._write)

    def _there(self) -> None:
        if self._helm.missing is not None:
            raise self._helm.missing
