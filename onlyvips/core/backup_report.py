"""What backups, read-backs and audits say to people, in sentences and tables. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onlyvips.core.audit import Finding, Report, Standing
from onlyvips.core.catalog import Backup
from onlyvips.core.manifest import MEDIA, OPLOG, Manifest, Window, moment
from onlyvips.core.oplog import FOLLOWS, QUIET_UNTIL, reach
from onlyvips.core.replayable import Stop, stops
from onlyvips.core.verification import Verification

_NAMED = 20
"""How many objects are named one by one."""


def size(count: float) -> str:
    """``512 B``, ``1.4 MiB``: for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def progress(done: int, documents: int, seconds: float, expected: int = 0) -> str:
    """How far something is that read ``done`` of some ``expected`` bytes (0: nobody knows) in so many seconds."""
    of = f" of about {size(expected)}" if expected > done else ""
    told = f", {documents:,} documents" if documents else ""
    left = f", about {_left((expected - done) * seconds / done)} left" if expected > done > 0 else ""
    return f"{size(done)}{of} read{told}, {size(done / max(seconds, 0.001))}/s{left}"


def percentage(done: int, expected: int) -> float:
    """How much of it is done, 0 where nobody knows; what is expected is a guess, so never all of it."""
    return min(99.0, 100 * done / expected) if expected else 0.0


