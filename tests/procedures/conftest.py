"""What all procedures share."""

from __future__ import annotations

from typing import Any

import pytest

from onlyvips.wiring import restore_turn
from tests.simulators.cell import SimCell


@pytest.fixture(autouse=True)
def turns(monkeypatch: pytest.MonkeyPatch) -> dict[str, SimCell]:
    """The leases of restores, by name."""
    found = dict[str, SimCell]()

    def cell(_: Any, name: str) -> SimCell:
        return found.setdefault(name, SimCell())

    monkeypatch.setattr(restore_turn, "lease_cell", cell)
    return found
