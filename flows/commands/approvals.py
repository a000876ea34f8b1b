"""``onlyvips approvals``: pages on which people approve, whom an authenticating proxy names."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from flows.commands import console, waking
from flows.commands.options import EnvironmentName
from onlyvips.core import trusting
from onlyvips.wiring import desk

app = App(name="approvals")


@app.command
def serve(
    *,
    environment: EnvironmentName,
    trusted_header: Annotated[str, Parameter(help="The header in which the proxy names who is there.")],
    trusted_proxy: Annotated[
        list[str], Parameter(negative="", help="Its address, as 10.0.0.5/32; may be given several times.")
    ],
    origin: Annotated[str, Parameter(help="Where people reach it: https://approvals.example.com.")],
    host: Annotated[str, Parameter(help="The address to listen at, which the proxy alone should reach.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="The port.")] = 8095,
) -> int:
    """Show what waits for an approval, and take approvals of people whom an authenticating proxy names.

    The proxy has to take away that header from what its clients send. Whoever connects from elsewhere is refused.
    """
    asked = trusting.trust(trusted_header, trusted_proxy, origin)
    console.say(f"Approvals of {environment} at http://{host}:{port}, for {origin}; Ctrl-C ends it.")
    wake = lambda record, by, reason: waking.wake(environment, record, "approve", by, reason)  # noqa: E731
    desk.serve(environment, asked, host, port, wake)
    return console.OK
