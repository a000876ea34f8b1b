"""The lab: the platform on this machine, out of real servers, without containers.

python deployments/lab up|status|env|down|load-data|fault [--home DIR]
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

try:
    import builds
    import dataset
    import discovery
    import parts
    import seeds
    from cyclopts import App, Parameter, validators
    from home import Home, is_running, read_env, read_json, read_settings, renew_settings, write
    from node import images
    from rich.console import Console
    from supervisor import Supervisor, detach, failures, probe
except ModuleNotFoundError as absent:
    sentence = "the lab needs the project's environment: run `make venv` once, then .venv/bin/python deployments/lab"
    print(f"{sentence} ({absent.name} is missing here)", file=sys.stderr)
    sys.exit(2)

DEFAULT = Path(os.environ.get("ONLYVIPS_LAB_HOME", "~/.onlyvips-lab"))
UP_LIMIT, DOWN_LIMIT = 240.0, 40.0
Where = Annotated[Path, Parameter(name="--home", help="The lab's directory.")]
app = App(name="lab", help="The platform on this machine, out of real servers, without containers.")
console = Console(highlight=False, soft_wrap=True)


def at(path: Path) -> Home:
    """The home that was named."""
    return Home(path.expanduser().resolve())


@app.command
def up(
    *,
    home: Where = DEFAULT,
    fresh: bool = False,
    without: tuple[str, ...] = (),
    documents: int = dataset.DOCUMENTS,
) -> int:
    """Start the lab, building its servers first where that was not done; Ctrl-C takes it down again.

    Args:
        fresh: Remove what an earlier lab left in this home; the cache of builds stays.
        without: Parts to leave out, and with each what needs it: `--without prefect` comes up sooner.
        documents: Begin with the cached data of so many documents, where `load-data` made it once.
    """
    lab = at(home)
    lock = lab.claim()
    if lock is None:
        return show_running(lab)
    if fresh:
        lab.clear()
    lab.prepare()
    made = builds.prepare(lab, console)
    builds.check_pod_port()
    builds.check_git()
    try:
        try:
            detach(lab, partial(supervise, lab, made, without, documents))
        finally:
            os.close(lock)  # the guardian has it now
        phase = follow(lab)
    except KeyboardInterrupt:
        return down(home=home)
    if phase == "up":
        show_endpoints(lab)
        console.print(f"up in {lab.state()['seconds']} s")
    missing = failures(lab)
    if phase == "up" and not missing:
        return 0
    for line in missing or [f"the lab did not start ({phase}); log {lab.log('supervisor')}"]:
        console.print(line, markup=False)
    return 1


def follow(lab: Home) -> str:
    """Print a line for each part that becomes ready, until the lab is up or is not to be."""
    seen: set[str] = set()
    end = time.monotonic() + UP_LIMIT
    while time.monotonic() < end:
        running, state = is_running(lab), lab.state()
        for name, part in state.get("parts", {}).items():
            if name not in seen and part["state"] in {"ready", "failed", "left out"}:
                seen.add(name)
                console.print(f"  {name:<18} {part['state']:<8} {part.get('seconds', ''):>5}")
        if not running or state.get("phase") == "up":
            return state.get("phase", "ended at once") if not running else "up"
        time.sleep(0.1)
    down(home=lab.path)
    return "too slow"


def show_running(lab: Home) -> int:
    """Who asks for a lab that is there gets its addresses; one that is only coming up is not there yet."""
    if lab.state().get("phase") != "up":
        console.print(f"another `up` is at work in {lab.path}: wait until it is done, or stop it with `down`")
        return 1
    console.print(f"a lab is running in {lab.path}")
    return show_endpoints(lab)


def show_endpoints(lab: Home) -> int:
    """Print the addresses; the secrets among them stay in the file."""
    for key, value in read_env(lab.endpoints).items() if lab.endpoints.exists() else ():
        if key.endswith(("_URL", "_URI", "KUBECONFIG")) and "@" not in value:
            console.print(f"  {key.removeprefix('ONLYVIPS_LAB_').lower():<18} {value}", markup=False)
    console.print(f"  everything         {lab.endpoints}")
    return 0


@app.command
def build() -> int:
    """Make the servers that are not made yet, and nothing else; `up` does it too."""
    builds.make_absent(console)
    return 0


@app.command
def down(*, home: Where = DEFAULT) -> int:
    """Stop the lab and wait until nothing of it runs."""
    lab = at(home)
    if not is_running(lab):
        console.print(f"no lab is running in {lab.path}")
        return 0
    end = time.monotonic() + DOWN_LIMIT
    while is_running(lab) and time.monotonic() < end:
        if holder := lab.holder():
            terminate(holder)
        wait_until_free(lab, min(end, time.monotonic() + 20))
    if is_running(lab):
        console.print(f"the lab does not end; log {lab.log('supervisor')}")
        return 1
    console.print("down: nothing of the lab is running")
    return 0


def wait_until_free(lab: Home, end: float) -> None:
    """Wait until nobody holds the home."""
    while is_running(lab) and time.monotonic() < end:
        time.sleep(0.1)


def terminate(pid: int) -> None:
    """Ask a process to end; one that is gone has ended."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        time.sleep(0.1)


