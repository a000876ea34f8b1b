"""The main job, shown: three releases under real traffic on the lab, then a rescue. Non-zero when anything differs.

A good version is promoted; a bad one (20 % errors) is rolled back by itself; the bad one's own image, with its fault
turned off, is promoted. No request is lost to a switch. Documents that are deleted then come back from the backups.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from deployments.rescue import rescue
from onlyvips import wiring
from onlyvips.core import report

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("ONLYVIPS_LAB_HOME", "~/.onlyvips-lab")).expanduser()
RATE = {"backend": 200, "miniapp": 40}
DOCUMENTS = "60000"
LATE = 5.5
"""Seconds after which the gateway has obeyed the last change, too."""
console = Console(highlight=False, soft_wrap=True)
tables = Console(highlight=False, width=None if sys.stdout.isatty() else 180)


@dataclass
class Result:
    """What a release was to become, what became of it, and how long that took."""

    title: str
    expected: str
    seconds: float = 0.0
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """It ended as it should."""
        return self.record.get("result") == self.expected


def lab(*arguments: str) -> int:
    """One command of the lab, its output shown."""
    return subprocess.run(
        [sys.executable, "deployments/lab", *arguments, "--home", str(HOME)], cwd=ROOT, check=False
    ).returncode


def endpoints() -> dict[str, str]:
    """The lab's addresses."""
    lines = (HOME / "endpoints.env").read_text().splitlines()
    pairs = (line.removeprefix("export ").split("=", 1) for line in lines if "=" in line)
    return {name: value.strip("'\"") for name, value in pairs}


def release(version: str, title: str, expected: str) -> Result:
    """Release ``version`` of backend as a person would, and read its record."""
    console.rule(f"[bold]{title}")
    result, began, started = Result(title, expected), time.monotonic(), time.time()
    command = [str(Path(sys.executable).parent / "onlyvips"), "release"]
    where = ["--environment", "lab", "--service", "backend"]
    subprocess.run([*command, "start", *where, "--version", version, "--operator", "demo"], cwd=ROOT, check=False)
    result.seconds = time.monotonic() - began
    found = [record for record, _ in wiring.status("lab", "backend")]
    if found and found[-1].version == version and found[-1].created > started:
        result.record = report.summary(found[-1])
    return result


def three_releases(load: str) -> list[Result]:
    """Good, bad, and the bad one's image without its fault."""
    results = []
    for version, title, expected, fault in (
        ("v2", "1 of 3: a good version, v2", "promoted", ()),
        (
            "v3",
            "2 of 3: a bad version, v3 answers 20 % of its requests with errors",
            "rolled-back",
            ("--error-rate", "0.2"),
        ),
        ("v3", "3 of 3: the same image of v3, its fault turned off", "promoted", ("--clear",)),
    ):
        if fault:
            lab("fault", "backend", version, *fault)
        httpx.post(f"{load}/mark", json={"name": title}, timeout=5, trust_env=False)
        results.append(release(version, title, expected))
    return results


def show_releases(results: list[Result]) -> None:
    """What happened, a line a release."""
    table = Table(title="What happened", title_justify="left")
    for head in ("release", "expected", "result", "seconds", "why", "evidence"):
        table.add_column(head, overflow="fold")
    for each in results:
        record = each.record
        seconds, why = f"{each.seconds:.0f}", record.get("reason", "no record")
        mark = "" if each.good else " (NOT as expected)"
        table.add_row(
            each.title, each.expected, record.get("result", "?") + mark, seconds, why, record.get("evidence", "-")
        )
    tables.print(table)


def show_requests(stats: dict[str, Any]) -> tuple[int, int]:
    """Requests by version and cause; returns how many were lost to a switch, and how many the load could not send."""
    table = Table(title="Requests at the client", title_justify="left")
    for head in (
        "service",
        "version",
        "requests",
        "answered",
        "errors of the app itself",
        "lost to a switch",
        "causes",
    ):
        table.add_column(head)
    lost = 0
    for service, target in stats["targets"].items():
        for version, tally in sorted(target["versions"].items()):
            gone = sum(tally.get("lost", {}).values())
            lost += gone
            faults = sum(tally.get("faults", {}).values())
            causes = ", ".join(f"{cause}: {count}" for cause, count in tally.get("lost", {}).items())
            table.add_row(service, version or "none", *map(str, (tally["total"], tally["ok"], faults, gone)), causes)
    tables.print(table)
    return lost, sum(target["unsent"] for target in stats["targets"].values())


def main() -> int:
    """The demonstration."""
    began = time.monotonic()
    os.environ["ONLYVIPS_LAB_HOME"] = str(HOME)
    if (
        (code := lab("down"))
        or (code := lab("up", "--fresh", "--documents", DOCUMENTS))
        or (code := lab("load-data", "--documents", DOCUMENTS))
    ):
        return code
    found = endpoints()
    load = found["ONLYVIPS_LAB_LOAD_URL"]
    targets = [
        {"name": name, "path": "/api/tasks" if name == "backend" else "/", "rate": rate} for name, rate in RATE.items()
    ]
    httpx.post(f"{load}/start", json={"targets": targets}, timeout=5, trust_env=False).raise_for_status()
    results = three_releases(load)
    time.sleep(LATE)
    stats = httpx.post(f"{load}/stop", timeout=30, trust_env=False).json()
    console.rule("[bold]A rescue")
    counts = rescue(found["ONLYVIPS_LAB_MONGODB_URI"])
    console.rule("[bold]Summary")
    show_releases(results)
    lost, unsent = show_requests(stats)
    good = all(each.good for each in results) and lost == 0 and unsent == 0 and counts.good
    if unsent:
        console.print(f"[bold red]{unsent} requests could not be sent: the counts above do not speak for them.")
    console.print(counts.told)
    console.print(f"Requests lost to a switch: {lost}. Took {time.monotonic() - began:.0f} s.")
    console.print(f"Evidence: {found['ONLYVIPS_LAB_DIRECTORY']}/lab/evidence/release/ (and in both S3 stores)")
    console.print(f"Prefect UI: {found['ONLYVIPS_LAB_PREFECT_UI_URL']}")
    console.print("The lab is still up: look around with `onlyvips release status -e lab`; `make down` stops it.")
    if not good:
        console.print("[bold red]Something is not as it should be: see above.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
