"""What is wrong with an environment's file: where, which key, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from onlyvips.errors import Refused

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One mistake. ``line`` counts from 1; ``path`` leads to the key."""

    line: int
    path: Path
    message: str


class EnvironmentInvalid(Refused):
    """An environment that cannot be used; ``problems`` are all that were found in its file."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda p: (p.line, p.message)))
        super().__init__("\n".join(self.sentences()))

    def sentences(self) -> list[str]:
        """``file:line: key.path: message`` of each problem."""
        return [f"{self.file}:{p.line}: {dotted(p.path) or 'the file'}: {p.message}" for p in self.problems]


def dotted(path: Path) -> str:
    """``strategies.canary.stages[1].hold``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def nearest(word: str, valid: Iterable[str]) -> str:
    """``; did you mean `x`?`` when something is near, else what is valid."""
    choices = sorted(set(valid))
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; valid here: {', '.join(choices)}" if choices else ""
