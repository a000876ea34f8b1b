"""When a release may begin: windows, freezes, and the hours that summer time adds and takes."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.windows import Calendar, Freeze, Window, closed, next_open

BERLIN = "Europe/Berlin"
WORK = Window((0, 1, 2, 3), 8 * 60, 17 * 60, BERLIN)
NIGHT = Window((5,), 22 * 60, 4 * 60, BERLIN)


def at(text: str, zone: str = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-26T07:59", False),
        ("2026-11-26T08:00", True),
        ("2026-11-26T16:59", True),
        ("2026-11-26T17:00", False),
        ("2026-11-27T10:00", False),
        ("2026-11-29T10:00", False),
    ],
)
def test_a_window_is_open_from_its_first_minute_to_its_last(moment: str, is_open: bool) -> None:
    assert (closed(Calendar((WORK,)), at(moment)) == "") is is_open


def test_without_windows_and_freezes_every_moment_is_open() -> None:
    assert closed(Calendar(), 0.0) == "" and next_open(Calendar(), 5.0) == 5.0


def test_a_friday_is_refused_with_the_next_monday() -> None:
    told = closed(Calendar((WORK,)), at("2026-11-27T15:30"))
    assert told == (
        "it is Fri 2026-11-27 15:30 CET, outside of every release window; the next time is Mon 2026-11-30 08:00 CET"
    )


def test_a_freeze_closes_an_open_window_and_the_next_time_is_after_it() -> None:
    freeze = Freeze(at("2026-12-21T00:00"), at("2027-01-04T12:00"), "Christmas")
    told = closed(Calendar((WORK,), (freeze,)), at("2026-12-22T10:00"))
    assert told.startswith("releases are frozen until Mon 2027-01-04 12:00 CET (Christmas); the next time is Mon")
    assert next_open(Calendar((WORK,), (freeze,)), at("2026-12-22T10:00")) == at("2027-01-04T12:00")
    assert closed(Calendar((), (freeze,)), at("2027-01-04T12:00")) == ""


def test_freezes_one_after_the_other_are_one() -> None:
    first, second = Freeze(0.0, 100.0, "a"), Freeze(100.0, 200.0, "b")
    assert next_open(Calendar((), (first, second)), 50.0) == 200.0


def test_after_a_freeze_of_years_comes_the_first_window_after_it() -> None:
    freeze = Freeze(0.0, at("2040-03-02T18:00"), "moved house")
    assert next_open(Calendar((WORK,), (freeze,)), at("2026-11-26T10:00")) == at("2040-03-05T08:00")


@pytest.mark.parametrize(
    ("moment", "fold", "is_open"),
    [
        ("2026-11-28T22:00", 0, True),
        ("2026-11-29T03:59", 0, True),
        ("2026-11-29T04:00", 0, False),
        ("2026-10-25T03:59", 0, True),  # the night with an hour more
        ("2026-03-29T03:59", 0, True),  # the night with an hour less
        ("2026-03-29T04:00", 0, False),
    ],
)
def test_a_window_over_midnight_keeps_its_wall_clock_when_summer_time_changes(
    moment: str, fold: int, is_open: bool
) -> None:
    assert (closed(Calendar((NIGHT,)), at(moment, fold=fold)) == "") is is_open


def test_an_hour_that_comes_twice_is_open_both_times() -> None:
    window = Calendar((Window((6,), 60, 2 * 60 + 30, BERLIN),))
    assert [closed(window, at("2026-10-25T02:29", fold=fold)) for fold in (0, 1)] == ["", ""]
    assert closed(window, at("2026-10-25T02:30", fold=1))


def test_summer_time_moves_the_opening_in_utc() -> None:
    winter = next_open(Calendar((WORK,)), at("2026-03-27T12:00"))
    assert winter == at("2026-03-30T06:00", "UTC")
    assert next_open(Calendar((WORK,)), at("2026-03-20T12:00")) == at("2026-03-23T07:00", "UTC")


@given(
    st.floats(1.7e9, 1.9e9),
    st.lists(
        st.builds(
            Window,
            st.lists(st.integers(0, 6), min_size=1, unique=True).map(tuple),
            st.integers(0, 1439),
            st.integers(0, 1439),
            st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "UTC"]),
        ),
        max_size=3,
    ),
)
def test_the_next_time_is_open_and_no_earlier_minute_of_the_hours_before_is(now: float, windows: list[Window]) -> None:
    calendar = Calendar(tuple(windows))
    following = next_open(calendar, now)
    assert following is not None and following >= now and closed(calendar, following) == ""
    earlier = [now + 1800.0 * number for number in range(24)]
    assert all(closed(calendar, moment) for moment in earlier if moment < following - 1)
