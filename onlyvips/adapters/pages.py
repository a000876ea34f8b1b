"""Pages that need nothing else: HTML by Jinja, plots by matplotlib as SVG inside it."""

from __future__ import annotations

import html
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

BLUE, RED, GREY, GREEN = "#1f5fa8", "#b3261e", "#5f6368", "#188038"
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "onlyvips", "font.family": "sans-serif", "font.size": 11}


def rendered(template: str, **values: Any) -> str:
    """A template of this folder, filled in; what is put in is text, unless it is ``Markup``."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return templates.get_template(template).render(**values)


def drawn(draw: Callable[[Axes], None], title: str, size: tuple[float, float]) -> str:
    """A plot of ``size`` inches as SVG, the same bytes for the same plot."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Title": title})
    return stream.getvalue()


def inline(svg: str, told: str = "") -> Markup:
    """A plot to stand in a page: without the prologue that only a file of its own has, and ``told`` to who cannot see
    it."""
    whole = svg[svg.index("<svg") :]
    return Markup(whole.replace("<svg ", f'<svg role="img" aria-label="{html.escape(told)}" ', 1) if told else whole)


def time_axis(axes: Axes, first: float, last: float) -> None:
    """Time from ``first`` to ``last``, unix seconds, in marks that people read at a glance."""
    axes.set_xlim(date2num(moment(first)), date2num(moment(last)))
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def plain(axes: Axes) -> None:
    """Without what only decorates."""
    axes.grid(axis="y", color="#dadce0", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=GREY)


def moment(at: float) -> datetime:
    """Unix seconds as matplotlib takes them."""
    return datetime.fromtimestamp(at, UTC)
