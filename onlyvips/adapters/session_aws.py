"""boto3 without the user: who we are is in the environment's references alone, never in profiles or files."""

from __future__ import annotations

import boto3
import botocore.session


def session() -> boto3.session.Session:
    """A session that reads no profile, no configuration and no credentials of the user's."""
    nothing = (None, None, None, None)
    variables = {"profile": nothing, "config_file": nothing, "credentials_file": nothing}
    return boto3.session.Session(botocore_session=botocore.session.Session(session_vars=variables))
