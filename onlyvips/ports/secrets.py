"""The ports of a restore of secrets: parameters of SSM, and a Vault that takes its own snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from onlyvips.core.secrets_restore import Parameter


class ParameterStore(Protocol):
    """Parameters below some paths. Values are in no error."""

    region: str
    paths: tuple[str, ...]

    def identity(self) -> str:
        """What tells it from every other one: where it is, whose, and in which region."""

    def parameters(self) -> dict[str, Parameter]:
        """All of them as they were at one moment, by name; none at all too. Raises Transient when they changed."""

    def make(self, wanted: Parameter) -> None:
        """One that is not there. Raises Conflict when it is."""

    def change(self, wanted: Parameter, there: Parameter) -> None:
        """What is ``there`` becomes ``wanted``; done twice it ends the same. A value that is equal is not written."""


class SnapshotTarget(Protocol):
    """A Vault that a snapshot goes back into."""

    def describe(self) -> Mapping[str, str]:
        """As ``SnapshotSource``; raises when it is sealed, or no Vault on raft."""

    def state(self) -> Mapping[str, str]:
        """``cluster_id`` ("" while it is sealed) and ``sealed`` (true or false). Transient while it does not answer."""

    def restore(self, file: Path, *, force: bool) -> None:
        """Replace everything that it holds. ``force``: though its seal does not know the snapshot.

        Raises Refused, with nothing changed, when Vault does not take it; UnknownOutcome when it did not answer.
        """

    def snapshot(self) -> Iterator[bytes]:
        """As ``SnapshotSource``."""
