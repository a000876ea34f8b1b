"""While a backup is taken the driver is alive, and hears what people ask, whatever is waited for."""

from __future__ import annotations

import time

import pytest

from onlyvips.errors import Fenced, OnlyVipsError, Permanent
from onlyvips.wiring import living
from onlyvips.wiring.living import lively


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(living, "_SIGN_OF_LIFE", 0.01)


@pytest.mark.parametrize("error", [Permanent("Ada asked for an abort: looks odd"), Fenced("Bob took it over.")])
def test_an_abort_and_a_lost_lease_end_the_backup_at_its_next_sign(error: OnlyVipsError) -> None:
    def progress() -> None:
        raise error

    with pytest.raises(type(error), match=str(error)), lively(progress) as alive:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            alive()
            time.sleep(0.001)


def test_the_driver_says_that_it_lives_while_nothing_is_read() -> None:
    said: list[float] = []
    with lively(lambda: said.append(time.monotonic())) as alive:
        until = time.monotonic() + 20
        while len(said) < 3 and time.monotonic() < until:
            time.sleep(0.001)
        alive()
    assert len(said) >= 3
    time.sleep(0.05)
    before = len(said)
    time.sleep(0.05)
    assert len(said) == before
