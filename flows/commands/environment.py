"""``onlyvips environment``: what the environments' files say. Reads files only; ``notify`` sends messages."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from flows.commands import console
from onlyvips import environment as environments
from onlyvips.errors import OnlyVipsError, Refused
from onlyvips.wiring import telling

app = App(name="environment")


@app.command
def check(name: str, *, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Validate an environment and say in plain English what a release of it will do.

    Nothing is changed and no server is asked. Secrets are shown as references, never as values.

    Args:
        name: The environment, such as production or lab.
        json: Print all of the validated environment as JSON: durations in seconds, sizes in bytes, shares of 1.
    """
    environment = environments.load(name)
    if json:
        console.print_json(_as_json(environment))
        return console.OK
    console.say(f"{environment.file} is valid.", "green")
    for title, sentences in environments.describe(environment):
        console.say()
        console.say(title, "bold")
        for sentence in sentences:
            console.say(f"  {sentence}")
    return console.OK


@app.command
def notify(name: str, *, target: Annotated[tuple[str, ...], Parameter(negative="")] = ()) -> int:
    """Send a test message to the targets of an environment's notifications, to see that it arrives.

    Exits 1 when one did not take it.

    Args:
        name: The environment, such as production or lab.
        target: Only these of people.notifications.targets.
    """
    loaded = environments.load(name)
    known = loaded.people.notifications.targets
    for one in target:
        if one not in known:
            raise Refused(f"{name} has no target `{one}`{environments.nearest(one, known)} Nothing was sent.")
    if not known:
        raise Refused(f"{name} tells nobody: people.notifications.targets is empty.")
    failed = 0
    for one in target or tuple(known):
        try:
            telling.try_target(loaded, one)
            console.say(f"{one} took the message: look whether it is there.", "green")
        except OnlyVipsError as error:
            failed += 1
            console.complain(f"{one}: {error}")
    return console.FAILED if failed else console.OK


@app.command(name="list")
def list_(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Print the names of the environments there are.

    Args:
        json: Print them as a JSON list.
    """
    if json:
        console.print_json(environments.names())
        return console.OK
    for name in environments.names():
        console.say(name)
    return console.OK


def _as_json(environment: environments.Environment) -> dict[str, object]:
    return {
        "schema": "onlyvips/environment-check/1",
        "file": environment.file,
        "environment": environment.model_dump(mode="json"),
    }
