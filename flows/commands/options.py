"""What the commands of a release are told, and who tells them."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Annotated

from cyclopts import Parameter

EnvironmentName = Annotated[str, Parameter(name=["--environment", "-e"], help="Environment, for example lab.")]
ServiceName = Annotated[str, Parameter(name=["--service", "-s"], help="Service, for example backend.")]
VersionName = Annotated[
    str, Parameter(name=["--version", "-v"], help="Tag of the image: v0.9.0; or with its digest: v0.9.0@sha256:…")
]
Reason = Annotated[str, Parameter(help="Why; stands in the record and the evidence.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON on stdout and nothing else.")]


def me() -> str:
    """Who runs this command, as far as the machine says."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a pod whose user has no name
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