@app.command
def status(*, home: Where = DEFAULT, as_json: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """Show part, process, port and health; the exit code is 0 when everything is healthy."""
    lab = at(home)
    running, state = is_running(lab), lab.state()
    rows = {name: examine(part) for name, part in state.get("parts", {}).items()} if running else {}
    healthy = bool(rows) and state.get("phase") == "up" and all(row["healthy"] for row in rows.values())
    if as_json:
        phase = state.get("phase") if running else "down"
        print(json.dumps({"phase": phase, "healthy": healthy, "parts": rows}, indent=1))
    else:
        for name, row in rows.items():
            health = "healthy" if row["healthy"] else f"NOT HEALTHY ({row['state']})"
            console.print(f"{name:<18} {row['pid'] or '-':>8} {row['port'] or '-':>6}  {health}")
        if not rows:
            console.print(f"no lab is running in {lab.path}")
    return 0 if healthy else 1


def examine(part: dict[str, Any]) -> dict[str, Any]:
    """A part's facts, and whether it answers now."""
    address = part.get("ready")
    healthy = part["state"] == "ready" and (not address or probe(address))
    return {"pid": part.get("pid"), "port": part.get("port"), "state": part["state"], "healthy": healthy}


@app.command
def env(*, home: Where = DEFAULT) -> int:
    """Print the endpoints for a shell: eval "$(python deployments/lab env)"."""
    lab = at(home)
    if not lab.endpoints.exists():
        print(f"no lab was started in {lab.path}", file=sys.stderr)
        return 1
    for key, value in read_env(lab.endpoints).items():
        print(f"export {key}={shlex.quote(value)}")
    return 0


@app.command
def load_data(*, home: Where = DEFAULT, documents: int = dataset.DOCUMENTS) -> int:
    """Fill the database `onlyvips`; a copy is kept, with which the next fresh lab starts.

    Args:
        documents: How many documents in all.
    """
    lab = at(home)
    if not is_running(lab):
        console.print(f"no lab is running in {lab.path}")
        return 1
    uri = read_env(lab.endpoints)["ONLYVIPS_LAB_MONGODB_URI"]
    dataset.load(uri, lab.data / "mongodb", builds.cache_folder(), documents, console)
    return 0


@app.command
def fault(
    service: str = "",
    version: str = "",
    *,
    home: Where = DEFAULT,
    error_rate: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1))] = 0.0,
    latency_ms: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    sparse_every: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    slow_start_s: Annotated[float, Parameter(validator=validators.Number(gte=0))] = 0.0,
    clear: bool = False,
) -> int:
    """Give a version of a sample service a fault, or take faults away.

    Args:
        service: Which service.
        version: Which of its versions.
        error_rate: Share of requests that are answered with an error.
        latency_ms: Added to each answer.
        sparse_every: Every n-th request fails.
        slow_start_s: How long a new process is not ready.
        clear: Take the fault away; without a service, all of them.
    """
    lab = at(home)
    if not (lab.path / "lock").exists():
        console.print(f"no lab was started in {lab.path}")
        return 1
    if not clear and not (service and version):
        console.print("which service, which version? For example: fault backend v2 --error-rate 0.05")
        return 2
    if service and service not in (known := images.services()):
        console.print(f"there is no sample service {service}: {' or '.join(known)}")
        return 2
    name = f"{service}:{version}"
    faults = {key: value for key, value in read_json(lab.faults).items() if service and key != name}
    if not clear:
        faults[name] = {
            "error_rate": error_rate,
            "latency_ms": latency_ms,
            "sparse_every": sparse_every,
            "slow_start_s": slow_start_s,
        }
    write(lab.faults, json.dumps(faults, indent=1))
    return 0


@app.command(show=False)
def discover(*, home: Where) -> None:
    """Tell Prometheus which pods there are."""
    lab = at(home)
    discovery.serve(lab, read_settings(lab))


def supervise(lab: Home, made: dict[str, Path], without: tuple[str, ...], documents: int) -> int:
    """Start the parts and stay with them; this is the supervisor's process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = renew_settings(lab)
    databases = {"mongodb": dataset.cached(builds.cache_folder(), documents), "prefect": made["prefect"] / "prefect.db"}
    seeds.sow(lab, settings, databases)
    setup = parts.Lab(lab, settings, made["gateway-api"] / "crd")
    parts.write_endpoints(setup)

    async def run() -> None:
        code = await Supervisor(lab, parts.all_parts(setup, without)).run()
        os._exit(code)  # the event loop would wait for the thread of an unfinished step

    asyncio.run(run())
    return 1


def interrupted(*_: object) -> None:
    """To be asked to end is Ctrl-C: a build that is under way is given up."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupted)
    try:
        sys.exit(app())
    except builds.Missing as missing:
        print(missing, file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        print(
            f"{error.filename}: {error.strerror}; the lab needs to write there (--home, ONLYVIPS_LAB_CACHE)",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
