"""An HTTP server of our own that people are told things at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


@dataclass
class Webhook:
    """An HTTP server that keeps what is posted, and answers as told."""

    status: int = 200
    posted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    silent: Event = field(default_factory=Event)
    done: Event = field(default_factory=Event)

    def serve(self) -> ThreadingHTTPServer:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.silent.is_set():
                    hook.done.wait(30)
                    return
                if hook.status == 200:
                    hook.posted.append((self.path, json.loads(body)))
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Not on the terminal."""

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@contextmanager
def listening() -> Iterator[tuple[Webhook, int]]:
    """A webhook that listens on loopback while the block runs, and its port."""
    hook = Webhook()
    server = hook.serve()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hook, server.server_port
    finally:
        hook.done.set()
        server.shutdown()
        thread.join()
        server.server_close()
