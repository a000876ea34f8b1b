"""``onlyvips release adopt``: give a Deployment its ``track``, once, before its first canary."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from flows.commands import console
from flows.commands.options import EnvironmentName, Json, ServiceName, me
from onlyvips.wiring import adopting


def adopt(
    *,
    environment: EnvironmentName,
    service: ServiceName,
    back: Annotated[
        bool, Parameter(negative="", help="Go back to how it was, while the old Deployment is there; else to the end.")
    ] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Say what would be done, and change nothing.")] = False,
    json: Json = False,
) -> int:
    """Give the Deployment and the Service of SERVICE `track: stable`, which a canary needs; users see nothing.

    A twin carries the traffic while the Deployment is made anew. Killed anywhere, users are served; run it again. Needs
    no Prefect. Exits 0 when done, 1 when not finished, 2 when refused before anything changed.
    """
    told = adopting.foresee(environment, service) if dry_run else list[str]()
    if not dry_run:

        def tell(line: str) -> None:
            told.append(line)
            if not json:
                console.say(line)

        adopting.adopt(environment, service, f"adoption by {me()}", tell, back=back)
    elif not json:
        for line in told:
            console.say(line)
    if json:
        console.print_json({"service": service, "changed": not dry_run, "steps": told})
    return console.OK