def _left(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if seconds >= 90 else f"{round(seconds)} s"


def written(key: str, stored: int, documents: int) -> str:
    """One object that is in its destinations."""
    what = "keys" if ".rdb." in key else "documents"
    return f"{key}: {size(stored)} stored" + (f", {documents:,} {what}" if documents else "")


def taken(manifest: Manifest, lacking: str) -> str:
    """A backup that was published; ``lacking`` names destinations that have no copy, with the reasons."""
    what = f"{manifest.id}-e{manifest.epoch}"
    told = f"Backup {what} of {manifest.kind}: {contents(manifest)} in {', '.join(manifest.copies)}"
    if not lacking and manifest.kind == MEDIA:
        return f"{told}; what is new was confirmed by each, and a copy counts once all of it was read back."
    if not lacking:
        return f"{told}, each read back.{_leads(manifest)}{_ends(manifest)}"
    repair = f"onlyvips backup repair {what} -e {manifest.environment}"
    return f"{told}. It is degraded: {lacking} Correct that, then `{repair}`.{_ends(manifest)}"


def _ends(manifest: Manifest) -> str:
    """Where a replay of the whole database ends in it, and what to do, in sentences; "" where it does not."""
    found = stops(manifest)
    if not found:
        return ""
    more, take = f", and {len(found) - 1} more" if len(found) > 1 else "", f"backup run -e {manifest.environment}"
    told = f" No point in time after {_moment_before(found[0])} can be had with it: {found[0].told}{more}."
    return f"{told} Take a base now: onlyvips {take} --kind mongodb."


def ends(manifest: Manifest) -> bool:
    """Whether a replay of the whole database ends in it."""
    return bool(stops(manifest))


def _moment_before(stop: Stop) -> str:
    return moment(float(stop.second_before.seconds))


def window(one: Window) -> str:
    """The stretch of the oplog that a backup has."""
    ends = " to ".join(f"{reach(edge)} ({edge.ts}, term {edge.term})" for edge in (one.start, one.end))
    return f"oplog from {ends}, {one.entries:,} entries"


def _leads(manifest: Manifest) -> str:
    """To which moment a slice of the oplog leads, and what else it says."""
    if manifest.kind != OPLOG or manifest.window is None:
        return ""
    said = {fact.name: fact.value for fact in manifest.facts}
    quiet, end = said.get(QUIET_UNTIL), reach(manifest.window.end)
    told = "" if manifest.window.start == manifest.window.end else f" It leads to {end}."
    told += f" Nothing was written {'after that ' if told else ''}until {quiet}." if quiet else ""
    return told + (f" A new timeline begins; before it was {said[FOLLOWS]}." if FOLLOWS in said else "")


def contents(manifest: Manifest) -> str:
    """How much it holds; of media also what changed since the backup before, and what could not be taken."""
    if manifest.kind != MEDIA:
        return size(manifest.size)
    numbers = {name: int(manifest.fact(name, "0")) for name in ("files", "new", "changed", "gone", "left")}
    left = f"; left for the next time: {manifest.fact('left_names')}" if numbers["left"] else ""
    changes = ", ".join(f"{numbers[name]:,} {name}" for name in ("new", "changed", "gone"))
    return f"{numbers['files']:,} files, {size(manifest.size)} ({changes}{left})"


def verification(one: Verification) -> str:
    """What was found when a copy was read back."""
    name = f"{one.backup.rpartition('/')[2]} at {one.destination}"
    if one.away:
        return f"{name} could not be read back: {one.away}"
    damage = "; ".join(f"{each.key} {each.why}" for each in one.damage[:_NAMED])
    if damage:
        damage += f"; and {len(one.damage) - _NAMED} more" if len(one.damage) > _NAMED else ""
        todo = f"onlyvips backup repair {name.split()[0]} -e {one.backup.partition('/')[0]}"
        return f"{name} is damaged: {damage}. Repair it from another copy: {todo}"
    share = "" if one.whole else f" of {one.of}"
    return f"{name}: {one.objects}{share} objects, {size(one.size)} read back ({one.how}), as they were written."


def repaired(destination: str, keys: Sequence[str], why: str) -> str:
    """What a repair did at one destination."""
    few = ", ".join(keys[:_NAMED]) + (f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")
    did = f"wrote {len(keys)} ({few})" if keys else "nothing was to be done"
    return f"{destination}: {did}; it is still no copy: {why}" if why else f"{destination}: {did}; it is complete."


def backup_summary(manifest: Manifest) -> dict[str, Any]:
    """A backup in a few values, for machines."""
    return {
        "backup": f"{manifest.id}-e{manifest.epoch}",
        "kind": manifest.kind,
        "started": manifest.started,
        "finished": manifest.finished,
        "copies": list(manifest.copies),
        "dropped": [{"name": one.name, "why": one.why} for one in manifest.dropped],
        "objects": len(manifest.objects),
        "size": manifest.size,
        "documents": manifest.documents,
        "not_replayable": [stop.told for stop in stops(manifest)],
    }


def catalog_entry(one: Backup) -> dict[str, Any]:
    """A backup of the catalog, for machines."""
    return {
        "backup": one.name,
        "kind": one.kind,
        "prefix": one.prefix,
        "finished": one.manifest.finished if one.manifest else None,
        "size": one.manifest.size if one.manifest else None,
        "copies": [
            {
                "destination": copy.destination,
                "complete": copy.complete,
                "away": copy.away,
                "verified": copy.verified or None,
                "flaws": list(copy.flaws),
            }
            for copy in one.copies
        ],
    }


def catalog_row(one: Backup) -> tuple[str, str, str, str, str]:
    """Name, kind, finished, size, copies: a line of the list."""
    if one.manifest is None:
        return one.name, one.kind, "never finished", "", "no backup"
    lacking = [copy.destination for copy in one.copies if not copy.complete and not copy.away]
    good = f"{len(one.complete)} ({', '.join(one.complete) or 'none'})"
    told = good + "".join(f", not {name}" for name in lacking)
    return one.name, one.kind, one.finished, contents(one.manifest), told


# --- audits ----------------------------------------------------------------------------------------------------------


def audit_headline(report: Report) -> str:
    """The audit in one sentence."""
    faults = sum(finding.severity == "fault" for finding in report.findings)
    how = "holds" if report.holds else f"does not hold: {faults} fault{'s' if faults > 1 else ''}"
    return f"3-2-1-1-0 of {report.environment} {how}, at {report.at}."


def standing(one: Standing) -> str:
    """How one kind stands."""
    if not one.newest:
        return f"{one.kind}: no backup"
    places = f"{len(one.copies)} copies ({', '.join(one.copies) or 'none'}), {len(one.media)} media"
    sites = f"{len(one.offsite)} off site, {len(one.immutable)} immutable"
    number, back = f"{one.backups} backup{'s' if one.backups != 1 else ''}", one.recoverable or "nothing"
    return f"{one.kind}: {one.newest}, {places}, {sites}; brings back {back}; {number}"


def finding(one: Finding) -> str:
    """One finding, with what to do."""
    return f"{one.severity}: {f'{one.kind}: ' if one.kind else ''}{one.what}. Do: {one.todo}"


def faults(report: Report) -> list[str]:
    """The faults, a sentence each."""
    return [finding(one) for one in report.findings if one.severity == "fault"]


def audit_lines(report: Report) -> list[str]:
    """Everything, a line each."""
    return [
        *(standing(one) for one in report.standings),
        *(finding(one) for one in report.findings),
        "Media and sites are what the environment declares; locks were looked at.",
        audit_headline(report),
    ]


def audit_table(report: Report) -> list[dict[str, Any]]:
    """A row a kind."""
    return [
        {
            "kind": one.kind,
            "newest": one.newest or "none",
            "brings back": one.recoverable,
            "copies": ", ".join(one.copies),
            "media": ", ".join(one.media),
            "off site": ", ".join(one.offsite),
            "immutable": ", ".join(one.immutable),
            "faults": sum(each.severity == "fault" and each.kind == one.kind for each in report.findings),
        }
        for one in report.standings
    ]


def findings_table(report: Report) -> list[dict[str, Any]]:
    """A row a finding."""
    return [
        {"severity": one.severity, "kind": one.kind or "all", "what was found": one.what, "what to do": one.todo}
        for one in report.findings
    ]


def audit_markdown(report: Report) -> str:
    """The audit as a page."""
    found = [
        f"- **{one.severity}**{f' {one.kind}' if one.kind else ''}: {one.what}. Do: {_command(one.todo)}"
        for one in report.findings
    ]
    kinds = [f"- {standing(one)}" for one in report.standings]
    return "\n".join([f"**{audit_headline(report)}**", "", *kinds, "", *(found or ["Nothing was found wrong."])])


def _command(todo: str) -> str:
    return f"`{todo}`" if todo.startswith("onlyvips ") else todo
