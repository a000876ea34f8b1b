"""The trend of drills as a page of its own: plots by matplotlib as SVG, HTML by Jinja."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from onlyvips.adapters import pages
from onlyvips.adapters.pages import BLUE, RED, moment
from onlyvips.core import drills
from onlyvips.core.trend import Plot, Trend

_TICKS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600, 30 * 24 * 3600)
"""Seconds that are marked: 1 s to 30 d."""
_DAY, _LEAST = 86400.0, 0.5
"""Seconds; what took less than the least is drawn there."""


def page(trend: Trend) -> str:
    """One HTML document that needs nothing else."""
    plots = [pages.inline(picture(one)) for one in trend.plots]
    heads, rows = drills.HEADS, [drills.row(one) for one in trend.rows]
    return pages.rendered("trend_page.html.j2", trend=trend, plots=plots, heads=heads, rows=rows)


def picture(plot: Plot) -> str:
    """One plot as SVG: each drill, and the target as a line."""
    return pages.drawn(lambda axes: _draw(axes, plot), plot.title, (9, 3.2))


def _draw(axes: Axes, plot: Plot) -> None:
    known = [(moment(one.at), max(one.value, _LEAST), one.passed) for one in plot.points if one.value is not None]
    good = [(at, value) for at, value, passed in known if passed]
    values = [plot.target, *(value for _, value, _ in known)]
    bottom, top = min(values) / 2, max(values) * 2
    bad = [(at, value) for at, value, passed in known if not passed]
    bad += [(moment(one.at), bottom * 1.15) for one in plot.points if one.value is None]
    told = f"{plot.name}: {drills.span(plot.target)}"
    axes.axhline(plot.target, color=RED, linewidth=1.5, linestyle="--", label=told)
    if good:
        axes.plot(*zip(*good, strict=True), color=BLUE, marker="o", markersize=5, linewidth=1.5, label="passed")
    if bad:
        axes.plot(*zip(*bad, strict=True), color=RED, marker="x", markersize=8, linestyle="none", label="failed")
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
