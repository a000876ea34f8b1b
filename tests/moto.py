"""moto's server: the HTTP interfaces of AWS that we use, in a process of its own on loopback."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import httpx

from onlyvips.adapters.snapshot_ssm import SsmSnapshot
from tests.simulators.clock import SimClock

HERE, THERE = "eu-central-1", "eu-west-1"


class Moto:
    """What it can be asked; ``client`` is anybody's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._clients: dict[tuple[str, ...], Any] = {}

    def client(self, service: str = "ssm", region: str = HERE) -> Any:
        if (service, region) not in self._clients:
            keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
            made = boto3.client(service, endpoint_url=self.url, region_name=region, **keys)  # type: ignore[call-overload]
            self._clients[service, region] = made
        return self._clients[service, region]

    def put(self, name: str, value: str, **more: Any) -> None:
        self.client().put_parameter(Name=name, Value=value, **({"Type": "SecureString"} | more))

    def source(self, *paths: str, region: str = HERE, clock: SimClock | None = None) -> SsmSnapshot:
        """Of what is below ``paths``, else of all."""
        return SsmSnapshot(region, paths or ("/",), "any", "any", clock or SimClock(), endpoint=self.url)

    def tell(self, path: str, data: bytes = b"") -> None:
        """To moto itself."""
        headers = {"Content-Type": "text/plain"}
        assert httpx.post(f"{self.url}/moto-api/{path}", content=data, headers=headers, trust_env=False).is_success

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@contextmanager
def serving() -> Iterator[str]:
    """The address of a moto of one's own."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr
        said = ""
        while not (found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", said)):
            line = running.stderr.readline()
            assert line, f"moto did not start: {said}"
            said += line
        rest = threading.Thread(target=running.stderr.read)
        rest.start()
        yield found[1]
        running.terminate()
        rest.join()
