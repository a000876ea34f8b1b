"""Approving behind an authenticating proxy, over real HTTP: whose name is proven, and all that is refused."""

from __future__ import annotations

import html
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.adapters import desk_http
from onlyvips.core import report, trusting
from onlyvips.core.evidence_page import page_of
from onlyvips.errors import Refused
from onlyvips.steps import opening
from onlyvips.steps.opening import Start
from onlyvips.wiring import commanding, desk, several
from tests.core.broken_environments import PRODUCTION
from tests.procedures.approvals import ASKING, Asked
from tests.procedures.test_approval_many import ASKING as ALL_ASKING
from tests.procedures.theatre import GOOD, IMAGE, OLD
from tests.procedures.troupe import Troupe

ORIGIN = "https://approvals.example.com"
TRUST = trusting.trust("X-Forwarded-User", ["127.0.0.1/32"], ORIGIN)
ADA = ("X-Forwarded-User", "ada@example.com")
FROM_HERE = ("Origin", ORIGIN)


class Pages:
    """The server, and what a browser behind the proxy, or somebody else, sends it."""

    def __init__(self, address: str, woken: list[tuple[str, ...]]) -> None:
        self.address, self.woken = address, woken

    def send(self, method: str, path: str, *headers: tuple[str, str], peer: str = "127.0.0.1", **more: Any) -> Any:
        transport = httpx.HTTPTransport(local_address=peer)
        with httpx.Client(transport=transport, trust_env=False) as client:
            return client.request(method, f"{self.address}{path}", headers=list(headers), **more)

    def form(self, *headers: tuple[str, str]) -> dict[str, str]:
        """What the first form of the page would send."""
        page = self.send("GET", "/", *(headers or (ADA,))).text
        fields = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)[:3]
        return {name: html.unescape(value) for name, value in fields} | {"reason": "seen it"}


