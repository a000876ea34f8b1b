"""An HTTP proxy on loopback that can go wrong: what stands before a real store in tests of faults."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["", "answers 500", "answers 503", "drops the connection", "stalls", "is down"]
_ERROR = "<Error><Code>{code}</Code><Message>made for a test</Message></Error>"
_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


class Proxy:
    """Passes everything on until ``fault`` is set; then each write to a key with ``among`` in it goes wrong so."""

    def __init__(self, target: str, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.target = urlsplit(target).netloc
        self.fault: Fault = ""
        self.among = "/objects/"
        self.met = 0
        self.over = threading.Event()

    def goes_wrong(self, request: str, path: str) -> bool:
        """Whether this request meets the fault."""
        if not self.fault or (self.fault != "is down" and not (request == "PUT" and self.among in path)):
            return False
        self.met += 1
        return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    proxy: Proxy

    def _pass(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if self.proxy.goes_wrong(self.command, self.path):
            self._go_wrong(length)
            return
        body = self.rfile.read(length)
        target = http.client.HTTPConnection(self.proxy.target, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            target.request(self.command, self.path, body, headers)
            answer = target.getresponse()
            self._answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            target.close()

    def _go_wrong(self, length: int) -> None:
        self.close_connection = True
        fault = self.proxy.fault
        if fault.startswith("answers"):
            self.rfile.read(length)
            code = {"answers 500": "InternalError", "answers 503": "SlowDown"}[fault]
            self._answer(int(fault[-3:]), {}, _ERROR.format(code=code).encode())
            return
        self.rfile.read(length // 2)
        if fault == "stalls":
            self.proxy.over.wait(60)
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _HOP | {"content-length"}:
                self.send_header(name, value)
        # A HEAD tells the length of what it does not send.
        self.send_header("Content-Length", headers.get("Content-Length", "0") if not body else str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815 - names of http.server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # clients that come all at once

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is what these tests are about."""


@contextmanager
def proxy_of(target: str) -> Iterator[Proxy]:
    """A proxy in front of the server at ``target``."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    handler.proxy = proxy = Proxy(target, server)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
