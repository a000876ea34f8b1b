"""Resolving references: the only place that holds values of secrets, and only as SecretStr."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from onlyvips.environment import references
from onlyvips.environment.model import Environment
from onlyvips.environment.problems import EnvironmentInvalid, Problem
from onlyvips.errors import Refused


def resolve(environment: Environment, reference: str) -> SecretStr:
    """The value behind ``reference``, now. Raises Refused, which names the reference and never shows a value."""
    try:
        parsed = references.parse(reference)
    except ValueError as error:
        raise Refused(f"Not resolved: {error}.") from None
    return references.resolve(parsed, lambda name: _variable(environment, name))


def endpoint(environment: Environment, value: str) -> str:
    """The address: ``value`` itself, or what it refers to."""
    return resolve(environment, value).get_secret_value() if references.is_reference(value) else value


def recipients(environment: Environment) -> tuple[str, ...]:
    """The age public keys of the backups. Raises Refused when two are the same key."""
    keys = {name: endpoint(environment, one.recipient) for name, one in environment.backup.recipients.items()}
    if len(set(keys.values())) < len(keys):
        raise Refused(f"The backup recipients {', '.join(keys)} are not different keys: losing one would lose all.")
    return tuple(keys.values())


def identities(environment: Environment) -> tuple[str, ...]:
    """The age identities that this process can have, to decrypt with. Raises Refused when there is none."""
    found, missing = [], []
    for name, one in environment.backup.recipients.items():
        if one.identity is None:
            missing.append(f"{name} names none (it is kept {one.identity_kept_in})")
        elif told := unresolved(environment, one.identity):
            missing.append(f"{name}: {told}")
        else:
            found.append(resolve(environment, one.identity).get_secret_value())
    if not found:
        raise Refused(
            f"No identity to decrypt with is to be had here: {'; '.join(missing)}. Nothing was read; put the age "
            "secret key of a recipient where this process (with Prefect: its worker) runs, and name it in "
            "backup.recipients.NAME.identity: env:NAME or file:/path."
        )
    return tuple(found)


def drill_keys(environment: Environment) -> tuple[str, ...]:
    """The public keys that records of drills are believed by."""
    return tuple(endpoint(environment, one) for one in environment.recovery.drill.public_keys)


def unresolved(environment: Environment, reference: str) -> str | None:
    """Why ``reference`` has no value now, or None when it has one."""
    try:
        resolve(environment, reference)
    except Refused as error:
        return str(error)
    return None


def all_references(environment: Environment) -> list[str]:
    """Every reference in the environment, each once, in the file's order."""
    return list(dict.fromkeys(_references_in(environment.model_dump(mode="json"))))


def _references_in(value: object) -> Iterator[str]:
    if isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _references_in(child)
    elif isinstance(value, str) and references.is_reference(value):
        with contextlib.suppress(ValueError):
            yield str(references.parse(value))


def endpoints_path(environment: Environment) -> Path | None:
    """Where the environment's endpoints file is, or None when it has none."""
    source = environment.endpoints_file
    if source is None:
        return None
    return Path(os.environ.get(source.home) or source.default_home).expanduser() / source.name


def _variable(environment: Environment, name: str) -> str | None:
    """``name`` in the endpoints file when it has the file's prefix, else in the process environment."""
    source, path = environment.endpoints_file, endpoints_path(environment)
    if source is None or path is None or not name.startswith(source.prefix):
        return os.environ.get(name)
    if path.is_file():
        return read_endpoints(path).get(name) or os.environ.get(name)
    if os.environ.get(name):
        return os.environ[name]
    raise Refused(f"{environment.name} is not up: {path} does not exist; run `{source.start}`.")


def read_endpoints(path: Path) -> dict[str, str]:
    """NAME=value lines (quotes and comments as in a shell). Raises EnvironmentInvalid, which shows no value."""
    found: dict[str, str] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise EnvironmentInvalid(str(path), [Problem(1, (), "it is not UTF-8 text (which is not shown)")]) from None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        try:
            words = shlex.split(value)
        except ValueError:
            words, equals = [], ""
        if not equals or not name.isidentifier() or len(words) > 1:
            raise EnvironmentInvalid(str(path), [Problem(number, (), "not a NAME=value line (its text is not shown)")])
        found[name] = "".join(words)
    return found
