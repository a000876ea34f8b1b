"""References to secrets and endpoints: an environment's file says where a value is, never what it is.

``env:NAME``, ``file:/path``, ``vault:mount/path#key``, ``ssm:/name``, ``kubernetes:secret/key``. All five parse;
``env`` and ``file`` resolve, the others are refused when they are resolved.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, SecretStr

from onlyvips.errors import Refused

Scheme = Literal["env", "file", "vault", "ssm", "kubernetes"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

_SHAPES: dict[Scheme, tuple[re.Pattern[str], str]] = {
    "env": (re.compile(r"[A-Za-z_][A-Za-z0-9_]*"), "env:NAME, a variable's name"),
    "file": (re.compile(r"(?:/|~/)[^\0\n]+"), "file:/path, absolute or below ~"),
    "vault": (re.compile(r"[\w.-]+/[\w./-]+#[\w.-]+"), "vault:mount/path#key"),
    "ssm": (re.compile(r"/[\w./-]+"), "ssm:/name"),
    "kubernetes": (re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[\w.-]+"), "kubernetes:secret/key"),
}
_URL_SCHEMES = ("http", "https", "mongodb", "mongodb+srv", "redis", "rediss")


@dataclass(frozen=True)
class Reference:
    """Where a value is: the scheme and the rest of the text."""

    scheme: Scheme
    target: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.target}"


def parse(text: str) -> Reference:
    """The reference that ``text`` writes. Raises ValueError without ``text``, which may be the secret itself."""
    scheme, colon, target = text.partition(":")
    if not colon or scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, SCHEMES, n=1) if colon else []
        hint = f"; did you mean `{near[0]}:`?" if near else ""
        raise ValueError(
            "a secret must be a reference (env:NAME, file:/path, vault:mount/path#key, ssm:/name, "
            f"kubernetes:secret/key), never the value itself, which is not shown here{hint}"
        )
    shape, form = _SHAPES[scheme]
    if not shape.fullmatch(target):
        raise ValueError(f"this reference is not written as {form} (what stands there is not shown)")
    return Reference(scheme, target)


def is_reference(text: str) -> bool:
    """Whether ``text`` begins as a reference does: a known scheme and a colon."""
    return text.partition(":")[0] in SCHEMES and ":" in text


def resolve(reference: Reference, lookup: Callable[[str], str | None]) -> SecretStr:
    """The value. ``lookup`` answers ``env:`` names. Raises Refused, naming the reference, when there is none."""
    if reference.scheme == "env":
        value = lookup(reference.target)
        if not value:
            raise Refused(f"{reference} is not set: put {reference.target} into this process's environment.")
        return SecretStr(value)
    if reference.scheme == "file":
        return _from_file(reference)
    raise Refused(
        f"{reference} cannot be read: {reference.scheme}: references are not supported yet; use env: or file:."
    )


def _from_file(reference: Reference) -> SecretStr:
    path = Path(reference.target).expanduser()
    try:
        value = path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Refused(f"{reference} cannot be read: {reason}.") from None
    if not value:
        raise Refused(f"{reference} is empty.")
    return SecretStr(value)


def _secret(text: str) -> str:
    return str(parse(text))


def _endpoint(text: str) -> str:
    """A reference, or a plain URL that carries no password."""
    if is_reference(text):
        return str(parse(text))
    url = urlsplit(text)
    if re.search(r"\s", text) or not _has_good_port(url):
        raise ValueError("this URL has a space in it, or a port that is no number from 1 to 65535")
    if url.scheme not in _URL_SCHEMES or not url.hostname:
        raise ValueError(f"an endpoint is a reference or a URL ({', '.join(_URL_SCHEMES)}) with a host")
    if url.password or url.username:
        raise ValueError("this URL carries a user or a password (not shown): make it a reference")
    if url.query or url.fragment:
        raise ValueError("this URL carries a query or a fragment (not shown), where secrets hide: make it a reference")
    return text


def _has_good_port(url: SplitResult) -> bool:
    try:
        return url.port != 0
    except ValueError:
        return False


def _kubeconfig(text: str) -> str:
    return text if text == "automatic" else _secret(text)


def _path(text: str) -> str:
    """A reference, or a path that means the same wherever the process was started."""
    if is_reference(text):
        return str(parse(text))
    if not text.startswith(("/", "~/")):
        raise ValueError("a path is absolute, below ~, or a reference to one")
    return text


def _public_key(text: str) -> str:
    """The public key of a pair that signs records of drills, or a reference to one."""
    if re.fullmatch(r"ed25519:[A-Za-z0-9+/]{43}=", text):
        return text
    if text.startswith("ed25519-private:"):
        raise ValueError("this is a signing key, a secret, where its public half belongs: replace that key now")
    return str(parse(text))


def _recipient(text: str) -> str:
    """An age public key, or a reference to one."""
    if re.fullmatch(r"age1[02-9ac-hj-np-z]{58}", text):
        return text
    if text.upper().startswith("AGE-SECRET-KEY-"):
        raise ValueError("this is an age identity, a secret, where its public recipient belongs: replace that key now")
    return str(parse(text))


SecretReference = Annotated[str, AfterValidator(_secret)]
"""A reference; a plain value is refused."""
Endpoint = Annotated[str, AfterValidator(_endpoint)]
"""A URL without a password, or a reference to one."""
Kubeconfig = Annotated[str, AfterValidator(_kubeconfig)]
"""``automatic`` (KUBECONFIG, ~/.kube/config, or the pod's own account) or a reference to a kubeconfig's path."""
PathReference = Annotated[str, AfterValidator(_path)]
"""An absolute path, or a reference to one."""
Recipient = Annotated[str, AfterValidator(_recipient)]
"""An age public key, or a reference to one."""
PublicKey = Annotated[str, AfterValidator(_public_key)]
"""The public key of an Ed25519 pair, or a reference to one."""


def as_reference(text: str) -> Reference | None:
    """The reference, or None when ``text`` is a plain value (an endpoint's URL, a public key)."""
    return parse(text) if is_reference(text) else None
