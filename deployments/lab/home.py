"""A lab's home: where its files lie, what it remembers between starts, and who holds it."""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAB = Path(__file__).resolve().parent
REPOSITORY = LAB.parents[1]
PORTS = range(20_000, 32_000)  # below the ephemeral range, so that no outgoing connection takes one in between
LISTENERS = (
    "etcd",
    "etcd-peer",
    "apiserver",
    "controller-manager",
    "gateway",
    "gateway-admin",
    "load",
    "mongodb",
    "s3-a",
    "s3-b",
    "ssm",
    "redis",
    "prometheus",
    "discovery",
    "prefect",
    "worker",
)
ACCOUNTS = ("", "-writer", "-pruner")
"""Of each S3 server: its root, who writes backups, who takes them away."""
SECRETS = (
    "admin-token",
    "jwt-secret",
    "redis-password",
    *(f"s3-{store}{account}-{part}" for store in "ab" for account in ACCOUNTS for part in ("access", "secret")),
)


@dataclass(frozen=True)
class Home:
    """The directory of one lab."""

    path: Path

    @property
    def bin(self) -> Path:
        """Links to every program of the lab."""
        return self.path / "bin"

    @property
    def data(self) -> Path:
        """The servers' own files."""
        return self.path / "data"

    @property
    def keys(self) -> Path:
        """Private keys and tokens, mode 0600."""
        return self.path / "keys"

    @property
    def temporary(self) -> Path:
        """What would lie in /tmp, and meet there what another user left."""
        return self.path / "tmp"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.keys / "kubeconfig.yaml"

    @property
    def endpoints(self) -> Path:
        """What a client of the lab needs to know, as KEY=value lines."""
        return self.path / "endpoints.env"

    @property
    def faults(self) -> Path:
        """The faults that sample services are told to have."""
        return self.path / "faults.json"

    def log(self, part: str) -> Path:
        """The log file of a part."""
        return self.path / "logs" / f"{part}.log"

    def claim(self) -> int | None:
        """Make the home where it is missing and take its lock; None says that another lab has it.

        A folder with files that are not a lab's is refused.
        """
        if self.path.exists() and any(self.path.iterdir()) and not (self.path / "lock").exists():
            raise SystemExit(f"{self.path} has files, but is not a lab's home: name another folder by --home")
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        descriptor = acquire(self, patience=0.5)
        if descriptor is not None:
            self.name_holder(os.getpid())
        return descriptor

    def name_holder(self, pid: int) -> None:
        """Note which process is to be asked to end the lab."""
        (self.path / "lock").write_text(str(pid))

    def holder(self) -> int | None:
        """The process to ask."""
        text = (self.path / "lock").read_text()
        return int(text) if text.isdigit() else None

    def clear(self) -> None:
        """Forget everything, except who holds the home."""
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()

    def prepare(self) -> None:
        """Make the folders, and forget how the lab before ended."""
        for folder in (self.bin, self.data, self.keys, self.path / "logs", self.temporary):
            folder.mkdir(exist_ok=True)
        (self.path / "state.json").unlink(missing_ok=True)

    def state(self) -> dict[str, Any]:
        """What the supervisor wrote last, or nothing."""
        return read_json(self.path / "state.json")

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replace the state at once, so that a reader never sees half of it."""
        write(self.path / "state.json", json.dumps(state, indent=1))


@dataclass(frozen=True)
class Settings:
    """Ports and secrets of a lab, the same at every start while the ports are free."""

    ports: Mapping[str, int]
    secrets: Mapping[str, str]


def read_settings(home: Home) -> Settings:
    """The settings of a lab that was started."""
    return Settings(**read_json(home.keys / "settings.json"))


def renew_settings(home: Home) -> Settings:
    """The settings for a start: what is missing is made, a port that someone else took is replaced."""
    kept = read_json(home.keys / "settings.json")
    ports = choose_ports(kept.get("ports", {}))
    values = {name: kept.get("secrets", {}).get(name) or secrets.token_hex(16) for name in SECRETS}
    write(home.keys / "settings.json", json.dumps({"ports": ports, "secrets": values}, indent=1))
    return Settings(ports, values)


def choose_ports(wanted: Mapping[str, int]) -> dict[str, int]:
    """One free port per listener, the wanted one where it is free."""
    candidates = iter(random.sample(PORTS, len(PORTS)))
    chosen: dict[str, int] = {}
    for name in LISTENERS:
        if name in wanted and is_free(wanted[name]):
            chosen[name] = wanted[name]
        else:
            taken = {*chosen.values(), *wanted.values()}
            chosen[name] = next(port for port in candidates if port not in taken and is_free(port))
    return chosen


def is_free(port: int) -> bool:
    """Whether nobody listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def acquire(home: Home, kind: int = fcntl.LOCK_EX, patience: float = 0) -> int | None:
    """Take the home's lock; the descriptor holds it, None says that a lab is running there.

    Patience is for those who only ask, and hold it shared for a moment.
    """
    descriptor = os.open(home.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(descriptor)
                return None
        time.sleep(0.05)


def is_running(home: Home) -> bool:
    """Whether a lab holds this home."""
    if not (home.path / "lock").exists():
        return False
    descriptor = acquire(home, fcntl.LOCK_SH)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def write(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    Path(temporary).rename(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, empty when the file is not there."""
    return json.loads(path.read_text()) if path.exists() else {}


def read_env(path: Path) -> dict[str, str]:
    """The KEY=value lines of a file."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def last_lines(path: Path, count: int = 15) -> Iterable[str]:
    """The end of a log."""
    return path.read_text(errors="replace").splitlines()[-count:] if path.exists() else ()
