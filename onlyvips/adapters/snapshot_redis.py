"""SnapshotSource of one Redis server: the RDB that it sends a replica, as ``redis-cli --rdb`` takes it.

The connection, TLS and the log-in are redis-py's; once PSYNC was sent, what comes is no reply any more, and is read
from the connection's own socket. Nothing is written to a disk here, nor by the server where it replicates diskless.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
from redis.connection import Connection, SSLConnection, parse_url

from onlyvips.errors import OnlyVipsError, Permanent, Refused, Transient

_CHUNK = 256 * 1024
_LONGEST_LINE = 4096
_MARK = 40
"""Bytes of the mark that ends an RDB whose length nobody knows beforehand."""
_WORTHLESS = ("connection_class", "db", "max_connections", "timeout", "decode_responses", "retry_on_timeout")
"""What a URL may say to redis-py and means nothing here: an RDB has all databases."""
_RIGHTS = "+psync +replconf +info"

Facts = dict[str, str]


class _Wire:
    """A connection of redis-py that keeps the socket it made."""

    wire: socket.socket

    def _connect(self) -> socket.socket:
        self.wire = super()._connect()  # type: ignore[misc]
        return self.wire


class _Plain(_Wire, Connection):
    pass


class _Tls(_Wire, SSLConnection):
    pass


class RedisSnapshot:
    """The server at ``url`` (redis:// or rediss://). ``replica``: it may be one. Nothing is retried here."""

    def __init__(self, url: str, *, replica: bool = False, timeout: float = 60.0) -> None:
        """``timeout``: seconds of silence. Raises Permanent for a bad URL, without showing it."""
        self._replica, self._held = replica, Facts()
        try:
            told = parse_url(url)
            kind = {None: _Plain, SSLConnection: _Tls}[told.get("connection_class")]
            settings = {name: value for name, value in told.items() if name not in _WORTHLESS}
            waits = {"socket_timeout": timeout, "socket_connect_timeout": min(timeout, 10.0)}
            self._settings = {**settings, **waits, "protocol": 2}
            self._kind: Any = kind
            self._where = f"{settings['host']}:{settings.get('port', 6379)}"
            self._made().disconnect()
        except (KeyError, ValueError, TypeError, redis.RedisError):
            # Without its cause, which may quote it: it holds a password.
            raise Permanent(
                "The URL of Redis cannot be understood (not shown): correct what endpoints.redis refers to, "
                "redis:// or rediss:// with a host."
            ) from None

    def describe(self) -> Mapping[str, str]:
        """See ``ports.SnapshotSource``; ``role`` is ``master`` or ``slave``. Raises Refused for what is no one server
        with data of its own."""
        if not (told := self._held):
            with self._connected() as connection:
                told = self._told(connection)
        version = told.get("valkey_version") or told.get("redis_version") or "unknown"
        return {"dialect": told.get("server_name") or "redis", "version": version, "role": told.get("role", "unknown")}

    def snapshot(self) -> Iterator[bytes]:
        """See ``ports.SnapshotSource``: as Redis sends it. Gives b"" while the server prepares it, each 10 s or so."""
        with self._connected() as connection:
            told = self._told(connection)
            self._say_what_we_are(connection)
            connection.send_command("PSYNC", "?", "-1", check_health=False)
            stream = _Stream(connection.wire)
            yield from self._agreed(stream)
            yield from stream.bulk()
        self._held = told

    # --- what is asked of Redis

    def _made(self) -> Any:
        return self._kind(**self._settings)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        with self._explained():
            connection = self._made()
            try:
                connection.connect()
                yield connection
            finally:
                connection.disconnect()

    def _told(self, connection: Any) -> Facts:
        """What INFO says. Raises when this server cannot give a snapshot that can be trusted."""
        connection.send_command("INFO", check_health=False)
        lines = connection.read_response().decode("utf-8", "replace").splitlines()
        told = {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}
        if told.get("redis_mode") == "sentinel":
            raise self._refused("it is a Sentinel, which has no data: name the server that it watches")
        if told.get("cluster_enabled") == "1" or told.get("redis_mode") == "cluster":
            raise self._refused("it is one node of a cluster, which is not all of it, and clusters are not built yet")
        if told.get("loading") == "1":
            raise self._later("it is still loading its data")
        if told.get("role") == "slave":
            self._check_replica(told)
        if not any(re.fullmatch(r"db\d+", name) for name in told):
            raise self._refused(
                "it has no keys, and nothing is no backup: see that this is the right server and that it kept its data"
            )
        return told

    def _check_replica(self, told: Facts) -> None:
        if not self._replica:
            raise self._refused("it is a replica: name its primary, or write `backup.redis.replica: true`")
        if told.get("master_sync_in_progress") == "1":
            raise self._later("it is a replica that is still being filled by its primary")
        if told.get("master_link_status") != "up":
            raise self._later("it is a replica without a link to its primary, so its data are stale: mend the link")

    def _say_what_we_are(self, connection: Any) -> None:
        """Something that takes an RDB of unknown length, and wants nothing after it: servers before 6.2 do not know
        the second, and are left right after the RDB."""
        connection.send_command("REPLCONF", "capa", "eof", check_health=False)
        connection.read_response()
        connection.send_command("REPLCONF", "rdb-only", "1", check_health=False)
        try:
            connection.read_response()
        except redis.ResponseError as error:
            if "Unrecognized REPLCONF option" not in str(error):
                raise

    def _agreed(self, stream: _Stream) -> Iterator[bytes]:
        """Wait until the server says that it sends everything; b"" for each sign of life."""
        while not (line := stream.line()):
            yield b""
        if not line.startswith(b"+FULLRESYNC"):
            raise self._answered(line.decode("utf-8", "replace").removeprefix("-"))
        while stream.peek() == b"\n":
            stream.line()
            yield b""

    # --- what went wrong

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except redis.AuthenticationError as error:
            raise self._wrong(
                "it does not let us in", "correct user and password in what endpoints.redis refers to"
            ) from error
        except redis.BusyLoadingError as error:
            raise self._later("it is still loading its data") from error
        except redis.ResponseError as error:
            status = getattr(error, "status_code", None)
            raise self._answered(f"{status} {error}" if status else str(error)) from error
        except (redis.RedisError, OSError, _CutShort) as error:
            if isinstance(error.__cause__ or error.__context__ or error, ssl.SSLCertVerificationError):
                advice = "name its authority (?ssl_ca_certs=/path) in what endpoints.redis refers to"
                raise self._wrong("its certificate is not to be trusted from here", advice) from error
            why = str(error) if isinstance(error, _CutShort) else type(error).__name__
            raise self._later(f"it did not answer, or not to the end ({why}): see its log, and that it runs") from error

    def _answered(self, said: str) -> OnlyVipsError:
        """The error for an answer that is none of those that were expected."""
        said = re.sub(r"[\x00-\x1f\x7f-\x9f\s]+", " ", said)[:200].strip()
        if said.startswith("NOPERM"):
            return self._wrong("its ACL forbids it", f"give this user {_RIGHTS}")
        if "unknown command" in said.lower():
            return self._refused(
                "it does not know INFO, REPLCONF or PSYNC, as managed Redis does not: back it up by the vendor's own "
                "snapshots, or rename the commands back"
            )
        if re.search(r"NOMASTERLINK|LOADING|BGSAVE failed|MISCONF|MASTERDOWN|TRYAGAIN|max number of clients", said):
            return self._later(f"it says `{said}`")
        return self._wrong(f"it says `{said}`", "look into its log")

    def _refused(self, why: str) -> Refused:
        return Refused(f"Redis at {self._where}: cannot take its RDB, for {why}.")

    def _wrong(self, why: str, advice: str) -> Permanent:
        return Permanent(f"Redis at {self._where}: cannot take its RDB, for {why}: {advice}.")

    def _later(self, why: str) -> Transient:
        return Transient(f"Redis at {self._where}: cannot take its RDB now, for {why}; try again.", delay=10.0)


class _CutShort(Exception):
    """The stream is over, or is none, before all of it came."""


class _Stream:
    """What the server sends after PSYNC: lines, and one bulk of bytes."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire, self._rest = wire, b""

    def line(self) -> bytes:
        """The next line; b"" is a sign of life."""
        while b"\n" not in self._rest:
            if len(self._rest) > _LONGEST_LINE:
                raise _CutShort("what it sends is no reply")
            self._rest += self._more()
        found, _, self._rest = self._rest.partition(b"\n")
        return found.rstrip(b"\r")

    def peek(self) -> bytes:
        """The next byte, left where it is."""
        if not self._rest:
            self._rest = self._more()
        return self._rest[:1]

    def bulk(self) -> Iterator[bytes]:
        """An RDB: of a length that is said before it (``$LENGTH``), or up to a mark that is (``$EOF:MARK``)."""
        head = self.line()
        if mark := re.fullmatch(rb"\$EOF:(.{%d})" % _MARK, head):
            yield from self._to_mark(mark[1])
        elif length := re.fullmatch(rb"\$(\d+)", head):
            yield from self._of_length(int(length[1]))
        else:
            raise _CutShort(f"it sends no RDB but {head[:60]!r}")

    def _of_length(self, left: int) -> Iterator[bytes]:
        while left:
            chunk = self._rest or self._more()
            chunk, self._rest = chunk[:left], b""
            left -= len(chunk)
            yield chunk

    def _to_mark(self, mark: bytes) -> Iterator[bytes]:
        held, self._rest = self._rest, b""
        while (end := held.find(mark)) < 0:
            if sure := held[:-_MARK]:
                yield sure
                held = held[-_MARK:]
            held += self._more()
        yield held[:end]

    def _more(self) -> bytes:
        if not (data := self._wire.recv(_CHUNK)):
            raise _CutShort("it closed the connection")
        return data
