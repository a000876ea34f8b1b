"""An address over HTTP without the user and the password in it: those are sent as a header, and stand in no message."""

from __future__ import annotations

from urllib.parse import unquote

import httpx


def apart(url: str) -> tuple[str, httpx.BasicAuth | None]:
    """The address that may be shown, without a slash at its end, and what proves who asks; None where the URL says
    nothing of it."""
    found = httpx.URL(url)
    shown = str(found.copy_with(userinfo=b"")).rstrip("/")
    if not found.userinfo:
        return shown, None
    user, _, password = found.userinfo.decode("ascii").partition(":")
    return shown, httpx.BasicAuth(unquote(user), unquote(password))
