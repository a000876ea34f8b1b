"""A Redis that answers a replica: INFO, AUTH, REPLCONF and PSYNC, with an RDB of strings; and can fail by name."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import anycrc

PASSWORD = "geheim-redis"
MARK = b"0123456789abcdef0123456789abcdef01234567"
Databases = Mapping[int, Mapping[bytes, bytes]]


def string(data: bytes) -> bytes:
    """As an RDB has it."""
    size = len(data)
    if size < 64:
        return bytes([size]) + data
    if size < 1 << 14:
        return bytes([0x40 | size >> 8, size & 0xFF]) + data
    return b"\x80" + size.to_bytes(4, "big") + data


def rdb(databases: Databases, *, checksum: bool = True, version: int = 10) -> bytes:
    """An RDB of strings."""
    body = b"REDIS%04d" % version + b"\xfa" + string(b"redis-ver") + string(b"7.0.15")
    for number, keys in databases.items():
        body += bytes([0xFE, number, 0xFB, len(keys) & 63, 0])
        body += b"".join(b"\0" + string(key) + string(value) for key, value in keys.items())
    return closed(body + b"\xff", checksum=checksum)


def closed(body: bytes, *, checksum: bool = True) -> bytes:
    """With its CRC behind it."""
    return body + (anycrc.Model("CRC64-REDIS").calc(body) if checksum else 0).to_bytes(8, "little")


class SimulatedRedis:
    """One server; the attributes are what it is told to be."""

    def __init__(self) -> None:
        self.databases: dict[int, dict[bytes, bytes]] = {0: {b"a": b"1"}}
        self.info: dict[str, Any] = {}
        self.says: dict[str, str] = {}
        """Command → the error that answers it."""
        self.length_is_known = False
        self.knows_rdb_only = True
        self.signs_of_life = 0
        self.cuts_after: int | None = None
        self.flips: int | None = None
        self.checksum = True
        self.fails_to_save = False
        self.goes_on_with = b""
        self.asked: list[str] = []

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its URL while the block runs."""

        class Handler(socketserver.StreamRequestHandler):
            def handle(handler) -> None:  # noqa: N805
                self._talk(handler.rfile, handler.wfile)

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True

        with Listener(("127.0.0.1", 0), Handler) as listener:
            thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield f"redis://:{PASSWORD}@127.0.0.1:{listener.server_address[1]}"
            finally:
                listener.shutdown()
                thread.join()

    def restores(self, snapshot: bytes) -> bool:
        """Whether it would load this one."""
        return snapshot == closed(snapshot[:-8], checksum=self.checksum)

    # --- how

    def _talk(self, read: Any, write: Any) -> None:
        let_in = False
        try:
            while words := self._command(read):
                name = words[0].upper()
                self.asked.append(" ".join(words).replace(PASSWORD, "…"))
                if name == "AUTH":
                    let_in = words[-1] == PASSWORD
                    write.write(b"+OK\r\n" if let_in else b"-WRONGPASS invalid username-password pair\r\n")
                elif not let_in:
                    write.write(b"-NOAUTH Authentication required.\r\n")
                elif name in self.says:
                    write.write(f"-{self.says[name]}\r\n".encode())
                elif name == "PSYNC":
                    self._send(write)
                    return
                else:
                    write.write(self._answer(words))
        except OSError:
            pass  # the other side left

    @staticmethod
    def _command(read: Any) -> list[str]:
        head = read.readline()
        if not head.startswith(b"*"):
            return []
        words = []
        for _ in range(int(head[1:])):
            size = int(read.readline()[1:])
            words.append(read.read(size + 2)[:size].decode())
        return words

    def _answer(self, words: list[str]) -> bytes:
        if words[0].upper() == "INFO":
            keys = {f"db{n}": f"keys={len(found)},expires=0,avg_ttl=0" for n, found in self.databases.items() if found}
            told = {"redis_version": "7.0.15", "redis_mode": "standalone", "loading": 0, "role": "master"}
            told |= {"cluster_enabled": 0, **keys, **self.info}
            text = "# Server\r\n" + "".join(f"{name}:{value}\r\n" for name, value in told.items())
            return f"${len(text)}\r\n{text}\r\n".encode()
        if words[0].upper() == "REPLCONF" and words[1] == "rdb-only" and not self.knows_rdb_only:
            return b"-ERR Unrecognized REPLCONF option: rdb-only\r\n"
        return b"+OK\r\n"

    def _send(self, write: Any) -> None:
        snapshot = bytearray(rdb(self.databases, checksum=self.checksum))
        if self.flips is not None:
            snapshot[self.flips] ^= 1
        write.write(b"\n" * self.signs_of_life + b"+FULLRESYNC " + b"f" * 40 + b" 42\r\n" + b"\n" * self.signs_of_life)
        if self.fails_to_save:
            write.write(b"-BGSAVE failed, replication can't continue\r\n")
            return
        head, foot = (b"$%d\r\n" % len(snapshot), b"") if self.length_is_known else (b"$EOF:%b\r\n" % MARK, MARK)
        whole = bytes(snapshot) + foot
        write.write(head + whole[: self.cuts_after])
        if self.cuts_after is None:
            write.write(self.goes_on_with)
