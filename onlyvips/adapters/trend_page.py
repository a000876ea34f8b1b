"""The trend of drills as a page of its own: plots by matplotlib as SVG, HTML by Jinja."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from onlyvips.core import drills
from onlyvips.core.trend import Plot, Trend

_BLUE, _RED, _GREY = "#1f5fa8", "#b3261e", "#5f6368"
_TICKS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600, 30 * 24 * 3600)
"""Seconds that are marked: 1 s to 30 d."""
_DAY, _LEAST = 86400.0, 0.5
"""Seconds; what took less than the least is drawn there."""
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "onlyvips", "font.family": "sans-serif", "font.size": 11}


def page(trend: Trend) -> str:
    """One HTML document that needs nothing else."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    plots = [Markup(_inline(picture(one))) for one in trend.plots]
    heads, rows = drills.HEADS, [drills.row(one) for one in trend.rows]
    return templates.get_template("trend_page.html.j2").render(trend=trend, plots=plots, heads=heads, rows=rows)


def picture(plot: Plot) -> str:
    """One plot as SVG: each drill, and the target as a line."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        _draw(figure.subplots(), plot)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Title": plot.title})
    return stream.getvalue()


def _draw(axes: Axes, plot: Plot) -> None:
    known = [(_time(one.at), max(one.value, _LEAST), one.passed) for one in plot.points if one.value is not None]
    good = [(at, value) for at, value, passed in known if passed]
    values = [plot.target, *(value for _, value, _ in known)]
    bottom, top = min(values) / 2, max(values) * 2
    bad = [(at, value) for at, value, passed in known if not passed]
    bad += [(_time(one.at), bottom * 1.15) for one in plot.points if one.value is None]
    told = f"{plot.name}: {drills.span(plot.target)}"
    axes.axhline(plot.target, color=_RED, linewidth=1.5, linestyle="--", label=told)
    if good:
        axes.plot(*zip(*good, strict=True), color=_BLUE, marker="o", markersize=5, linewidth=1.5, label="passed")
    if bad:
        axes.plot(*zip(*bad, strict=True), color=_RED, marker="x", markersize=8, linestyle="none", label="failed")
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
        axes.set_xlim(date2num(_time(min(times) - room)), date2num(_time(max(times) + room)))
        locator = AutoDateLocator(minticks=3, maxticks=8)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    else:
        axes.xaxis.set_major_locator(NullLocator())
    axes.grid(axis="y", color="#dadce0", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_GREY)


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _inline(svg: str) -> str:
    """Without the prologue that only a file of its own has."""
    return svg[svg.index("<svg") :]
