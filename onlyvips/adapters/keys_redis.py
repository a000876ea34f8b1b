"""KeySpace of one Redis server: DUMP and RESTORE, pipelined, by redis-py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.retry import Retry

from onlyvips.core.keys import Entry, KeyServer, release
from onlyvips.errors import Conflict, OnlyVipsError, Permanent, Refused, Transient

MARKER = b"onlyvips:restore"
"""The key of what is noted."""
_AT_ONCE = 1000
"""Keys asked for by one SCAN."""
_SAYS_MOMENTS = (7, 0)
"""The first release with PEXPIRETIME."""
_NOT_OURS = ("db", "max_connections", "timeout", "decode_responses", "retry_on_timeout", "connection_class")
_RIGHTS = "+info +select +scan +dump +restore +pttl +time +pexpiretime +unlink +get +set +del ~*"


class RedisKeys:
    """The server at ``url`` (redis:// or rediss://, or a socket). Nothing is retried here."""

    def __init__(self, url: str, *, timeout: float = 60.0) -> None:
        """``timeout``: seconds of silence. Raises Refused for a bad URL, without showing it."""
        try:
            told = parse_url(url)
            self._class = told.get("connection_class", redis.Connection)
            self._where = self._place(told)
            self._settings = {
                **{name: value for name, value in told.items() if name not in _NOT_OURS},
                "socket_timeout": timeout,
                "socket_connect_timeout": min(timeout, 10.0),
                "retry": Retry(NoBackoff(), 0),
                "protocol": 2,
            }
            self._clients: dict[int, Any] = {}
            self._version: tuple[int, ...] | None = None
            self._client(0).connection_pool.make_connection().disconnect()
        except (KeyError, ValueError, TypeError, redis.RedisError):
            # Without its cause, which may quote it: it holds a password.
            raise Refused(
                "The URL of the Redis to restore into cannot be understood (not shown): correct what the reference "
                "stands for, redis:// or rediss:// with a host. Nothing was changed."
            ) from None

    def describe(self) -> KeyServer:
        """See ``ports.keys.KeySpace``."""
        with self._explained():
            told = self._client(0).info()
        self._version = release(str(told.get("redis_version", "")))
        return KeyServer(
            dialect=str(told.get("server_name", "redis")),
            version=str(told.get("valkey_version") or told.get("redis_version", "unknown")),
            identity=str(told.get("run_id", "")),
            refusal=_refusal(told),
            used=int(told.get("used_memory", 0)),
            most=int(told.get("maxmemory", 0)),
            evicts=told.get("maxmemory_policy", "noeviction") != "noeviction",
            memory=int(told.get("total_system_memory", 0)),
            databases={int(name[2:]): int(of["keys"]) for name, of in told.items() if re.fullmatch(r"db\d+", name)},
        )

    def keys(self, database: int) -> Iterator[list[bytes]]:
        """See ``ports.keys.KeySpace``; without what is noted."""
        at = None
        while at != 0:
            with self._explained():
                at, found = self._client(database).scan(at or 0, count=_AT_ONCE)
            if mine := [key for key in found if key != MARKER]:
                yield mine

    def read(self, database: int, keys: Sequence[bytes]) -> list[Entry | None]:
        """See ``ports.keys.KeySpace``."""
        if not keys:
            return []
        with self._explained(), self._client(database).pipeline(transaction=False) as line:
            moments, now = self._release() >= _SAYS_MOMENTS, 0
            line.time()
            for key in keys:
                line.dump(key)
                line.pexpiretime(key) if moments else line.pttl(key)
            (seconds, micros), *answers = self._executed(line)
            now = 0 if moments else seconds * 1000 + micros // 1000
        pairs = zip(keys, answers[::2], answers[1::2], strict=True)
        return [_entry(key, payload, left, now) for key, payload, left in pairs]

    def write(self, database: int, entries: Sequence[Entry], *, over: bool) -> None:
        """See ``ports.keys.KeySpace``."""
        if not entries:
            return
        with self._explained(), self._client(database).pipeline(transaction=False) as line:
            for one in entries:
                line.restore(one.key, one.expires, one.payload, replace=over, absttl=bool(one.expires))
            self._executed(line)

    def remove(self, database: int, keys: Sequence[bytes]) -> None:
        """See ``ports.keys.KeySpace``."""
        if keys:
            with self._explained():
                self._client(database).unlink(*keys)

    def note(self, database: int, text: str) -> None:
        """See ``ports.keys.Noted``."""
        with self._explained():
            self._client(database).set(MARKER, text.encode())

    def noted(self, database: int) -> str:
        """See ``ports.keys.Noted``."""
        with self._explained():
            return bytes(self._client(database).get(MARKER) or b"").decode("utf-8", "replace")

    def forget(self, database: int) -> None:
        """See ``ports.keys.Noted``."""
        self.remove(database, [MARKER])

    # --- how

    @staticmethod
    def _place(told: dict[str, Any]) -> str:
        if told.get("connection_class") is UnixDomainSocketConnection:
            return str(told["path"])
        if told.get("connection_class") not in (None, SSLConnection):
            raise ValueError
        return f"{told['host']}:{told.get('port', 6379)}"

    def _client(self, database: int) -> Any:
        if database not in self._clients:
            pool = ConnectionPool(connection_class=self._class, **self._settings, db=database)
            self._clients[database] = redis.Redis.from_pool(pool)
        return self._clients[database]

    def _executed(self, line: Any) -> list[Any]:
        """The answers. Its own error would quote the command, with a key."""
        answers: list[Any] = line.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception):
                raise self._answered(answer) from answer
        return answers

    def _release(self) -> tuple[int, ...]:
        if self._version is None:
            self.describe()
        return self._version or ()

    def close(self) -> None:
        """Leave it."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except redis.AuthenticationError as error:
            raise self._wrong("it does not let us in: correct user and password in what is referred to") from error
        except redis.ResponseError as error:
            raise self._answered(error) from error
        except (redis.RedisError, OSError) as error:
            raise Transient(
                f"Redis at {self._where} did not answer, or not to the end ({type(error).__name__}): see that it runs "
                "and can be reached from here.",
                delay=5.0,
            ) from error

    def _answered(self, error: Exception) -> OnlyVipsError:
        """The error for what it says."""
        said = f"{getattr(error, 'status_code', None) or ''} {error}"
        if "BUSYKEY" in said or "already exists" in said:
            return Conflict(f"Redis at {self._where} has a key already that was to come back.")
        for shape, why in _ANSWERS:
            if re.search(shape, said):
                return self._wrong(why)
        if re.search(r"LOADING|TRYAGAIN|MASTERDOWN|max number of clients", said):
            return Transient(f"Redis at {self._where} cannot do it now (`{said[:60]}`): try again.", delay=5.0)
        return self._wrong(f"it says `{re.sub(r'[^ -~]', '', said)[:120].strip()}`: look into its log")

    def _wrong(self, why: str) -> Permanent:
        return Permanent(f"Redis at {self._where}: {why}.")


_ANSWERS = (
    (r"NOPERM|no permissions", f"its ACL forbids it: give this user {_RIGHTS} while it is restored"),
    (r"DUMP payload|Bad data format", "it does not take these values, for they are of a newer version than it is"),
    (r"OOM", "its memory is full (maxmemory): raise that, then run the restore again"),
    (r"READONLY", "it is a replica, which takes no writes: name its primary"),
    (r"index is out of range|invalid DB index", "it has fewer databases than the backup: raise its `databases`"),
    (r"MISCONF", "it takes no writes, for it cannot save to its disk: see its log, and make room there"),
    (r"unknown command", "it does not know DUMP, RESTORE or what else is needed, as some managed ones do not"),
)


def _entry(key: bytes, payload: bytes | None, left: int, now: int) -> Entry | None:
    """``left``: when it expires, or where ``now`` is given how long it still lives; -1 for ever, -2 not there."""
    if payload is None or left == -2:
        return None
    return Entry(key, payload, 0 if left < 0 else now + left)


def _refusal(told: dict[str, Any]) -> str:
    if told.get("redis_mode") == "sentinel":
        return "it is a Sentinel, which has no data: name the server that it watches"
    if told.get("cluster_enabled") == 1 or told.get("redis_mode") == "cluster":
        return "it is one node of a cluster, and clusters are not built yet"
    if told.get("role") == "slave":
        return "it is a replica, which takes no writes: name its primary"
    return ""
