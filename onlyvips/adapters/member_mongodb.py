"""One member of a replica set, chosen once: everything is read from it, or nothing.

The member is the one that the URI's own ``readPreference`` selects (the primary, where it says nothing).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pymongo import MongoClient, ReadPreference
from pymongo.errors import ConnectionFailure
from pymongo.uri_parser import parse_uri

_URI = re.compile(
    r"mongodb(?P<srv>\+srv)?://(?P<user>.*@)?(?P<hosts>[^/?@]+)(?:/(?P<database>[^?]*))?(?:\?(?P<options>.*))?"
)
_OF_A_SET = ("replicaset", "directconnection", "loadbalanced", "srvmaxhosts", "srvservicename", "readpreference")
_OF_A_SET_TOO = ("readpreferencetags", "maxstalenessseconds")


def chosen(client: Any, uri: str, options: Mapping[str, Any], wanted: str = "", writes: bool = False) -> Any:
    """A client that talks to one member alone: ``wanted`` where that one answers, else what the preference selects; for
    ``writes`` the primary.

    ``client`` itself, where there is no replica set, or where the URI names one server directly.
    """
    asked = ReadPreference.PRIMARY if writes else client.read_preference
    hello = client.admin.command("hello", read_preference=asked)
    if "me" not in hello or "directconnection=true" in uri.lower():
        return client
    if wanted and wanted in hello.get("hosts", ()):
        direct: Any = MongoClient(at_member(uri, wanted), directConnection=True, **options)
        try:
            direct.admin.command("hello")
        except ConnectionFailure:
            direct.close()
        else:
            return direct
    return MongoClient(at_member(uri, str(hello["me"])), directConnection=True, **options)


def at_member(uri: str, address: str) -> str:
    """The same URI with one host: credentials and options stay, what is about a set of servers goes."""
    found = _URI.fullmatch(uri)
    if found is None:
        raise ValueError("this is no URI of MongoDB")
    asked = [one for one in (found["options"] or "").split("&") if one]
    kept = [one for one in asked if one.partition("=")[0].lower() not in (*_OF_A_SET, *_OF_A_SET_TOO)]
    if found["srv"]:
        kept += _of_dns(uri, {one.partition("=")[0].lower() for one in kept})
    return f"mongodb://{found['user'] or ''}{address}/{found['database'] or ''}?{'&'.join(kept)}".rstrip("?")


def _of_dns(uri: str, given: set[str]) -> list[str]:
    """What a mongodb+srv address says beside its hosts: TLS, and the database of its users."""
    added = [] if given & {"tls", "ssl"} else ["tls=true"]
    source = parse_uri(uri)["options"].get("authsource")
    return added if "authsource" in given or not source else [*added, f"authSource={source}"]


def identity(hello: Mapping[str, Any]) -> str:
    """Which process answered: the member's name and its process's id, as far as the server tells them."""
    name, process = hello.get("me", ""), hello.get("topologyVersion", {}).get("processId", "")
    return f"{name}#{process}" if name or process else ""
