"""The port of one Helm release, upgraded from one chart. See ``onlyvips.ports``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from onlyvips.core.charts import Revision


class Charts(Protocol):
    """Every method raises Refused where Helm is not to be had, Transient when the cluster does not answer a read."""

    def newest(self) -> Revision | None:
        """The newest revision, whatever its status; None when there is no such release."""

    def render(self, values: Mapping[str, str]) -> Revision:
        """What ``upgrade`` with ``values`` would make of it, and nothing changed. Raises Refused when it cannot."""

    def upgrade(self, values: Mapping[str, str]) -> None:
        """A new revision: the chart, the values of the last one, and ``values``.

        Raises Conflict while another operation is under way or was cut off, UnknownOutcome when no end was seen,
        Permanent when Helm says that it failed: its revision is then there, with that status.
        """

    def rollback(self, number: int) -> None:
        """A new revision that is as revision ``number``; also after one that was cut off or failed.

        Raises as ``upgrade`` does; Permanent when that revision is gone.
        """
