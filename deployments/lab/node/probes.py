"""Asking a container whether it has started, lives, and is ready; and telling it, before it stops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from node.api import Object
from node.process import run

Ask = Callable[[], Awaitable[bool]]


def port_of(container: Object, port: int | str) -> int:
    """A port by its number or by its name in the container."""
    if isinstance(port, int):
        return port
    return next((p["containerPort"] for p in container.get("ports", ()) if p.get("name") == port), 0) or int(port)


async def _connects(host: str, port: int) -> bool:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    return True


async def _answers(host: str, port: int, path: str) -> bool:
    """Whether GET is answered by a status from 200 to 399."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        status = (await reader.readline()).split(b" ")
        return len(status) > 1 and 200 <= int(status[1]) < 400
    finally:
        writer.close()


async def act(handler: Object, container: Object, address: str, environment: dict[str, str], seconds: float) -> bool:
    """Do what a probe or a lifecycle hook says, once; whether it went well in time."""
    if "exec" in handler:
        return await run(handler["exec"]["command"], environment, environment["POD_ROOT"], seconds)
    if "sleep" in handler:
        await asyncio.sleep(min(handler["sleep"]["seconds"], seconds))
        return True
    kind = "httpGet" if "httpGet" in handler else "tcpSocket"
    target = handler[kind]
    host, port = target.get("host", address), port_of(container, target["port"])
    call = _answers(host, port, target.get("path", "/")) if kind == "httpGet" else _connects(host, port)
    try:
        return await asyncio.wait_for(call, seconds)
    except (OSError, TimeoutError, ValueError):
        return False


async def opinions(probe: Object, ask: Ask, eager: bool = False) -> AsyncIterator[bool]:
    """Ask for ever; yield each change of opinion, first of all the first one. `eager` asks four times a second until
    the first success: a readiness probe's early failures change nothing, and tests should not wait for its period."""
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    needed = {True: probe.get("successThreshold", 1), False: probe.get("failureThreshold", 3)}
    period = max(probe.get("periodSeconds", 10), 1)
    opinion, last, streak = None, None, 0
    while True:
        good = await ask()
        eager = eager and not good
        streak = streak + 1 if good is last else 1
        last = good
        if good is not opinion and streak >= needed[good]:
            opinion = good
            yield good
        await asyncio.sleep(0.25 if eager else period)
