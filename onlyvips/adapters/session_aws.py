"""boto3 without the user: who we are is in the environment's references alone, never in profiles or files."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import boto3
import botocore.session

_turns = threading.Lock()
"""Clients may be used by many threads; making one of a session may not."""


def client(service: str, **options: Any) -> Any:
    """A client of boto3. All are of one session: it reads what there is to say of S3 once, which takes a while."""
    with _turns:
        return _session().client(service, **options)


@cache
def _session() -> boto3.session.Session:
    """A session that reads no profile, no configuration and no credentials of the user's."""
    nothing = (None, None, None, None)
    variables = {"profile": nothing, "config_file": nothing, "credentials_file": nothing}
    return boto3.session.Session(botocore_session=botocore.session.Session(session_vars=variables))
