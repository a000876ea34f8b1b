"""``onlyvips release plan``: all that a release would do, without doing any of it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from flows.commands import console
from flows.commands.options import EnvironmentName, Json, ServiceName, VersionName
from onlyvips.core import forecast
from onlyvips.core.plan import Strategy
from onlyvips.wiring import planning


def plan(
    *,
    environment: EnvironmentName,
    service: ServiceName,
    version: VersionName,
    strategy: Annotated[
        Strategy | None, Parameter(help="As if the environment said this strategy; it is the one that decides.")
    ] = None,
    json: Json = False,
) -> int:
    """Show all that a release of VERSION would do, step by step, and what would refuse it now. Changes nothing.

    Exits 0 when nothing known would refuse it, 2 otherwise.
    """
    told = planning.foresee(environment, service, version, strategy)
    if json:
        console.print_json(forecast.to_dict(told))
    else:
        for line in forecast.lines(told):
            console.say(line)
    return console.REFUSED if told.found.refusals else console.OK
