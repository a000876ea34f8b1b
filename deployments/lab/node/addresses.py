"""Which loopback addresses are ours: 127.1.x.0/24 for the lab, one y for each pod.

Several labs live on one machine. The kernel arbitrates: whoever listens on 127.1.x.1:17250 owns the block, and stops
owning it when it dies, however it dies.
"""

import asyncio
import hashlib
import socket
from pathlib import Path

PORT = 17250


class Block:
    """The addresses of one lab. An address comes back only after all others were used: a gateway that is late with the
    news must meet silence there, not another pod."""

    def __init__(self, door: socket.socket, network: str) -> None:
        self.door = door
        self.network = network
        self.taken: set[str] = set()
        self.next = 2

    @property
    def own(self) -> str:
        """The node's own address."""
        return f"{self.network}.1"

    def allocate(self, wanted: str | None = None) -> str:
        """The address a pod had before the node restarted when it is of this block and free, else a fresh one."""
        if wanted and wanted.startswith(f"{self.network}.") and wanted not in self.taken:
            self.next = max(self.next, int(wanted.rsplit(".", 1)[1]))
            self.taken.add(wanted)
            return wanted
        for _ in range(253):
            self.next = 2 if self.next >= 254 else self.next + 1
            address = f"{self.network}.{self.next}"
            if address not in self.taken:
                self.taken.add(address)
                return address
        raise RuntimeError(f"all 253 addresses of {self.network}.0/24 are in use")

    def release(self, address: str) -> None:
        """The pod is gone."""
        self.taken.discard(address)

    async def serve_health(self) -> asyncio.Server:
        """Answer `GET /healthz` at the door, so that who waits for the node can ask it."""

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
            writer.close()

        return await asyncio.start_server(answer, sock=self.door)


def take(home: Path) -> Block:
    """The first block nobody else has, starting from one that depends on the home, so that a lab keeps its own."""
    start = hashlib.sha256(str(home).encode()).digest()[0]
    for step in range(256):
        network = f"127.1.{(start + step) % 256}"
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((f"{network}.1", PORT))
        except OSError:
            door.close()
            continue
        door.listen()
        door.setblocking(False)
        return Block(door, network)
    raise RuntimeError(f"no free block 127.1.x.0/24: something listens on port {PORT} of each")
