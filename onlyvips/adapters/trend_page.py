"""The trend of drills as a page of its own: plots by matplotlib as SVG, HTML by Jinja."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from onlyvips.adapters import pages
from onlyvips.adapters.pages import BLUE, GREY, RED, moment
from onlyvips.core import drills
from onlyvips.core.trend import Plot, Trend

_TICKS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600, 30 * 24 * 3600)
"""Seconds that are marked: 1 s to 30 d."""
_SERIES: tuple[tuple[bool, bool, dict[str, Any]], ...] = (
    (True, True, {"color": BLUE, "marker": "o", "markersize": 5, "linewidth": 1.5, "label": "passed"}),
    (False, True, {"color": RED, "marker": "x", "markersize": 8, "linestyle": "none", "label": "failed"}),
    (
        True,
        False,
        {"color": GREY, "marker": "o", "markersize": 5, "linestyle": "none", "label": "passed, older moment"},
    ),
    (
        False,
        False,
        {"color": GREY, "marker": "x", "markersize": 8, "linestyle": "none", "label": "failed, older moment"},
    ),
)
"""Passed, of the latest moment, how it is drawn."""
_DAY, _LEAST = 86400.0, 0.5
"""Seconds; what took less than the least is drawn there."""


def page(trend: Trend) -> str:
    """One HTML document that needs nothing else."""
    plots = [pages.inline(picture(one)) for one in trend.plots]
    return pages.rendered("trend_page.html.j2", trend=trend, plots=plots, heads=drills.HEADS)


def picture(plot: Plot) -> str:
    """One plot as SVG: each drill, and the target as a line; drills of older moments stand apart, in no line."""
    return pages.drawn(lambda axes: _draw(axes, plot), plot.title, (9, 3.2))


def _draw(axes: Axes, plot: Plot) -> None:
    values = [plot.target, *(max(one.value, _LEAST) for one in plot.points if one.value is not None)]
    bottom, top = min(values) / 2, max(values) * 2
    axes.axhline(
        plot.target, color=RED, linewidth=1.5, linestyle="--", label=f"{plot.name}: {drills.span(plot.target)}"
    )
    for passed, of_latest, style in _SERIES:
        chosen = [one for one in plot.points if (one.passed, one.of_latest) == (passed, of_latest)]
        drawn = [(moment(one.at), bottom * 1.15 if one.value is None else max(one.value, _LEAST)) for one in chosen]
        if drawn:
            axes.plot(*zip(*drawn, strict=True), **style)
    axes.set_title(f"{plot.name}: {plot.title}", loc="left", fontsize=12)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes.set_yscale("log")
    axes.set_ylim(bottom, top)
    _scale(axes, [one.at for one in plot.points])


def _scale(axes: Axes, times: list[float]) -> None:
    """Marks that people read at a glance; the same times on every plot, a day at least."""
    axes.yaxis.set_major_locator(FixedLocator([float(one) for one in _TICKS]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: drills.span(value)))
    if times:
        room = max(_DAY / 2, (max(times) - min(times)) * 0.04)
        pages.time_axis(axes, min(times) - room, max(times) + room)
    else:
        axes.xaxis.set_major_locator(NullLocator())
    pages.plain(axes)
