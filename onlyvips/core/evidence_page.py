"""What the page of a release's evidence says, from the document that is kept. Pure.

Everything that the document has is on the page: what no section knows comes last, as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from onlyvips.core import approvals
from onlyvips.core.chart import Chart
from onlyvips.core.evidence_charts import charts, weights_read
from onlyvips.core.report import clock_time, tried

Row = tuple[str, ...]

_TOLD = (
    *("schema", "phase", "open", "headline", "advice", "id", "environment", "service", "version", "from_image"),
    *("to_image", "operator", "created", "result", "reason", "looks", "steps", "commands", "told", "holders", "backup"),
    *(
        "snapshot",
        "secrets",
        "configs",
        "migration",
        "plan_hash",
        "capacity",
        "evidence",
        "evidence_at",
        "page_at",
        "waiting",
    ),
    *("waiting_for", "waiting_since", "hooks", "approvals", "kept", "witness", "left", "strategy", "group", "override"),
)
"""Keys that a section tells, or that say nothing of a release that is over."""


@dataclass(frozen=True)
class Table:
    """A section with its rows; ``empty`` is said where there are none."""

    title: str
    heads: Row
    rows: tuple[Row, ...]
    empty: str


@dataclass(frozen=True)
class Page:
    """All that the page shows, in order. ``good``: the release was promoted."""

    title: str
    headline: str
    advice: str
    good: bool
    facts: tuple[tuple[str, str], ...]
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]
    others: tuple[tuple[str, str], ...]


def page_of(document: Mapping[str, Any]) -> Page:
    """The page of an evidence document. Raises KeyError for one that is not of a release."""
    release = document["release"]
    others = {key: value for key, value in release.items() if key not in _TOLD and value not in ("", None, [], {}, 0)}
    return Page(
        title=f"Release {release['id']}",
        headline=f"{release['headline']}.",
        advice=str(release.get("advice") or ""),
        good=release.get("result") == "promoted",
        facts=tuple(_facts(document, release)),
        charts=tuple(charts(document)),
        tables=(_steps(release), *_asked(release), _hooks(release), _told(release), _looks(release)),
        others=(*((key, _plain(value)) for key, value in others.items()), *_plan(document)),
    )


def _facts(document: Mapping[str, Any], release: Mapping[str, Any]) -> list[tuple[str, str]]:
    steps = release.get("steps") or ()
    ends = [step["done"] for step in steps if step.get("done")]
    began = float(release["created"])
    return [
        ("service", f"{release['service']} {release['version']} in {release['environment']}"),
        ("from", f"{release['from_image']}, on {release['capacity']} pods"),
        ("to", str(release["to_image"])),
        ("by", str(release.get("strategy") or "canary")),
        *([("part of", f"release {release['group']} of all services")] if release.get("group") else []),
        ("result", _result(release)),
        *_shown(release),
        ("asked for by", f"{release['operator']} (claimed)"),
        *([("outside of the windows", str(release["override"]))] if release.get("override") else []),
        *([("approved", _approved(release))] if release.get("approvals") else []),
        ("began", _moment(began)),
        ("took", f"{_span(max(ends) - began)} until its last step was done" if ends else "nothing was done"),
        ("driven by", "; ".join(release.get("holders") or ()) or "nobody"),
        ("backup", str(release.get("backup") or "none")),
        ("configuration kept as", str(release.get("snapshot") or "nothing was kept")),
        ("read by name, kept as", _kept(release.get("kept") or ())),
        ("not put back", ", ".join(release.get("left") or ()) or "nothing"),
        ("secrets", _became(release.get("secrets") or ())),
        ("ConfigMaps", _became(release.get("configs") or ())),
        ("migration", str(release.get("migration") or "none")),
        (
            "lost requests",
            str(release.get("lost_requests", "not known here: they are counted where requests are sent")),
        ),
        ("plan", f"fingerprint {release.get('plan_hash')}"),
        ("written", str(document.get("written") or "")),
    ]


def _result(release: Mapping[str, Any]) -> str:
    result = str(release.get("result") or "open")
    reason = str(release.get("reason") or "no reason was written down")
    return result if reason == result else f"{result}: {reason}"


def _shown(release: Mapping[str, Any]) -> list[tuple[str, str]]:
    """For how long users saw a version that was taken back, and who of them."""
    weights = weights_read(release)
    if release.get("result") == "promoted" or not any(weight for _, weight in weights):
        return []
    first = next(at for at, weight in weights if weight)
    last, left = weights[-1]
    until = "it is not known until when" if left else f"until {clock_time(last)} UTC ({_span(last - first)})"
    most = max(weight for _, weight in weights)
    return [("users saw it", f"at most {most:g} % of requests, from {clock_time(first)}, {until}")]


def _approved(release: Mapping[str, Any]) -> str:
    return "; ".join(f"{row[0]}: {row[3]}, {row[4]}" for row in _approvals(release).rows)


def _kept(kept: Sequence[Mapping[str, str]]) -> str:
    return "; ".join(f"{one['kind']} {one['name']} as {one['copy']}" for one in kept) or "nothing is read by name"


def _became(pairs: Sequence[Sequence[str]]) -> str:
    return "; ".join(f"{old} became {new}" for old, new in pairs) or "none"


def _steps(release: Mapping[str, Any]) -> Table:
    rows = tuple(
        (clock_time(step["intended"]), step["action"], step["reason"], _took(step), _read_back(step))
        for step in release.get("steps") or ()
    )
    return Table("What was done", ("UTC", "step", "why", "took", "read back"), rows, "Nothing was done.")


def _read_back(step: Mapping[str, Any]) -> str:
    return f"{step.get('observed') or 'not done'}{tried(step.get('tries', 1))}"


def _took(step: Mapping[str, Any]) -> str:
    return f"{step['done'] - step['intended']:.1f} s" if step.get("done") else ""


_LOOK = ("UTC", "stage", "weight", "metric", "new version", "stable", "difference", "p", "limit", "alpha", "verdict")


def _looks(release: Mapping[str, Any]) -> Table:
    rows = tuple(row for look in release.get("looks") or () for row in _rows_of(look))
    return Table("Every look", _LOOK, rows, "No look was taken.")


def _rows_of(look: Mapping[str, Any]) -> list[Row]:
    place = (clock_time(look["at"]), str(look["stage"] + 1), f"{look['weight']} %")
    if not look.get("values"):
        gone = "its numbers are kept no longer" if look.get("spent") else "nothing to judge by"
        return [(*place, look.get("reason") or gone, *[""] * 6, look["verdict"])]
    return [(*place, *_numbers(value)) for value in look["values"]]


def _numbers(value: Mapping[str, Any]) -> Row:
    beside, slower = value.get("against"), str(value["name"]).startswith("latency-")
    counted = "" if slower and beside else f"{value['bad']} of "
    mine = f"{counted}{value['total']} ({100 * value['share']:.3g} %)" if value["total"] else "none"
    stable = f"{beside['total']} ({100 * beside['share']:.3g} %)" if beside else ""
    effect = (
        f"{100 * beside['effect']:+.3g} ({100 * beside['low']:+.3g} to {100 * beside['high']:+.3g})" if beside else ""
    )
    return (
        value["name"],
        mine,
        stable,
        effect,
        f"{beside['p']:.2g}" if beside else "",
        f"{100 * value['threshold']:.3g} %",
        f"{value['alpha']:.2g}",
        value["verdict"],
    )


def _hooks(release: Mapping[str, Any]) -> Table:
    rows = tuple((one["name"], one["state"], one.get("observed") or "") for one in release.get("hooks") or ())
    return Table("Hooks", ("hook", "state", "what it said"), rows, "No hook was run.")


def _asked(release: Mapping[str, Any]) -> tuple[Table, Table]:
    return _approvals(release), _commands(release)


def _approvals(release: Mapping[str, Any]) -> Table:
    given = [one for one in release.get("commands") or () if one["name"] == "approve"]
    rows = tuple(
        (
            approvals.before(one["what"]),
            _moment(one["since"]),
            _moment(one["until"]),
            one.get("outcome") or "waiting",
            "; ".join(
                f"{_who(each)}: {each.get('reason') or 'no reason given'}"
                for each in given
                if each.get("what") == one["what"]
            )
            or "nobody",
        )
        for one in release.get("approvals") or ()
    )
    heads = ("approval", "wanted since", "until", "outcome", "given by")
    return Table("Approvals", heads, rows, "No approval was wanted.")


def _who(command: Mapping[str, Any]) -> str:
    return approvals.who(str(command["by"]), bool(command.get("proven")), str(command.get("proof") or ""))


def _commands(release: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            clock_time(one["at"]),
            f"{one['name']} {one.get('what') or ''}".strip(),
            _who(one),
            one.get("reason") or "no reason given",
        )
        for one in release.get("commands") or ()
    )
    return Table("What people asked", ("UTC", "command", "by", "why"), rows, "Nobody asked for anything.")


def _told(release: Mapping[str, Any]) -> Table:
    rows = tuple(
        (clock_time(one["at"]), _named(one["news"]), one["target"], one.get("failed") or "taken")
        for one in release.get("told") or ()
    )
    return Table("Who was told", ("UTC", "news", "target", "what became of it"), rows, "Nobody was told by messages.")


def _named(key: str) -> str:
    """News by its key, without the moment that tells it from others of its kind."""
    parts = key.split(":")
    return " ".join(part for part in parts if len(part) < 9 or not part.isdigit())


def _plan(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(f"plan: {key}", _plain(value)) for key, value in (document.get("plan") or {}).items() if value]


def _plain(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items() if one not in (None, "", [], {}))
    if isinstance(value, list | tuple):
        return "; ".join(_plain(one) for one in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return " ".join(
        part for part in (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{rest} s") if part
    )
