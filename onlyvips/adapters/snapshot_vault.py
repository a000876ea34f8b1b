"""SnapshotSource of HashiCorp Vault with raft storage: its own snapshot, by its HTTP interface."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from onlyvips.core import raft_snapshot
from onlyvips.errors import OnlyVipsError, Permanent, Refused, Transient

_SNAPSHOT, _STATUS = "/v1/sys/storage/raft/snapshot", "/v1/sys/seal-status"
_POLICY = 'path "sys/storage/raft/snapshot" { capabilities = ["read"] }'
_MOST_TOLD = 4096
_REDIRECTS = 2


class VaultSnapshot:
    """The Vault at ``url``, any node of it. ``timeout`` is seconds of silence. Nothing is retried here."""

    def __init__(self, url: str, token: str, *, namespace: str = "", timeout: float = 60.0) -> None:
        """``namespace`` is Enterprise's, of the ``token``. Raises Permanent for a bad address or token."""
        self._url = _address(url)
        self._headers = {"X-Vault-Token": token, **({"X-Vault-Namespace": namespace} if namespace else {})}
        self._timeout = httpx.Timeout(timeout, connect=min(timeout, 10.0))
        if not all(re.fullmatch(r"[!-~]+", value) for value in self._headers.values()):
            raise Permanent(
                "The token of Vault is empty or has a character that no token has (not shown): correct what "
                "backup.secrets refers to."
            )

    def describe(self) -> Mapping[str, str]:
        """See ``ports.SnapshotSource``. ``seal`` and ``cluster`` say whose unseal keys a restore needs."""
        with self._explained(), self._client() as client:
            answer = client.get(self._url + _STATUS)
            if answer.status_code != httpx.codes.OK:
                raise self._refusal(answer)
            status = _json(answer.content)
        if "sealed" not in status:
            raise Permanent(f"{self._what()}, for what answers there is not Vault: correct endpoints.vault.")
        if status["sealed"]:
            raise self._sealed()
        if status.get("storage_type", "raft") != "raft":
            raise self._not_raft(f"`{str(status['storage_type'])[:40]}`")
        return {
            "dialect": "vault",
            "version": str(status.get("version") or "unknown"),
            "seal": str(status.get("type") or "unknown"),
            "cluster": str(status.get("cluster_name") or "unknown"),
            "cluster_id": str(status.get("cluster_id") or "unknown"),
        }

    def snapshot(self) -> Iterator[bytes]:
        """See ``ports.SnapshotSource``: as Vault sends it, found whole."""
        with self._explained(), self._client() as client, self._opened(client) as answer:
            yield from raft_snapshot.checked(answer.iter_raw())

    # --- how

    def _client(self) -> httpx.Client:
        return httpx.Client(timeout=self._timeout, trust_env=False)

    @contextmanager
    def _opened(self, client: httpx.Client) -> Iterator[httpx.Response]:
        """The answer that carries a snapshot: of the active node, for a standby only tells where that is."""
        url = self._url + _SNAPSHOT
        headers = {**self._headers, "Accept-Encoding": "identity"}
        for _ in range(_REDIRECTS + 1):
            with client.stream("GET", url, headers=headers) as answer:
                if answer.status_code == httpx.codes.OK:
                    yield answer
                    return
                if not answer.has_redirect_location:
                    raise self._refusal(answer)
                url = self._active(url, answer.headers["Location"])
        raise Transient(f"{self._what()}: each node names another one as the active node: try again.", delay=10.0)

    def _active(self, asked: str, location: str) -> str:
        """Where the token may be sent too: the same question, not in the clear when this one was not."""
        before, target = httpx.URL(asked), httpx.URL(asked).join(location)
        if target.path != before.path:
            raise Permanent(
                f"{self._what()}: what answers there sends to a page elsewhere ({target.host}), so it is not Vault "
                "alone: correct endpoints.vault, past any log-in page."
            )
        if target.scheme != "https" and before.scheme == "https":
            raise Permanent(
                f"{self._what()}: it is a standby and sends to {target.host} without TLS, so the token was not sent "
                "there: correct that node's api_addr."
            )
        return str(target)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except raft_snapshot.BrokenSnapshot as error:
            raise Transient(
                f"{self._what()}: what came is not a whole snapshot, {error}; it counts for nothing: look into Vault's "
                "log, then take it again.",
                delay=10.0,
            ) from error
        except httpx.RequestError as error:
            there = error.request.url.netloc.decode()
            raise Transient(
                f"{self._what()}: {there} did not answer, or not to the end ({type(error).__name__}): see that it runs "
                "and can be reached from here."
            ) from error

    def _refusal(self, answer: httpx.Response) -> OnlyVipsError:
        """The error for an answer that is not what was asked for."""
        status, said = answer.status_code, _said(answer)
        if "Vault is sealed" in said:
            return self._sealed()
        if "raft storage is not in use" in said or "unsupported path" in said:
            return self._not_raft("something else" if status != 404 else "something else (or of another namespace)")
        if status == 403:
            return Permanent(
                f"{self._what()}: the token may not (403): give it a policy with {_POLICY}, in the root namespace, or "
                "correct what backup.secrets refers to."
            )
        if status == 429 or status >= 500:
            return Transient(f"{self._what()} just now ({status}: {said}): try again.", delay=10.0)
        return Permanent(f"{self._what()} ({status}: {said}): correct endpoints.vault, or look into Vault's log.")

    def _what(self) -> str:
        return f"Vault at {self._url}: cannot take a snapshot"

    def _sealed(self) -> Permanent:
        return Permanent(f"{self._what()}, for it is sealed: unseal it, then take the backup again.")

    def _not_raft(self, storage: str) -> Refused:
        return Refused(
            f"{self._what()}, for its storage is {storage} and not raft: back that storage up by its own tool, or move "
            "Vault to raft (integrated storage)."
        )


def _address(url: str) -> str:
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL:
        found = httpx.URL("")
    if found.scheme not in ("http", "https") or not found.host or found.userinfo or found.query:
        # Without its cause, which quotes it: it may hold a password.
        raise Permanent("The address of Vault is no plain http(s) URL (not shown): correct endpoints.vault.") from None
    return str(found).rstrip("/")


def _said(answer: httpx.Response) -> str:
    """The beginning of what an error says, as one line for people."""
    body = next(answer.iter_bytes(_MOST_TOLD), b"") if not answer.is_stream_consumed else answer.content[:_MOST_TOLD]
    errors = _json(body).get("errors")
    text = "; ".join(map(str, errors)) if isinstance(errors, list) else body.decode("utf-8", "replace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f\s]+", " ", text)[:200].strip() or "no reason given"


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