@pytest.fixture
def theatre(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """A release that waits for its approval before anything changes."""
    made = Asked(ASKING)
    patched(monkeypatch, made)
    opening.open_release(made.process("first").site, Start(GOOD, "Cy", "run-1", "first"))
    return made


def patched(monkeypatch: pytest.MonkeyPatch, theatre: Any) -> None:
    loaded = environments.from_text(PRODUCTION, "production", "production.yaml")
    monkeypatch.setattr(environments, "load", lambda _: loaded)
    monkeypatch.setattr(environments, "release_plan", lambda *_: theatre.plan)
    monkeypatch.setattr(wiring, "cluster_of", lambda _: theatre.cluster)
    for module in (commanding, several):
        monkeypatch.setattr(module, "SystemClock", lambda: theatre.clock)


@pytest.fixture
def pages() -> Iterator[Pages]:
    woken = list[tuple[str, ...]]()

    def wake(record: Any, by: str, reason: str) -> str:
        woken.append((record.id, by, reason))
        return "Its run was resumed."

    server = uvicorn.Server(desk_http.config(desk.app("production", TRUST, wake), "127.0.0.1", 0))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Pages(f"http://127.0.0.1:{port}", woken)
    server.should_exit = True
    thread.join()


def test_who_the_proxy_names_approves_what_waits_and_the_name_stands_as_proven_everywhere(
    theatre: Asked, pages: Pages
) -> None:
    shown = pages.send("GET", "/", ADA)
    assert shown.status_code == 200 and "You are <strong>ada@example.com</strong>" in shown.text
    assert f"Cy asked for {IMAGE}:{GOOD}; {IMAGE}:{OLD} served" in shown.text
    assert "Wanted before anything changes, until" in shown.text
    said = pages.send("POST", "/approve", ADA, FROM_HERE, data=pages.form())
    record = theatre.record()
    told = "ada@example.com (proven by header X-Forwarded-User of proxy 127.0.0.1)"
    assert said.status_code == 200 and "is approved before anything changes" in said.text, said.text
    assert [(one.by, one.proven, one.reason, one.what) for one in record.commands] == [
        ("ada@example.com", True, "seen it", "traffic")
    ]
    assert pages.woken == [(record.id, "ada@example.com", "seen it")]
    assert told in report.command_line(record.commands[0]) and told in report.advice(record)
    page = page_of({"release": report.summary(record), "written": ""})
    assert f"{told}: seen it" in dict(page.facts)["approved"]


def test_nothing_but_a_post_changes_anything(theatre: Asked, pages: Pages) -> None:
    form = pages.form()
    for method, path in (("GET", "/approve"), ("HEAD", "/"), ("PUT", "/approve"), ("GET", "/"), ("POST", "/")):
        pages.send(method, path, ADA, FROM_HERE, params=form)
    assert theatre.record().commands == ()
    assert pages.send("GET", "/openapi.json", ADA).status_code == 404


BAD: list[tuple[str, str, Callable[[Pages], Any]]] = [
    (
        "did not come from the trusted proxy",
        "not from the proxy",
        lambda it: it.send("POST", "/approve", ADA, FROM_HERE, peer="127.0.0.2", data=it.form()),
    ),
    (
        "did not come from the trusted proxy",
        "a page for another peer",
        lambda it: it.send("GET", "/", ADA, peer="127.0.0.2"),
    ),
    (
        "did not come from the trusted proxy",
        "a peer that claims another address",
        lambda it: it.send("GET", "/", ADA, ("X-Forwarded-For", "127.0.0.1"), peer="127.0.0.2"),
    ),
    ("came 0 times", "no name", lambda it: it.send("POST", "/approve", FROM_HERE, data=it.form())),
    (
        "holds no one name",
        "an empty name",
        lambda it: it.send("POST", "/approve", ("X-Forwarded-User", ""), FROM_HERE, data=it.form()),
    ),
    ("came 2 times", "two names", lambda it: it.send("POST", "/approve", ADA, ADA, FROM_HERE, data=it.form())),
    ("holds no one name", "names in one", lambda it: it.send("GET", "/", ("X-Forwarded-User", "ada, bob"))),
    ("holds no one name", "a long name", lambda it: it.send("GET", "/", ("X-Forwarded-User", "a" * 201))),
    ("not asked for by a page", "no origin", lambda it: it.send("POST", "/approve", ADA, data=it.form())),
    (
        "not asked for by a page",
        "another origin",
        lambda it: it.send("POST", "/approve", ADA, ("Origin", "https://evil.example"), data=it.form()),
    ),
    (
        "not asked for by a page",
        "two origins",
        lambda it: it.send("POST", "/approve", ADA, FROM_HERE, FROM_HERE, data=it.form()),
    ),
    (
        "not asked for by a page",
        "another site",
        lambda it: it.send("POST", "/approve", ADA, FROM_HERE, ("Sec-Fetch-Site", "cross-site"), data=it.form()),
    ),
    (
        "was not shown to you",
        "no token",
        lambda it: it.send("POST", "/approve", ADA, FROM_HERE, data={**it.form(), "token": "x"}),
    ),
    (
        "was not shown to you",
        "the token of somebody else",
        lambda it: it.send("POST", "/approve", ADA, FROM_HERE, data=it.form(("X-Forwarded-User", "eve"))),
    ),
    (
        "was not shown to you",
        "the token of another point",
        lambda it: it.send("POST", "/approve", ADA, FROM_HERE, data={**it.form(), "before": "50"}),
    ),
    (
        "says why",
        "no reason",
        lambda it: it.send("POST", "/approve", ADA, FROM_HERE, data={**it.form(), "reason": " "}),
    ),
    (
        "and nothing else",
        "more than a form has",
        lambda it: it.send("POST", "/approve", ADA, FROM_HERE, data={**it.form(), "by": "eve"}),
    ),
    (
        "says something twice",
        "a field twice",
        lambda it: it.send("POST", "/approve", ADA, FROM_HERE, data={**it.form(), "reason": ["one", "two"]}),
    ),
    ("no form of this page", "another type", lambda it: it.send("POST", "/approve", ADA, FROM_HERE, json=it.form())),
    (
        "too large",
        "too large",
        lambda it: it.send("POST", "/approve", ADA, FROM_HERE, data={**it.form(), "reason": "x" * 20_000}),
    ),
]


@pytest.mark.parametrize(("why", "ask"), [(why, one) for why, _, one in BAD], ids=[name for _, name, _ in BAD])
def test_what_does_not_come_from_a_page_of_ours_by_the_proxy_is_refused(
    theatre: Asked, pages: Pages, why: str, ask: Callable[[Pages], Any]
) -> None:
    answer = ask(pages)
    assert why in answer.text and "nothing was noted" in answer.text
    assert answer.status_code == 403 and theatre.record().commands == () and pages.woken == []
    assert theatre.record().id not in answer.text, "whoever is refused learns nothing of releases"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


def test_a_form_of_what_waits_no_more_is_refused_and_a_second_approval_is_said(theatre: Asked, pages: Pages) -> None:
    form = pages.form()
    assert pages.send("POST", "/approve", ADA, FROM_HERE, data=form).status_code == 200
    again = pages.send("POST", "/approve", ADA, FROM_HERE, data=form)
    assert again.status_code == 200 and "was approved before anything changes already" in again.text
    theatre.abort()
    late = pages.send("POST", "/approve", ADA, FROM_HERE, data=form)
    assert late.status_code == 403 and "waits for no such approval any more" in late.text
    assert [one.name for one in theatre.record().commands] == ["approve", "abort"]


def test_a_release_of_all_is_approved_there_too(monkeypatch: pytest.MonkeyPatch, pages: Pages) -> None:
    theatre = Troupe(ALL_ASKING)
    patched(monkeypatch, theatre)
    monkeypatch.setattr(environments, "many_plan", lambda *_: theatre.many)
    several.many.open_many(theatre.actor("first").many, Start(GOOD, "Cy", "run-1", "first"))
    said = pages.send("POST", "/approve", ADA, FROM_HERE, data=pages.form())
    assert said.status_code == 200, said.text
    (command,) = theatre.group().commands
    assert (command.by, command.proven, command.proof) == (
        "ada@example.com",
        True,
        "header X-Forwarded-User of proxy 127.0.0.1",
    )


@pytest.mark.parametrize(
    ("header", "proxies", "origin"),
    [
        ("X User", ["10.0.0.5"], ORIGIN),
        ("", ["10.0.0.5"], ORIGIN),
        ("X-User", [], ORIGIN),
        ("X-User", ["0.0.0.0/0"], ORIGIN),
        ("X-User", ["10.0.0.5/8"], ORIGIN),
        ("X-User", ["proxy"], ORIGIN),
        ("X-User", ["10.0.0.5"], "approvals.example.com"),
        ("X-User", ["10.0.0.5"], f"{ORIGIN}/"),
    ],
)
def test_who_is_trusted_has_to_be_said_exactly(header: str, proxies: list[str], origin: str) -> None:
    with pytest.raises(Refused, match="nothing was started"):
        trusting.trust(header, proxies, origin)
