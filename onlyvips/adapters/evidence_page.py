"""The evidence of a release as one page that opens anywhere, with its plots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, date2num
from matplotlib.ticker import FuncFormatter

from onlyvips.adapters import pages
from onlyvips.core.chart import Chart, Line
from onlyvips.core.evidence_page import Page

_COLOURS = {"canary": pages.BLUE, "stable": pages.GREEN, "limit": pages.RED, "intended": pages.GREY}


def page(shown: Page) -> str:
    """One HTML document that needs nothing else."""
    times = [at for chart in shown.charts for line in chart.lines for at, _ in line.points]
    plots = [(chart, pages.inline(picture(chart, times), f"{chart.title}. {chart.told}")) for chart in shown.charts]
    return pages.rendered("evidence_page.html.j2", page=shown, plots=plots)


def picture(chart: Chart, times: Sequence[float]) -> str:
    """One plot as SVG, from the first to the last of ``times``."""

    def draw(axes: Axes) -> None:
        room = max(1.0, (max(times) - min(times)) * 0.02)
        for line in chart.lines:
            if line.points:
                _draw(axes, line, max(times) + room)
        pages.time_axis(axes, min(times) - room, max(times) + room)
        axes.xaxis.set_major_formatter(DateFormatter("%H:%M" if room > 30.0 else "%H:%M:%S", UTC))
        _values(axes, chart)
        pages.plain(axes)
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.15), frameon=False, ncols=3)

    return pages.drawn(draw, chart.title, (9, 3.2))


def _draw(axes: Axes, line: Line, end: float) -> None:
    times = [date2num(pages.moment(at)) for at, _ in line.points]
    values, colour = [value for _, value in line.points], _COLOURS[line.role]
    if line.kind == "limit":
        dashes = "--" if line.role == "limit" else ":"
        axes.plot(times, values, color=colour, linewidth=1.5, linestyle=dashes, label=line.name, marker="_")
    elif line.kind == "steps":
        dashed = line.role == "intended"
        axes.step(
            [*times, date2num(pages.moment(end))],
            [*values, values[-1]],
            where="post",
            color=colour,
            linewidth=1.5,
            linestyle="--" if dashed else "-",
            label=line.name,
        )
    else:
        bars = _bars(line) if line.reach else None
        axes.errorbar(times, values, yerr=bars, color=colour, fmt="o", markersize=4, capsize=3, label=line.name)


def _bars(line: Line) -> list[list[float]]:
    """How far each point's interval reaches below and above it."""
    below = [max(0.0, value - low) for (_, value), (low, _) in zip(line.points, line.reach, strict=True)]
    return [below, [max(0.0, high - value) for (_, value), (_, high) in zip(line.points, line.reach, strict=True)]]


def _values(axes: Axes, chart: Chart) -> None:
    """Marks with their unit; shares and weights begin at zero."""
    unit = " %" if chart.unit == "%" else ""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{unit}"))
    low, high = axes.get_ylim()
    if chart.unit == "%":
        axes.set_ylim(0.0, max(high, 0.001))
    else:
        axes.set_ylabel("points", color=pages.GREY)
        axes.set_ylim(low, high)
