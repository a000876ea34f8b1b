"""The few calls of the Kubernetes API that a node needs, in plain JSON.

Not the official client: importing its models costs a second, decoding with them milliseconds a pod, and a node hands
objects on rather than looking inside them.
"""

import asyncio
import base64
import json
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import yaml

Object = dict[str, Any]
log = logging.getLogger("node.api")

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class Refused(Exception):
    """The apiserver answered, and the answer was no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """One apiserver. An apiserver that is away is waited for: a node has nothing better to do meanwhile."""

    def __init__(self, kubeconfig: Path) -> None:
        self.cluster, user = _current(kubeconfig)
        self.authority = _bytes(self.cluster, "certificate-authority")
        token = user.get("token") or (Path(user["tokenFile"]).read_text().strip() if "tokenFile" in user else "")
        self.client = httpx.AsyncClient(
            base_url=self.cluster["server"],
            headers={"Authorization": f"Bearer {token}"} if token else {},
            verify=_trust(self.cluster, user, self.authority),
            limits=httpx.Limits(max_connections=None),
            timeout=10,
            trust_env=False,
        )

    async def __aenter__(self) -> "Api":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def get(self, path: str) -> Object:
        """Read an object or a list."""
        return await self._ask("GET", path)

    async def create(self, path: str, body: Object) -> Object:
        """POST, which Refused(409) answers when the object is there already."""
        return await self._ask("POST", path, body)

    async def patch(self, path: str, body: Object, kind: str = MERGE) -> Object:
        """Change some fields."""
        return await self._ask("PATCH", path, body, kind)

    async def remove(self, path: str, body: Object) -> None:
        """DELETE; the object being away already is what was wanted."""
        try:
            await self._ask("DELETE", path, body)
        except Refused as refused:
            if refused.status not in (404, 409):
                raise

    async def _ask(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        """One request, repeated until the apiserver answers it: every one of ours is idempotent or conditional."""
        content = None if body is None else json.dumps(body)
        delay = 0.1
        while True:
            try:
                answer = await self.client.request(method, path, content=content, headers={"Content-Type": kind})
                if answer.status_code < 400:
                    return answer.json()
                if answer.status_code < 500 and answer.status_code != 429:
                    raise Refused(answer.status_code, _message(answer))
            except httpx.TransportError as error:
                log.info("%s %s: %s, again in %.1f s", method, path, type(error).__name__, delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 2.0)

    async def follow(self, path: str) -> AsyncIterator[tuple[str, Any]]:
        """LISTED with all objects, then each change, for ever; LISTED again after a gap, so deletions can be found."""
        version = ""
        while True:
            if not version:
                listing = await self.get(path)
                version = listing["metadata"]["resourceVersion"]
                yield "LISTED", listing["items"]
            try:
                async for event in self._watch(path, version):
                    if event["type"] == "ERROR":
                        version = ""
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield event["type"], event["object"]
            except httpx.TransportError as error:
                log.info("watch of %s: %s, reconnecting", path, type(error).__name__)
                await asyncio.sleep(0.3)

    async def _watch(self, path: str, version: str) -> AsyncIterator[Object]:
        params = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": "300"}
        timeout = httpx.Timeout(10, read=None)
        async with self.client.stream("GET", path, params=params, timeout=timeout) as answer:
            if answer.status_code != 200:
                await asyncio.sleep(0.3)
                yield {"type": "ERROR"}
                return
            async for line in answer.aiter_lines():
                yield json.loads(line)


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("message", ""))
    except ValueError:
        return answer.text[:200]


def _current(kubeconfig: Path) -> tuple[Object, Object]:
    """The cluster and user of the current context."""
    document = yaml.safe_load(kubeconfig.read_text())

    def named(section: str, name: str, key: str) -> Object:
        return next(entry[key] for entry in document[section] if entry["name"] == name) or {}

    context = named("contexts", document["current-context"], "context")
    return named("clusters", context["cluster"], "cluster"), named("users", context["user"], "user")


def _bytes(section: Object, key: str) -> bytes | None:
    """A certificate given inline or as a file."""
    if f"{key}-data" in section:
        return base64.b64decode(section[f"{key}-data"])
    return Path(section[key]).read_bytes() if key in section else None


def _trust(cluster: Object, user: Object, authority: bytes | None) -> ssl.SSLContext | bool:
    if not cluster["server"].startswith("https"):
        return False
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    return context
