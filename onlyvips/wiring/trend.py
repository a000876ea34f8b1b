"""The trend of an environment's drills, as a page and as Markdown."""

from __future__ import annotations

import base64

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.core import trend as core
from onlyvips.core.manifest import moment
from onlyvips.core.trend import Trend
from onlyvips.wiring import drill_records


def page(environment: str) -> str:
    """One HTML document that needs nothing else."""
    from onlyvips.adapters import trend_page  # drawing takes a second to import, and only this needs it

    return trend_page.page(_trend(environment))


def markdown(environment: str) -> str:
    """For Prefect: the plots are in it."""
    from onlyvips.adapters import trend_page

    found = _trend(environment)
    drawn = [base64.b64encode(trend_page.picture(one).encode()).decode() for one in found.plots]
    return core.markdown(found, [f"data:image/svg+xml;base64,{one}" for one in drawn])


def _trend(environment: str) -> Trend:
    loaded = environments.load(environment)
    plan = environments.drill_plan(loaded)
    return core.trend(drill_records.records(loaded), plan, moment(SystemClock().now()))
