"""Calendar periods: every moment is in exactly one of each kind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.manifest import seconds
from onlyvips.core.periods import PERIODS

MOMENTS = st.integers(min_value=0, max_value=4_000_000_000)
BY_NAME = {period.name: period for period in PERIODS}


@given(MOMENTS)
def test_a_moment_is_between_the_start_of_its_period_and_that_of_the_next(unix: int):
    for period in PERIODS:
        index = period.index(unix)
        assert period.start(index) <= unix < period.start(index + 1)
        assert period.index(period.start(index)) == index


def test_periods_are_those_of_the_calendar_in_utc():
    at = seconds("2026-08-01T12:34:56Z")  # a Saturday
    labels = {name: period.label(period.index(at)) for name, period in BY_NAME.items()}
    assert labels == {
        "hourly": "hour 2026-08-01T12",
        "daily": "day 2026-08-01",
        "weekly": "week of 2026-07-27",
        "monthly": "month 2026-08",
        "yearly": "year 2026",
    }
