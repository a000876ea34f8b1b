"""What the acts of a release work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onlyvips.core.plan import ConfigPlan, ReleasePlan
from onlyvips.core.record import Record
from onlyvips.errors import Permanent
from onlyvips.ports import Clock, Cluster, Manifest, Metrics
from onlyvips.ports.charts import Charts
from onlyvips.ports.prober import Prober
from onlyvips.steps.evidence import Kept
from onlyvips.steps.fence import Fence
from onlyvips.steps.herald import SILENT, Herald

Done = tuple[Record, str]
"""The record as it is after an act, and one sentence of what was read back."""


@dataclass(frozen=True)
class Tools:
    """``back_up`` takes one complete base and returns its key; ``resolve`` reads a reference, ``config`` what
    a ConfigMap holds; ``keep_evidence`` stores
    the record under the release's id and says which stores took it; ``herald`` tells people;
    ``prober`` asks smoke tests, where there are any; ``charts`` is Helm, where it owns the Deployment."""

    cluster: Cluster
    metrics: Metrics
    clock: Clock
    fence: Fence
    plan: ReleasePlan
    back_up: Callable[[Record, Callable[[], None]], str]
    resolve: Callable[[str], str]
    config: Callable[[ConfigPlan], Mapping[str, str]]
    keep_evidence: Callable[[Record], Kept]
    herald: Herald = SILENT
    prober: Prober | None = None
    charts: Charts | None = None


def live(tools: Tools, kind: str, name: str) -> Manifest:
    """The live object. Raises Permanent when it is gone."""
    found = tools.cluster.get(kind, name)
    if found is None:
        raise Permanent(f"{kind} {name} is gone: somebody removed it in the middle of the release.")
    return found
