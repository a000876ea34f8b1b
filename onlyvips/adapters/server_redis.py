"""Loader by the program redis-server: one of our own, on a socket in a folder of our own, for as long as it is needed.

The file of the RDB goes as soon as it is loaded; whoever keeps the folder (``file_private``) ends the server when we
were killed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import anycrc

from onlyvips.adapters.file_private import PID, private_file
from onlyvips.adapters.keys_redis import RedisKeys
from onlyvips.core.keys import Entry, KeyServer, release
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports import Clock

_LOOK = 0.05
"""Seconds between two looks at a server that is loading."""
_GROUP = 8 << 20
"""Bytes of values that are read together, by the server's own estimate."""
_FOOT = 10
"""Bytes at the end of what DUMP gives: the RDB's version and a CRC-64."""
_STREAMS = (15, 19, 21)
"""Types of values whose digest by DEBUG is not about all that is in them."""


class RedisServer:
    """The program at ``path``, or the redis-server (valkey-server) that PATH leads to. ``folder``: where its files
    may lie, in place of memory or the system's folder for such."""

    def __init__(self, clock: Clock, path: str = "", folder: Path | None = None) -> None:
        self._clock, self._path, self._folder = clock, path, folder

    def describe(self) -> tuple[str, str]:
        """See ``ports.keys.Loader``."""
        program = self._program()
        try:
            done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=False)
            said = done.stdout
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f"{program} does not start ({error}): name another in backup.redis.server.") from error
        found = re.search(r"(Redis|Valkey) server v=(\S+)", said)
        if found is None:
            raise Refused(f"{program} is no redis-server: name one in backup.redis.server. Nothing was changed.")
        return found[1].lower(), found[2]

    def room(self, size: int) -> AbstractContextManager[Path]:
        """See ``ports.keys.Loader``."""
        return private_file(size, "dump.rdb", self._folder)

    @contextmanager
    def load(self, file: Path, databases: int) -> Iterator[LoadedRedis]:
        """See ``ports.keys.Loader``. One more database than that is ours, to compare in."""
        folder, version = file.parent, release(self.describe()[1])
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [self._program(), *_settings(folder, databases + 1, version)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        loaded = LoadedRedis(f"unix://{folder}/socket", databases)
        try:
            (folder / PID).write_text(str(server.pid))
            self._await(loaded, server, folder)
            file.unlink()
            yield loaded
        finally:
            loaded.close()
            server.kill()
            server.wait()
            (folder / PID).unlink(missing_ok=True)  # another process may get this number

    # --- how

    def _program(self) -> str:
        found = (
            shutil.which(self._path) if self._path else shutil.which("redis-server") or shutil.which("valkey-server")
        )
        if found is None:
            where = f"at {self._path}" if self._path else "on PATH"
            raise Refused(
                f"There is no redis-server {where}, which must load the backup first: install one of the version of "
                "the backup here, or name it in backup.redis.server. Nothing was changed."
            )
        return found

    def _await(self, loaded: LoadedRedis, server: subprocess.Popen[bytes], folder: Path) -> None:
        while True:
            if server.poll() is not None:
                raise Refused(
                    f"redis-server {self.describe()[1]} does not load the backup: {_last_words(folder)}. Nothing was "
                    "changed. Name another in backup.redis.server: of the backup's version, with its modules."
                )
            try:
                if (folder / "socket").exists() and loaded.ready():
                    return
            except Transient:
                pass  # not listening yet
            self._clock.sleep(_LOOK)


class LoadedRedis(RedisKeys):
    """A server of ours. The database ``scratch`` is nobody's."""

    def __init__(self, url: str, scratch: int) -> None:
        super().__init__(url, timeout=600.0)
        self._scratch = scratch
        self._crc = anycrc.Model("CRC64-REDIS")

    def ready(self) -> bool:
        """Whether everything is loaded."""
        with self._explained():
            return not self._client(0).info("persistence").get("loading", 0)

    def describe(self) -> KeyServer:
        """See ``ports.keys.KeySpace``, with its libraries of functions."""
        found = super().describe()
        if self._release() < (7, 0):
            return found
        with self._explained():
            told = self._client(0).function_list()
        names = (dict(zip(one[::2], one[1::2], strict=True))[b"library_name"].decode() for one in told)
        return replace(found, libraries=tuple(sorted(names)))

    def keys(self, database: int) -> Iterator[list[bytes]]:
        """See ``ports.keys.LoadedKeys``."""
        for found in super().keys(database):
            with self._explained(), self._client(database).pipeline(transaction=False) as line:
                for key in found:
                    line.memory_usage(key)
                sizes = self._executed(line)
            yield from _groups(found, [size or 0 for size in sizes])

    def there(self, database: int, keys: Sequence[bytes]) -> list[bool]:
        """See ``ports.keys.LoadedKeys``."""
        with self._explained(), self._client(database).pipeline(transaction=False) as line:
            for key in keys:
                line.exists(key)
            return [bool(one) for one in self._executed(line)]

    def same(self, mine: Entry, theirs: Entry) -> bool:
        """See ``ports.keys.LoadedKeys``: by what this server makes of theirs, then, as the order in a set or hash is a
        matter of chance, by its digest of either."""
        if mine.payload[:-_FOOT] == theirs.payload[:-_FOOT]:
            return True
        body = theirs.payload[:-_FOOT] + mine.payload[-_FOOT:-8]
        translated = body + self._crc.calc(body).to_bytes(8, "little")
        try:
            self.write(self._scratch, [Entry(b"mine", mine.payload, 0), Entry(b"theirs", translated, 0)], over=True)
        except Permanent:
            return False  # of a kind that this server does not know
        again = self.read(self._scratch, [b"theirs"])[0]
        if again and again.payload == mine.payload:
            return True
        if mine.payload[0] in _STREAMS:
            return False
        with self._explained():
            one, other = self._client(self._scratch).execute_command("DEBUG", "DIGEST-VALUE", "mine", "theirs")
        return bool(one == other)


def _settings(folder: Path, databases: int, version: tuple[int, ...]) -> Iterator[str]:
    told = {
        "port": "0",
        "unixsocket": f"{folder}/socket",
        "unixsocketperm": "700",
        "dir": str(folder),
        "dbfilename": "dump.rdb",
        "appendonly": "no",
        "save": "",
        "databases": str(databases),
        "daemonize": "no",
        "maxmemory": "0",
        "proto-max-bulk-len": "4gb",
    }
    if version >= (7, 0):
        told |= {"enable-debug-command": "yes"}
    for name, value in told.items():
        yield f"--{name}"
        yield value


def _groups(keys: list[bytes], sizes: list[int]) -> Iterator[list[bytes]]:
    group, held = list[bytes](), 0
    for key, size in zip(keys, sizes, strict=True):
        if group and held + size > _GROUP:
            yield group
            group, held = [], 0
        group.append(key)
        held += size
    if group:
        yield group


def _last_words(folder: Path) -> str:
    """What the program said at its end, without what is no sentence."""
    lines = (folder / "log").read_text("utf-8", "replace").splitlines()
    told = [re.sub(r"^\S+ \d+ \w+ \d+ [\d:.]+ . ", "", line).strip(" #.") for line in lines[-40:]]
    wrong = [one for one in told if re.search(r"can't|cannot|error|fatal|wrong|unknown|no matching|failed", one, re.I)]
    return "; ".join((wrong or told)[:2])[:300].rstrip(". ") or "it says nothing"
