"""What a rule is, and words that several rules share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from onlyvips.environment.model import Environment
from onlyvips.environment.problems import Path

T = TypeVar("T")
Broken = Iterator[tuple[Path, str]]
"""(path, sentence)."""
Flaws = Iterator[tuple[str, str]]
"""(key, sentence) within one mapping."""
Check = Callable[[Environment], Broken]


@dataclass(frozen=True)
class Rule:
    """A check and the sections that it reads; without one of them it is left out."""

    sections: frozenset[str]
    check: Check


def rule(check: Check, *sections: str) -> Rule:
    """``check``, which reads ``sections``."""
    return Rule(frozenset(sections), check)


def repeated(values: Iterable[T]) -> list[T]:
    """The values that come more than once."""
    return [value for value, count in Counter(values).items() if count > 1]
