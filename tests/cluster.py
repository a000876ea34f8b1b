"""What tests do to a cluster as people do."""

from __future__ import annotations

from onlyvips.errors import Conflict
from onlyvips.ports import Cluster

TRIES = 20


def remove(cluster: Cluster, kind: str, name: str) -> None:
    """Delete what has this name, if anything has: also while others (its controller, say) write to it.

    Raises Conflict when somebody was quicker ``TRIES`` times.
    """
    for left in reversed(range(TRIES)):
        live = cluster.get(kind, name)
        if live is None:
            return
        try:
            cluster.delete(kind, name, live["metadata"]["resourceVersion"])
            return
        except Conflict:
            if not left:
                raise
