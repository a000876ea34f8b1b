"""What every command shares: sentences, JSON, and exit codes.

Results go to stdout, errors to stderr. Colours only where a terminal reads, and never with NO_COLOR.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from onlyvips.errors import Misuse, OnlyVipsError, Refused

OK, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130

EXIT_CODES = """Exit codes: 0 done; 1 the procedure failed, or ended otherwise than asked; 2 bad input, or refused
before anything changed; 130 interrupted."""


def exit_code(error: BaseException) -> int:
    """The exit code that says what became of the command."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return REFUSED if isinstance(error, Refused | Misuse) else FAILED


def say(text: str = "", style: str = "") -> None:
    """Print a line for a person on stdout. Markup in ``text`` is text; lines are not wrapped."""
    _print(Console(highlight=False), text, style)


def complain(text: str) -> None:
    """Print a line for a person on stderr."""
    _print(Console(highlight=False, stderr=True), text, "red")


def ask(text: str) -> str:
    """What a person types on a line after ``text``; "" where nobody sits at a terminal."""
    if not sys.stdin.isatty():
        return ""
    Console(highlight=False, stderr=True).print(Text(text), end="", soft_wrap=True)
    return sys.stdin.readline().strip()


def report(error: OnlyVipsError) -> int:
    """Print the error's sentences on stderr and return the exit code."""
    for line in str(error).splitlines():
        complain(line)
    return exit_code(error)


def print_json(value: Any) -> None:
    """Print ``value`` as JSON on stdout, indented, never coloured."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, with their heads; nothing when there are none."""
    if not rows:
        return
    widths = [max(len(each) for each in column) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        line = "  ".join(each.ljust(width) for each, width in zip(row, widths, strict=True))
        say(line.rstrip(), "bold" if row is heads else "")


def _print(console: Console, text: str, style: str) -> None:
    harmless = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    console.print(Text(harmless, style=style), soft_wrap=True)
