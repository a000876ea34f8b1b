"""Requests of smoke tests over HTTP: ``ports.prober.Prober``."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from onlyvips.adapters.address_http import apart
from onlyvips.errors import Transient
from onlyvips.ports.prober import Answer

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_MOST = 1024 * 1024


class HttpProber:
    """One address that users come in at. Nothing is retried here, and no redirect followed."""

    def __init__(self, url: str) -> None:
        self._url, self._auth = apart(url)

    def get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """See ``ports.prober.Prober``."""
        try:
            with (
                httpx.Client(timeout=_TIMEOUT, trust_env=False, auth=self._auth) as client,
                client.stream("GET", f"{self._url}{path}", headers=dict(headers)) as answer,
            ):
                found = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(answer.status_code, found, _text(answer))
        except httpx.HTTPError as error:
            raise Transient(f"{self._url}{path} did not answer: {type(error).__name__}.") from error


def _text(answer: httpx.Response) -> str:
    found = b""
    for part in answer.iter_bytes():
        found += part
        if len(found) >= _MOST:
            break
    return found[:_MOST].decode(answer.encoding or "utf-8", errors="replace")
