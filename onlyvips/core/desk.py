"""What a page of approvals shows. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wait:
    """An approval of ``point`` that ``release`` waits for; ``service`` is "" of one of all, ``told`` what a person has
    to know, line by line."""

    release: str
    service: str
    point: str
    told: tuple[str, ...]
