"""The port through which media are written back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from onlyvips.core.media import Item
from onlyvips.ports import Upload

Putting = tuple[str, bytes, Item | None]
"""A key, its bytes, and what is there that they may replace; None where nothing is to be there."""


class MediaSink(Protocol):
    """Where media come back to: the place that a MediaSource reads. An object appears whole or not at all, in the place
    of nothing but what was named."""

    def cannot_have(self, keys: Collection[str], there: Collection[str]) -> Mapping[str, str]:
        """Which of these keys it cannot keep under exactly that name beside what is ``there``, and why."""

    def room(self) -> int | None:
        """Bytes that fit in; None where nobody can tell."""

    def writing(self) -> AbstractContextManager[None]:
        """The right to write, while the block runs. What a writer that died left unfinished is gone, where it can be
        told from that of others. Raises Refused where somebody else has the right, as far as the place can tell."""

    def put(self, objects: Sequence[Putting]) -> list[str]:
        """Write small objects; returns of each "", or that something else is there by now, and so it was not written.

        What is written is on its medium when this returns. Raises what the first other failure is.
        """

    def upload(self, key: str, over: Item | None) -> Upload:
        """Begin writing a large object. Its ``finish`` raises Conflict where something else is there by now."""
