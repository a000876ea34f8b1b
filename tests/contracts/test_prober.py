"""The prober's contract: a request by the users' way, simulated and over HTTP."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from onlyvips.adapters.metrics_prometheus import PrometheusMetrics
from onlyvips.adapters.prober_http import HttpProber
from onlyvips.core.colours import HEADER
from onlyvips.errors import Transient
from onlyvips.ports.prober import Prober
from tests.procedures.theatre_blue_green import Colours
from tests.simulators.platform import Version


class Site(BaseHTTPRequestHandler):
    """The same site as the simulated platform's: a page, and a preview for those who send its header."""

    def do_GET(self) -> None:
        value = self.headers.get(HEADER)
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/who":
            self.send_response(200)
            self.send_header("X-Who", self.headers.get("Authorization", ""))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = b"x" * (3 << 20) if self.path == "/big" else f"<html> {self.path}".encode()
        self.send_response(500 if self.path == "/broken" else 200)
        if value == "r1":
            self.send_header(HEADER, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """One line a request would say nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    """The address of a site over HTTP."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def simulated() -> Prober:
    theatre = Colours()
    match = {"headers": [{"type": "Exact", "name": HEADER, "value": "r1"}]}
    told = {"responseHeaderModifier": {"set": [{"name": HEADER, "value": "r1"}]}}
    rule = {"matches": [match], "filters": [told], "backendRefs": [{"name": "main-app"}]}
    theatre._make("HTTPRoute", "panel-preview", spec={"rules": [rule]})
    theatre.settle()
    return theatre.platform


@pytest.fixture(params=["simulated", "http"])
def prober(request: pytest.FixtureRequest) -> Prober:
    """One that has a site to ask."""
    return simulated() if request.param == "simulated" else HttpProber(request.getfixturevalue("site"))


def test_an_answer_has_its_status_its_body_and_says_by_which_way_it_came(prober: Prober) -> None:
    plain, preview = prober.get("/panel", {}), prober.get("/panel", {HEADER: "r1"})
    assert (plain.status, plain.body) == (200, "<html> /panel")
    assert HEADER.lower() not in plain.headers
    assert preview.headers[HEADER.lower()] == "r1"
    assert HEADER.lower() not in prober.get("/panel", {HEADER: "r2"}).headers


def test_an_error_of_the_site_is_an_answer(site: str) -> None:
    assert HttpProber(site).get("/broken", {}).status == 500
    theatre = Colours()
    theatre.platform.versions["v0.8.0"] = Version(page=(500, "down"))
    assert theatre.platform.get("/", {}).status == 500


def test_redirects_are_not_followed_and_long_bodies_not_read_to_their_end(site: str) -> None:
    prober = HttpProber(site)
    assert prober.get("/away", {}).status == 302
    assert len(prober.get("/big", {}).body) == 1 << 20


def test_no_answer_is_transient() -> None:
    with pytest.raises(Transient, match="did not answer: ConnectError"):
        HttpProber("http://127.0.0.1:1").get("/", {})


def test_a_password_in_the_address_is_sent_and_stands_in_no_message_and_no_log(
    site: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = HttpProber(site.replace("http://", "http://smoke:hunter%402@")).get("/who", {})
    assert answer.headers["x-who"] == f"Basic {base64.b64encode(b'smoke:hunter@2').decode()}"
    for ask in (
        lambda: HttpProber("http://smoke:hunter%402@127.0.0.1:1").get("/", {}),
        lambda: PrometheusMetrics("http://smoke:hunter%402@127.0.0.1:1").now(),
    ):
        with pytest.raises(Transient, match=r"http://127.0.0.1:1/? did not answer") as told:
            ask()
        assert "hunter" not in f"{told.value!r} {told.value.__cause__!r}" and "smoke" not in str(told.value)
    assert "hunter" not in caplog.text and "127.0.0.1" in caplog.text
