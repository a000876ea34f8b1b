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
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from onlyvips.core import drills
from onlyvips.core.trend import Plot, Trend

_BLUE, _RED, _GREY = "#1f5fa8", "#b3261e", "#5f6368"
_TICKS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600, 30 * 24 * 3600)
"""Seconds that are marked: 1 s to 30 d."""
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
    known = [(_time(one.at), max(one.value, 0.5), one.passed) for one in plot.points if one.value is not None]
    good = [(at, value) for at, value, passed in known if passed]
    bad = [(at, value) for at, value, passed in known if not passed]
    axes.set_yscale("log")
    axes.axhline(
        plot.target, color=_RED, linewidth=1.5, linestyle="--", label=f"{plot.name}: {drills.span(plot.target)}"
    )
    if good:
        axes.plot(*zip(*good, strict=True), color=_BLUE, marker="o", markersize=5, linewidth=1.5, label="passed")
    if bad:
        axes.plot(*zip(*bad, strict=True), color=_RED, marker="x", markersize=8, linestyle="none", label="failed")
    values = [plot.target, *(value for _, value, _ in known)]
    axes.set_ylim(min(values) / 2, max(values) * 2)
    axes.yaxis.set_major_locator(FixedLocator([float(one) for one in _TICKS]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: drills.span(value)))
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_title(plot.title, loc="left", fontsize=12)
    axes.grid(axis="y", color="#dadce0", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_GREY)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _inline(svg: str) -> str:
    """Without the prologue that only a file of its own has."""
    return svg[svg.index("<svg") :]
