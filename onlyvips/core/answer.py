"""What becomes of something that a person asks of a release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Answer:
    """``do``: the command is written down; ``nothing``: it would change nothing; ``refuse``: it cannot be done."""

    kind: Literal["do", "nothing", "refuse"]
    sentence: str
