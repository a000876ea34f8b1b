"""``onlyvips release evidence``: what was kept of a release, from the stores of the backups."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.commands import console
from flows.commands.options import EnvironmentName, Json, ServiceName
from onlyvips.errors import Refused
from onlyvips.wiring import evidence as kept


def evidence(
    *,
    environment: EnvironmentName,
    service: ServiceName = "",
    release: Annotated[str, Parameter(help="Its id, for example backend-v0-9-0-1a2b3c; else the newest.")] = "",
    html: Annotated[Path | None, Parameter(help="Write the page with the plots into this new file.")] = None,
    json: Json = False,
) -> int:
    """Read back the evidence of a release: the newest of SERVICE, or the one that is named.

    Each store is asked until one has it. With --release no cluster is asked.
    """
    if not release and not service:
        raise Refused("Which release? Give --service for its newest one, or --release with an id.")
    if html is not None and html.exists():
        raise Refused(f"{html} is there already and was left alone: name a new file.")
    release = release or kept.newest(environment, service)
    document = kept.document(environment, release)
    if html is not None:
        page, stored = kept.page(environment, release)
        html.write_text(page, encoding="utf-8")
    if json:
        console.print_json(document)
        return console.OK
    told = document["release"]
    console.say(f"{told['headline']}.", "bold")
    console.say(str(told["advice"]))
    console.say(f"Written {document['written']}: {len(told['steps'])} steps, {len(told['looks'])} looks.")
    if html is not None:
        console.say(f"{html}: the page {'as it was kept' if stored else 'made anew, for no store has it'}.")
    return console.OK
