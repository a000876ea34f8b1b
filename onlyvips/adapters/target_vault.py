"""SnapshotTarget of HashiCorp Vault with raft storage: its own snapshot goes back by its HTTP interface."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import httpx

from onlyvips.adapters.snapshot_vault import _REDIRECTS, _SNAPSHOT, _STATUS, VaultSnapshot, _json, _said
from onlyvips.errors import OnlyVipsError, Permanent, Refused, Transient, UnknownOutcome

_FORCE = f"{_SNAPSHOT}-force"
_POLICY = 'path "sys/storage/raft/snapshot" { capabilities = ["read", "update"] } (and of snapshot-force: "update")'
_PATIENCE = 600.0
"""Seconds that Vault may take to unpack a snapshot before it answers."""


class VaultTarget(VaultSnapshot):
    """The Vault at ``url``, any node of it."""

    def state(self) -> Mapping[str, str]:
        """See ``ports.secrets.SnapshotTarget``."""
        with self._explained(), self._client() as client:
            answer = client.get(self._url + _STATUS)
        told = _json(answer.content)
        if answer.status_code != httpx.codes.OK or "sealed" not in told:
            raise Transient(f"Vault at {self._url} does not say how it is ({answer.status_code}).", delay=2.0)
        return {"cluster_id": str(told.get("cluster_id") or ""), "sealed": "true" if told["sealed"] else "false"}

    def restore(self, file: Path, *, force: bool) -> None:
        """See ``ports.secrets.SnapshotTarget``."""
        url = self._url + (_FORCE if force else _SNAPSHOT)
        for _ in range(_REDIRECTS + 1):
            answer = self._posted(url, file)
            if answer.is_success:
                return
            if not answer.has_redirect_location:
                raise self._not_taken(answer)
            url = self._active(url, answer.headers["Location"])
        raise Transient(f"Vault at {self._url}: each node names another one as the active node: try again.", delay=10.0)

    def _posted(self, url: str, file: Path) -> httpx.Response:
        headers = {**self._headers, "Content-Length": str(file.stat().st_size)}
        timeout = httpx.Timeout(_PATIENCE, connect=10.0)
        try:
            with file.open("rb") as data, httpx.Client(timeout=timeout, trust_env=False) as client:
                return client.post(url, content=data, headers=headers)
        except httpx.ConnectError as error:
            raise Transient(f"Vault at {self._url} does not answer: nothing was changed; see that it runs.") from error
        except httpx.RequestError as error:
            raise UnknownOutcome(
                f"Vault at {self._url} was given the snapshot and did not answer ({type(error).__name__}): it may have "
                "taken it. See how it is (vault status); the same command may be run again."
            ) from error

    def _not_taken(self, answer: httpx.Response) -> OnlyVipsError:
        status, said = answer.status_code, _said(answer)
        if "verify hash file" in said or "unseal keys" in said:
            return Refused(
                f"Vault at {self._url} does not take the snapshot, for it was made under other unseal keys: nothing "
                "was changed; restore a backup of after the last rekey, or by hand by force (runbook)."
            )
        if status == httpx.codes.FORBIDDEN:
            return Permanent(
                f"Vault at {self._url}: the token may not restore (403), nothing was changed: give it a policy with "
                f"{_POLICY}, in the root namespace, or name such a one in backup.secrets.vault.restorer_token."
            )
        if status == 429 or status >= 500:
            return Transient(f"Vault at {self._url} cannot restore just now ({status}: {said}): try again.", delay=10.0)
        return Refused(f"Vault at {self._url} does not take the snapshot ({status}: {said}): look into its log.")
