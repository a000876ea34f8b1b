"""Prefect's API for a release in this process: a server of its own, started beside what else takes time at the start.

Prefect would start it by itself, but imports the whole server here for that (two seconds), and only then waits for it.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from onlyvips.errors import OnlyVipsError, Permanent, Refused

SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
}
_SERVER = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
"""As Prefect sets them for a server of its own making (3.8, ``SubprocessASGIServer``)."""
_PROGRAM = Path(__file__).with_name("embedded_server.py")
_PATIENCE, _PAUSE, _FAREWELL = 120.0, 0.1, 5.0


@dataclass(frozen=True)
class _Server:
    process: subprocess.Popen[bytes]
    api: str
    log: IO[bytes]


_servers: list[_Server] = []


def begin() -> None:
    """Start it, unless it was started, and let this process use it: before it imports Prefect, which looks only then.

    ``wait`` says when it answers. It ends with this process, however that ends, and not by a terminal's Ctrl-C.
    """
    if _servers:
        return
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("EventsWorker").setLevel(logging.ERROR)  # it warns at the end that it is not at its end yet
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    app = ["--factory", "prefect.server.api.server:create_app", "--lifespan", "on"]
    where = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    log = tempfile.TemporaryFile()  # noqa: SIM115 - its server writes there for as long as it runs
    command, variables = [sys.executable, "-P", str(_PROGRAM), *app, *where], {**os.environ, **_SERVER}
    variables.pop("PREFECT_API_URL", None)
    process = subprocess.Popen(
        command, env=variables, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
    )  # a terminal's Ctrl-C is for this process: what goes back then still has something to say to Prefect
    _servers.append(_Server(process, f"http://127.0.0.1:{port}/api", log))
    os.environ["PREFECT_API_URL"] = _servers[0].api
    atexit.register(_stop)  # before Prefect's own, so after them: they still have something to say to it


def wait() -> None:
    """Until it answers. Raises Refused when it does not come up."""
    begin()
    server, until = _servers[0], time.monotonic() + _PATIENCE
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        while not _answers(client, server.api):
            code = server.process.poll()
            if code is not None or time.monotonic() > until:
                what = f"ended with {code}" if code is not None else f"did not answer within {_PATIENCE:.0f} s"
                raise Refused(
                    f"Prefect's embedded server {what}: {_last_words(server) or 'it said nothing'}. Nothing was "
                    "changed; correct that, or start the release where a Prefect server runs."
                )
            time.sleep(_PAUSE)


@contextmanager
def running() -> Iterator[None]:
    """What a flow in the block raises, as a command understands it.

    KeyboardInterrupt where a person interrupted it, whatever Prefect made of that; Permanent where Prefect failed.
    Without heartbeats: nobody reads them on a server that ends with this process, and their thread ends a second late.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # after ``begin``, as all of it

    try:
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield
    except OnlyVipsError:
        raise
    except Exception as error:
        if _interrupted(error):
            raise KeyboardInterrupt from error
        if isinstance(error, httpx.HTTPError) or type(error).__module__.startswith("prefect."):
            told = str(error) or type(error).__name__
            raise Permanent(f"Prefect's embedded server failed in the middle of the run ({told}).") from error
        raise


def _interrupted(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _answers(client: httpx.Client, api: str) -> bool:
    try:
        return client.get(f"{api}/health").is_success
    except httpx.HTTPError:
        return False


def _last_words(server: _Server) -> str:
    server.log.seek(0)
    lines = server.log.read().decode(errors="replace").strip().splitlines()
    raised = [line for line in lines if "Error: " in line]
    return (raised or lines or [""])[-1].strip().rstrip(".")


def _stop() -> None:
    for server in _servers:
        server.process.terminate()
        try:
            server.process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
        assert server.process.stdin is not None
        server.process.stdin.close()
        server.log.close()
    _servers.clear()
