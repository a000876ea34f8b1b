"""The pages of approvals, behind an authenticating proxy: a GET shows what waits, a POST approves one of it.

Whose request it is, is told by the peer of the connection and by one header; nothing else of a request is believed.
Whoever is not that proxy learns nothing. Each form holds a token, and a POST must name our own origin.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from jinja2 import Environment, StrictUndefined

from onlyvips.core import trusting
from onlyvips.core.desk import Wait
from onlyvips.core.trusting import Header, Trust
from onlyvips.errors import OnlyVipsError, Refused

App = FastAPI
Waiting = Callable[[], Sequence[Wait]]
Approve = Callable[[Wait, str, str, str], str]

_LARGEST = 16 * 1024
"""Bytes of a form."""
_FORM = "application/x-www-form-urlencoded"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = Environment(autoescape=True, undefined=StrictUndefined).from_string("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Approvals of {{ environment }}</title>
<style>body{font:16px/1.5 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}
section{border-top:1px solid #999;padding:1em 0}</style>
<h1>Approvals of {{ environment }}</h1>
{% if who %}<p>You are <strong>{{ who }}</strong>, as the proxy says.</p>{% endif %}
{% if said %}<p role="status"><strong>{{ said }}</strong></p>{% endif %}
{% for wait, token in waits %}<section><h2>{{ wait.release }}</h2>
{% for line in wait.told %}<p>{{ line }}</p>{% endfor %}
<form method="post" action="approve"><input type="hidden" name="release" value="{{ wait.release }}">
<input type="hidden" name="before" value="{{ wait.point }}"><input type="hidden" name="token" value="{{ token }}">
<label>Why <input name="reason" required maxlength="500" size="50"></label> <button>Approve</button></form></section>
{% else %}{% if who %}<p>Nothing waits for an approval.</p>{% endif %}{% endfor %}</html>""")


def app(environment: str, trust: Trust, waiting: Waiting, approve: Approve) -> App:
    """The application; ``approve`` is given what waits, who, the proof of that, and why."""
    found = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    secret = secrets.token_bytes(32)

    def page(who: str, waits: Sequence[Wait], said: str, status: int) -> HTMLResponse:
        forms = [(wait, trusting.token(secret, who, wait.release, wait.point)) for wait in waits]
        text = _PAGE.render(environment=environment, who=who, waits=forms, said=said)
        return HTMLResponse(text, status, _HEADERS)

    def known(request: Request) -> str:
        return trusting.who(trust, _peer(request), _headers(request))

    @found.exception_handler(OnlyVipsError)
    def refused(_: Request, error: Exception) -> HTMLResponse:
        return page("", (), str(error), 403 if isinstance(error, Refused) else 503)

    @found.get("/")
    def show(request: Request) -> HTMLResponse:
        who = known(request)
        return page(who, waiting(), "", 200)

    @found.post("/approve")
    async def approves(request: Request) -> HTMLResponse:
        who = known(request)
        trusting.check_origin(trust, _headers(request))
        asked = await _form(request)
        trusting.check_token(secret, who, asked["release"], asked["before"], asked["token"])
        proof = trusting.proof(trust, _peer(request))
        return await run_in_threadpool(lambda: _decided(who, asked, proof))

    def _decided(who: str, asked: dict[str, str], proof: str) -> HTMLResponse:
        place = (asked["release"], asked["before"])
        wait = next((one for one in waiting() if (one.release, one.point) == place), None)
        if wait is None:
            raise Refused(f"Release {place[0]} waits for no such approval any more: nothing was noted.")
        said = approve(wait, who, proof, asked["reason"])
        return page(who, waiting(), said, 200)

    return found


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _headers(request: Request) -> list[Header]:
    return [(name.decode("latin-1").lower(), value.decode("utf-8", "replace")) for name, value in request.headers.raw]


async def _form(request: Request) -> dict[str, str]:
    """Its fields, each once. Raises Refused for anything else."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != _FORM:
        raise Refused("That is no form of this page: nothing was noted.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST:
            raise Refused("That form is too large: nothing was noted.")
    try:
        fields = parse_qs(body.decode(), strict_parsing=True, max_num_fields=8)
        once = {name: value for name, (value,) in fields.items()}
    except ValueError as error:
        raise Refused("That form says something twice, or nothing at all: nothing was noted.") from error
    if {*once} != {"release", "before", "token", "reason"} or not once["reason"].strip():
        raise Refused("Who approves says why, and nothing else: nothing was noted.")
    return {**once, "reason": once["reason"].strip()}


def config(found: App, host: str, port: int, **more: Any) -> uvicorn.Config:
    """How it is served: the peer is whoever connected, whatever headers say of it."""
    quiet = {"log_level": "warning", "access_log": False, "server_header": False}
    limits = {"limit_concurrency": 50, "timeout_keep_alive": 5}
    return uvicorn.Config(found, host, port, proxy_headers=False, **{**quiet, **limits, **more})


def serve(found: App, host: str, port: int) -> None:
    """Until the process is ended."""
    uvicorn.Server(config(found, host, port)).run()
