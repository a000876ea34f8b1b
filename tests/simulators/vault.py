"""A Vault on loopback: the part of its HTTP interface that a backup of its raft storage, and the way back, need.

Its storage is a dictionary (``cubbyhole``), its seal a key; the snapshots have Vault's own format. It fails the ways
Vault fails, each by its name.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import json
import os
import tarfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hvs.simulated-root"
SNAPSHOT = "/v1/sys/storage/raft/snapshot"
_SEALED_ERROR = (
    "could not verify hash file, possibly the snapshot is using a different set of unseal keys; use the snapshot-force "
    "API to bypass this check"
)


def pack(files: dict[str, bytes]) -> bytes:
    """The gzip'd tar that Vault makes of these."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def unpack(snapshot: bytes) -> dict[str, bytes]:
    """What ``pack`` was given."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(snapshot))) as archive:
        files = {member.name: archive.extractfile(member) for member in archive}
        return {name: file.read() for name, file in files.items() if file}


def summed(files: dict[str, bytes], seal: bytes) -> dict[str, bytes]:
    """With the two lists of checksums at the end, the second so that only this seal can tell it is right."""
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()).encode()
    return {**files, "SHA256SUMS": sums, "SHA256SUMS.sealed": hmac.digest(seal, sums, "sha256")}


class SimulatedVault:
    """One node. ``requests`` are the paths it was asked for, ``storage`` what it keeps."""

    def __init__(self, *, ballast: int = 100_000) -> None:
        self.storage: dict[str, Any] = {}
        self.requests: list[str] = []
        self.namespaces: list[str] = []
        self.seal = os.urandom(32)
        self.sealed = False
        self.storage_type = "raft"
        self.leader = ""
        self.cluster = "0-1-2"
        self.seals_when_forced = False
        """As a real one does whose own unseal keys do not fit what it took."""
        self.hangs_up_on_restores = False
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self._ballast = os.urandom(ballast)
        self._kept = 0
        self._dropped = False
        self._added = b""

    # --- faults

    def cuts_snapshots(self, keep: int, *, drops: bool = False, then: bytes = b"") -> None:
        """So many bytes of a snapshot come (negative: so many do not), then ``then``; HTTP says that all went well,
        or the connection ``drops``."""
        self._kept, self._dropped, self._added = keep, drops, then

    def is_standby_of(self, leader: str) -> None:
        """Snapshots are to be had from ``leader``, an address."""
        self.leader = leader

    def answers(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """Whatever it is asked."""
        self.answer = (status, headers or {}, body)

    # --- what it does

    def snapshot(self) -> bytes:
        """Whole, in Vault's format."""
        state = json.dumps([self.storage, self.cluster]).encode() + b"\0" + self._ballast
        meta = json.dumps({"Version": 1, "ID": "bolt-snapshot", "Index": 42, "Term": 3, "Size": len(state)}).encode()
        return pack(summed({"meta.json": meta, "state.bin": state}, self.seal))

    def sent(self) -> tuple[bytes, bool]:
        """What is sent of a snapshot, and whether the connection drops then."""
        whole = self.snapshot()
        return (whole[: self._kept] + self._added if self._kept else whole), self._dropped

    def restore(self, snapshot: bytes, *, force: bool) -> str:
        """Empty, or why not."""
        try:
            files = unpack(snapshot)
        except (OSError, EOFError, zlib.error, tarfile.TarError):
            return "failed to decompress snapshot"
        summed_files = {name: data for name, data in files.items() if not name.startswith("SHA256SUMS")}
        expected = summed(summed_files, self.seal)
        if files["SHA256SUMS"] != expected["SHA256SUMS"]:
            return "failed checking integrity of snapshot"
        foreign = files["SHA256SUMS.sealed"] != expected["SHA256SUMS.sealed"]
        if foreign and not force:
            return _SEALED_ERROR
        self.storage, self.cluster = json.loads(files["state.bin"].split(b"\0", 1)[0])
        self.sealed = foreign and self.seals_when_forced
        return ""

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its address, while it answers there."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"vault": self}))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    vault: SimulatedVault
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing to stderr."""

    def do_GET(self) -> None:
        vault = self.vault
        vault.requests.append(self.path)
        vault.namespaces.append(self.headers.get("X-Vault-Namespace", ""))
        if vault.answer:
            status, headers, body = vault.answer
            self._respond(status, body, headers)
        elif self.path == "/v1/sys/seal-status":
            self._respond(200, json.dumps(self._status()).encode())
        elif self._refused():
            return
        elif self.path == SNAPSHOT:
            self._send_snapshot()
        else:
            data = vault.storage.get(self.path)
            self._respond(200 if data else 404, json.dumps({"data": data, "errors": []}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.vault.requests.append(self.path)
        if self._refused():
            return
        if self.path not in (SNAPSHOT, f"{SNAPSHOT}-force"):
            self.vault.storage[self.path] = json.loads(body)
            self._respond(204)
        elif self.vault.hangs_up_on_restores:
            self.vault.restore(body, force=self.path.endswith("-force"))
            self.close_connection = True
        elif why := self.vault.restore(body, force=self.path.endswith("-force")):
            self._error(400, why)
        else:
            self._respond(204)

    def _refused(self) -> bool:
        """Answered already, for a reason that has nothing to do with the request."""
        vault, raft = self.vault, self.path.startswith(SNAPSHOT)
        if vault.sealed:
            self._error(503, "Vault is sealed")
        elif raft and vault.leader:
            self._respond(307, headers={"Location": vault.leader + self.path})
        elif self.headers.get("X-Vault-Token") != TOKEN:
            self._error(403, "permission denied")
        elif raft and vault.storage_type != "raft":
            self._error(400, "raft storage is not in use")
        else:
            return False
        return True

    def _status(self) -> dict[str, Any]:
        cluster = {} if self.vault.sealed else {"cluster_name": "vault-cluster-lab", "cluster_id": self.vault.cluster}
        kind = {"type": "shamir", "version": "1.20.0", "storage_type": self.vault.storage_type}
        return {**kind, **cluster, "initialized": True, "sealed": self.vault.sealed, "t": 3, "n": 5}

    def _send_snapshot(self) -> None:
        """In chunks, for Vault does not know the length before it has sent all."""
        data, drops = self.vault.sent()
        self.send_response(200)
        self.send_header("Content-Type", "application/gzip")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(ConnectionError):  # whoever asked went away
            for at in range(0, len(data), 10_000):
                chunk = data[at : at + 10_000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            if not drops:
                self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def _error(self, status: int, sentence: str) -> None:
        self._respond(status, json.dumps({"errors": [sentence]}).encode())

    def _respond(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
