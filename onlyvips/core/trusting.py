"""Who sent a request, when an authenticating proxy says so in a header: believed of that proxy alone. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from onlyvips.errors import Refused

_LONGEST = 200
Header = tuple[str, str]
"""Name in small letters, and value."""


@dataclass(frozen=True)
class Trust:
    """``header`` names who is there, where a proxy in ``proxies`` sent it; people reach this by way of ``origin``."""

    header: str
    proxies: tuple[IPv4Network | IPv6Network, ...]
    origin: str


def trust(header: str, proxies: Sequence[str], origin: str) -> Trust:
    """From what a person typed. Raises Refused with what is wrong."""
    if not header or not all(one.isascii() and (one.isalnum() or one == "-") for one in header):
        raise Refused(f"`{header}` is no name of a header: give one such as X-Forwarded-User; nothing was started.")
    try:
        networks = tuple(ip_network(one) for one in proxies)
    except ValueError as error:
        raise Refused(f"{error}: give the proxy as 10.0.0.5/32 or the like; nothing was started.") from error
    if not networks or any(one.prefixlen == 0 for one in networks):
        raise Refused("Say which proxy is trusted, and not everybody: nothing was started.")
    scheme, mark, host = origin.partition("://")
    if scheme not in ("https", "http") or not mark or not host or "/" in host:
        raise Refused(f"`{origin}` is no origin: give one such as https://approvals.example.com; nothing was started.")
    return Trust(header, networks, origin)


def who(asked: Trust, peer: str, headers: Sequence[Header]) -> str:
    """The name that the proxy vouches for. Raises Refused for a request from anywhere else, or without exactly one."""
    try:
        known = any(ip_address(peer) in one for one in asked.proxies)
    except ValueError:
        known = False
    if not known:
        raise Refused("This request did not come from the trusted proxy: nothing was noted.")
    found = [value for name, value in headers if name == asked.header.lower()]
    if len(found) != 1:
        raise Refused(f"{asked.header} came {len(found)} times, and exactly one is believed: nothing was noted.")
    name = found[0]
    clean = name.isprintable() and not {",", ";", "\ufffd"} & {*name}
    if not clean or not name or len(name) > _LONGEST or name != name.strip():
        raise Refused(f"{asked.header} holds no one name: nothing was noted.")
    return name


def proof(asked: Trust, peer: str) -> str:
    """What is written down beside the name."""
    return f"header {asked.header} of proxy {peer}"


def check_origin(asked: Trust, headers: Sequence[Header]) -> None:
    """Raise Refused for a change that another site's page asked for: a browser says whose page it was."""
    origins = [value for name, value in headers if name == "origin"]
    sites = [value for name, value in headers if name == "sec-fetch-site"]
    if origins != [asked.origin] or any(site != "same-origin" for site in sites):
        raise Refused(f"This was not asked for by a page of {asked.origin}: nothing was noted.")


def token(secret: bytes, name: str, release: str, point: str) -> str:
    """What a form carries, so that only a page that was shown to ``name`` can approve that ``point``."""
    text = "\x00".join((name, release, point))
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def check_token(secret: bytes, name: str, release: str, point: str, given: str) -> None:
    """Raise Refused where it is another one."""
    if not hmac.compare_digest(token(secret, name, release, point).encode(), given.encode()):
        raise Refused("This form was not shown to you by this program as it runs now: look again, nothing was noted.")
