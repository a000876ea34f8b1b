"""What happens beside a release of each strategy on real servers under traffic: pods that start slowly, a rollback in
the middle of the promotion, another version pushed by a release and past it, pods scaled by hand. Nothing is ever lost.
"""

from __future__ import annotations

import shlex
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
import yaml

from tests.system.grounds import NAME, OURS, SERVICES, Grounds, Service, driver, other, run
from tests.system.platform import Platform

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.timeout(7200)]

HASTY = "hasty-kills"
"""The environment whose holds for another's hand are short."""
BY_SERVICE = {service.name: service for service in SERVICES}


@dataclass(frozen=True)
class Situation:
    """A release of ``service``; ``slow`` pods; a person who aborts after the step ``abort``; a command that somebody
    ``does`` after the step ``at`` (``{image}`` is another version's), by which two may run for a moment (``twice``). It
    is to end in ``result``, with ``told`` in its reason or its driver's words."""

    service: str
    title: str
    result: str = "promoted"
    told: str = ""
    slow: bool = False
    abort: str = ""
    at: str = ""
    does: str = ""
    twice: bool = False

    def __str__(self) -> str:
        return f"{self.service}, {self.title}"


PUSH = "onlyvips release start --local -e kills -s {service} -v v5"
SCALE = "kubectl scale deployment/{deployment} --replicas={n}"
IMAGE = "kubectl set image deployment/{deployment} {c}={{image}}"
REFUSED, CHANGED = "is still open", "was changed by somebody else"
MIDDLE = {"backend": "replace-stable", "showcu-panel": "switch new", "lobby": "replace-stable", "bot": "start"}
"""Of the promotion: the step after which a person has a second thought."""
SITUATIONS = [
    *(Situation(name, "pods that start slowly", slow=True) for name in MIDDLE),
    *(
        Situation(name, "a rollback in the middle of the promotion", "rolled-back", "looks odd", slow=True, abort=step)
        for name, step in MIDDLE.items()
    ),
    *(
        Situation(name, "another version is started meanwhile", told=REFUSED, at=step, does=PUSH.format(service=name))
        for name, step in MIDDLE.items()
    ),
    Situation(
        "backend",
        "another version is pushed into the canary",
        "rolled-back",
        CHANGED,
        at="create-canary",
        does=IMAGE.format(deployment="backend-canary", c="backend"),
    ),
    Situation(
        "showcu-panel",
        "another version is pushed into the colour to come",
        "rolled-back",
        CHANGED,
        at="bring-up",
        does=IMAGE.format(deployment="showcu-panel-{new}", c="showcu-panel"),
    ),
    Situation(
        "backend",
        "stable is scaled down by hand",
        at="replace-stable",
        does=SCALE.format(deployment="backend", n=3),
    ),
    Situation(
        "showcu-panel",
        "the old colour is scaled down by hand",
        at="enter warm",
        does=SCALE.format(deployment="showcu-panel-{old}", n=1),
    ),
    Situation("lobby", "it is scaled down by hand", at="note-progress", does=SCALE.format(deployment="lobby", n=1)),
    Situation(
        "bot",
        "it is started by hand while it must not run",
        "rolled-back",
        "somebody started it again",
        at="stop",
        does=SCALE.format(deployment="bot", n=1),
        twice=True,
    ),
]
_faulting = threading.Lock()
"""The lab's file of faults is read and written again."""


@pytest.fixture(scope="module")
def outcomes(module_platform: Platform) -> Iterator[Mapping[Situation, str]]:
    """What came of each: "" when all was well. Each service has its own, one after the other, all at once."""
    module_platform.clean()
    grounds, told = Grounds(module_platform), dict[Situation, str]()
    with grounds.open():
        document = yaml.safe_load((module_platform.folder / f"{NAME}.yaml").read_text())
        document["waits"]["maximum_hold"] = "12s"
        (module_platform.folder / f"{HASTY}.yaml").write_text(yaml.safe_dump(document | {"name": HASTY}))
        backup = grounds.backup()
        threads = [
            threading.Thread(
                target=work, args=(grounds, [one for one in SITUATIONS if one.service == name], backup, told)
            )
            for name in MIDDLE
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    yield told


def work(grounds: Grounds, situations: list[Situation], backup: str, told: dict[Situation, str]) -> None:
    """One after the other."""
    for one in situations:
        try:
            told[one] = "; ".join(problems(grounds, one, backup))
        except Exception:  # noqa: BLE001 - told by the test of this one
            told[one] = traceback.format_exc()
        if told[one]:
            run("onlyvips", "release", "reconcile", "-e", NAME, "-s", one.service)
        print(f"{one}: {told[one][-2000:] or 'ok'}", flush=True)  # noqa: T201


def problems(grounds: Grounds, situation: Situation, backup: str) -> list[str]:
    """Make it happen, and look."""
    service, found = BY_SERVICE[situation.service], list[str]()
    before, capacity = grounds.version(service), grounds.deployment(service)["spec"]["replicas"]
    version = other(before)
    command = [*driver(service, version, backup, HASTY if situation.told == CHANGED or service.name == "bot" else NAME)]
    command += ["--abort", situation.abort, "--at", situation.at, "--do", words(grounds, service, situation)]
    if situation.slow:
        slow(grounds, service, version, "--slow-start-s", "3")
    try:
        with grounds.watched(service) as lost:
            done = run(*command)
            record = grounds.newest(service)
            found += [] if record.result == situation.result else [f"{record.result}: {record.reason}: {done.stdout}"]
            found += [] if situation.told in f"{record.reason} {done.stdout}" else [f"not told: {done.stdout}"]
            runs = version if record.result == "promoted" else before
            found += (
                [] if grounds.version(service) == runs else [f"users are on {grounds.version(service)}, not {runs}"]
            )
            ready = grounds.deployment(service)["status"].get("readyReplicas")
            found += [] if ready == capacity else [f"{ready} of {capacity} pods are ready"]
            found += [] if situation.twice else grounds.left_over(service)
    finally:
        if situation.slow:
            slow(grounds, service, version, "--clear")
    return found + lost


def slow(grounds: Grounds, service: Service, version: str, *how: str) -> None:
    """Pods of this version start slowly, or no longer; those of ``lobby`` always do."""
    if service.name != "lobby":
        with _faulting:
            grounds.platform.lab.command("fault", service.name, version, *how)


def words(grounds: Grounds, service: Service, situation: Situation) -> str:
    """The command that a person types, with the programs of this lab."""
    if not situation.does:
        return ""
    lab, old = grounds.platform.lab, grounds.colour()
    image = grounds.deployment(service)["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[0]
    text = situation.does.format(image=f"{image}:v5", old=old, new="green" if old == "blue" else "blue")
    config = f"--kubeconfig {shlex.quote(lab.env['ONLYVIPS_LAB_KUBECONFIG'])} -n production"
    program, _, rest = text.partition(" ")
    return f"{lab.bin}/kubectl {config} {rest}" if program == "kubectl" else f"{OURS} {rest}"


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_what_happens_beside_a_release_costs_nothing(situation: Situation, outcomes: Mapping[Situation, str]) -> None:
    assert outcomes[situation] == ""
