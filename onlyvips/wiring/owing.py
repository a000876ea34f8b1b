"""What drivers of releases that are closed by now could not tell any more is told by who reconciles.

A release that is closed is labelled as one whose news may be owed, and so found without reading all that ever were. The
reconciler sends the end of it to those who were not given it, and takes the label away once nobody is owed anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.core.bulletin import ENDS
from onlyvips.core.group import Group
from onlyvips.core.plan import ManyPlan, ReleasePlan
from onlyvips.core.record import Record
from onlyvips.environment import Environment
from onlyvips.errors import OnlyVipsError, Refused
from onlyvips.ports import Cluster
from onlyvips.steps import group_records, records
from onlyvips.wiring.telling import herald_of

_GRACE, _AT_MOST = 60.0, 6 * 3600.0
"""Seconds after its last step for which its driver may still be telling, and after which nobody wants to hear of it."""
_LOG = logging.getLogger("onlyvips.notifications")

Closed = Record | Group


def tell(environment: str, service: str) -> None:
    """Have told what is owed of the service's closed releases, and of those of all services that it is the first of.
    Raises nothing: no news is worth a reconciler."""
    try:
        loaded = environments.load(environment)
        cluster = wiring.cluster_of(loaded)
        for record in records.every(cluster, service, state="closed", news="owed"):
            _tell(loaded, cluster, record, partial(environments.release_plan, loaded, service, record.asked))
        for group in group_records.every(cluster, state="closed", news="owed"):
            if group.services[0] == service:
                _tell(loaded, cluster, group, partial(environments.many_plan, loaded, group.version))
    except OnlyVipsError as error:
        _LOG.warning("What is owed to people of %s is not told: %s", service, error)
    except Exception:  # noqa: BLE001 - a reconciler never fails by its news
        _LOG.exception("What is owed to people of %s could not be worked out.", service)


def _tell(loaded: Environment, cluster: Cluster, closed: Closed, plan: Callable[[], ReleasePlan | ManyPlan]) -> None:
    ago = SystemClock().now() - _ended(closed)
    if ago < _GRACE:
        return
    if ago < _AT_MOST and _owed(loaded, cluster, closed, plan):
        return
    records.news_over(cluster, closed.id)


def _owed(loaded: Environment, cluster: Cluster, closed: Closed, plan: Callable[[], ReleasePlan | ManyPlan]) -> bool:
    """Whether somebody still has to be told, after what could be sent was."""
    try:
        herald = herald_of(loaded, plan(), cluster, ENDS)
    except Refused:
        return False  # the environment knows nothing of that version any more
    herald.look(closed)
    herald.settle()
    fresh = group_records.find(cluster, closed.id) if isinstance(closed, Group) else records.find(cluster, closed.id)
    return fresh is not None and herald.owes(fresh)


def _ended(closed: Closed) -> float:
    done: Sequence[float] = [step.done for step in closed.steps if step.done]
    return max(done, default=closed.created)
