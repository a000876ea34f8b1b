"""Gauges in a file that node_exporter's textfile collector reads; it appears whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, write_to_textfile
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from onlyvips.core.backup_metrics import Gauge
from onlyvips.errors import Permanent


def write_gauges(path: Path, gauges: Sequence[Gauge]) -> None:
    """Replace the file by these gauges. Raises Permanent when it cannot be written."""
    registry = CollectorRegistry()
    registry.register(_Collector(gauges))
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise Permanent(
            f"The metrics of backups cannot be written to {path}: {error.strerror}; make its directory writable, or "
            "correct backup.metrics_file."
        ) from error


class _Collector:
    def __init__(self, gauges: Sequence[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for one in self._gauges:
            names, values = zip(*one.labels, strict=True)
            family = families.setdefault(one.name, GaugeMetricFamily(one.name, one.help, labels=names))
            family.add_metric(values, one.value)
        return families.values()
