"""Mistakes about the Helm chart that owns a service's Deployment."""

from __future__ import annotations

from tests.core.broken_environments import Case


def _bot(key: str, message: str, chart: str) -> Case:
    values = "image_value: bot.tag, release_value: bot.id"
    return Case("    deployment: bot\n", f"    deployment: bot\n@@    chart: {{{values}{chart}}}\n", key, message)


def _backend(key: str, message: str, chart: str) -> Case:
    values = "image_value: a.tag, release_value: a.id, path: /chart"
    old = "    deployment: backend\n"
    return Case(old, f"{old}@@    chart: {{{values}{chart}}}\n", key, message)


BROKEN = {
    "a chart from nowhere": _bot("services.bot.chart", "write one of the two", ""),
    "a chart from two places": _bot("services.bot.chart", "write one of the two", ", path: /c, name: c, version: v1"),
    "a chart without version": _bot("services.bot.chart.version", "would bring the newest chart", ", name: onlyvips"),
    "a path with a version": _bot("services.bot.chart.version", "leave this key out", ", path: /c, version: v1"),
    "a chart near here": _bot("services.bot.chart.path", "a path is absolute", ", path: charts/onlyvips"),
    "a repository with a password": _bot(
        "services.bot.chart.repository",
        "without user or password",
        ", name: c, version: v1, repository: 'https://me:secret@charts.example'",
    ),
    "a value that is no path": Case(
        "    deployment: bot\n",
        "    deployment: bot\n@@    chart: {path: /c, image_value: 'bot.tag,x=1', release_value: bot.id}\n",
        "services.bot.chart.image_value",
        "a chart's value such as backend.image.tag",
    ),
    "a chart of two colours": Case(
        "    deployment: miniapp\n",
        "    deployment: miniapp\n@@    chart: {image_value: a.tag, release_value: a.id, path: /chart}\n",
        "services.miniapp.chart",
        "blue-green makes a Deployment of its own, which no chart owns",
    ),
    "a Secret that no value names": _backend("services.backend.chart", "`backend-jwt` is missing", ""),
}
