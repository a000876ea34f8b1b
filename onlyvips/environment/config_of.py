"""What an environment's file says of a release's ConfigMaps: texts, files and folders of files, never a secret."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from onlyvips.environment.base import Name, Section
from onlyvips.environment.references import is_reference, parse

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}", re.ASCII)
_SECRET = re.compile(r"PRIVATE KEY-----|AGE-SECRET-KEY-1|\beyJ[\w-]{10,}\.[\w-]{10,}|//[^/@\s:]*:[^/@\s]+@")
_TELLS = "looks like a secret (it is not shown), and everybody may read a ConfigMap: put it into release.secrets"


def is_key(name: str) -> bool:
    """Whether a ConfigMap can have this key."""
    return bool(_KEY.fullmatch(name))


def looks_secret(text: str) -> str:
    """Why a text cannot be in a ConfigMap, "" where nothing speaks against it: a private key, a signed token, a URL
    with a password."""
    return _TELLS if _SECRET.search(text) else ""


def _key(text: str) -> str:
    if not is_key(text):
        raise ValueError("a key of a ConfigMap is 1 to 253 letters, digits, -, _ and ., and does not begin with a dot")
    return text


def _value(text: str) -> str:
    if is_reference(text) and parse(text).scheme != "file":
        raise ValueError("a ConfigMap takes text, or file:/path; what has to be referred to otherwise is a secret")
    if why := looks_secret(text):
        raise ValueError(f"this {why}")
    return text


def _folder(text: str) -> str:
    if not text.startswith(("/", "~/")) or "\0" in text or "\n" in text:
        raise ValueError("a folder is an absolute path, or below ~: it has to mean the same for every worker")
    return text


class ConfigOfRelease(Section):
    """A new ConfigMap: the pods' templates refer to ``replaces`` today, or to ``replaces`` or ``name`` with a hash.

    ``values`` are texts, or ``file:/path`` for what a file holds; ``folder`` adds each of its files under its name.
    """

    name: Name
    replaces: Name
    values: dict[Annotated[str, AfterValidator(_key)], Annotated[str, AfterValidator(_value)]] = {}
    folder: Annotated[str, AfterValidator(_folder)] | None = None
