"""A message to people, whatever carries it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_LONGEST = 500
"""Characters of what happened: all of it is behind the link."""

Severity = Literal["info", "good", "warning", "bad"]


@dataclass(frozen=True)
class Message:
    """``title`` is one line, ``body`` plain text of several."""

    title: str
    body: str
    severity: Severity


def written(title: str, severity: Severity, *, happened: str, done: str, todo: str, link: str) -> Message:
    """A message that says what happened, what the system did, what a person must do, and where to look."""
    body = f"What happened: {_short(happened)}\nWhat the system did: {done}\nWhat you must do: {todo}\nSee: {link}"
    return Message(title, body, severity)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
