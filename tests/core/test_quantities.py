"""Quantities: what is read, what is refused, and that showing and reading are inverse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.environment import quantities as q

GOOD = {
    "30m": (q.duration, 1800.0),
    "1h": (q.duration, 3600.0),
    "1h30m": (q.duration, 5400.0),
    "500ms": (q.duration, 0.5),
    "5500ms": (q.duration, 5.5),
    "15s": (q.duration, 15.0),
    "1m500ms": (q.duration, 60.5),
    "7d": (q.duration, 604800.0),
    "64MiB": (q.size, 67108864),
    "1GiB": (q.size, 1 << 30),
    "512KiB": (q.size, 524288),
    "5%": (q.share, 0.05),
    "0.25%": (q.share, 0.0025),
    "100%": (q.share, 1.0),
    "10%": (q.weight, 10),
}
BAD = {
    "a number without a unit": (q.duration, 30, "`30` is not a duration: write it as 30m"),
    "text without a unit": (q.duration, "30", "is not a duration"),
    "an unknown unit": (q.duration, "30min", "is not a duration"),
    "units in the wrong order": (q.duration, "30m1h", "is not a duration"),
    "a unit twice": (q.duration, "1h1h", "is not a duration"),
    "a fraction": (q.duration, "1.5h", "is not a duration"),
    "negative": (q.duration, "-5s", "is not a duration"),
    "space": (q.duration, "1h 30m", "is not a duration"),
    "nothing": (q.duration, "", "is not a duration"),
    "no time": (q.duration, "0s", "more than zero"),
    "digits that are not ASCII": (q.duration, "٣s", "is not a duration"),
    "a list": (q.duration, ["30m"], "this value is not a duration"),
    "decimal megabytes": (q.size, "64MB", "is not a size: write it as 512KiB, 64MiB"),
    "bytes without a unit": (q.size, 64, "is not a size"),
    "an empty size": (q.size, "0MiB", "more than zero"),
    "a share without %": (q.share, 0.05, "is not a percentage: write it as 5%"),
    "more than all": (q.share, "101%", "at most 100%"),
    "a negative share": (q.share, "-1%", "is not a percentage"),
    "half a percent of weight": (q.weight, "12.5%", "whole percentage"),
    "a limit of words": (q.limit, "much", "is not a limit: write it as 500ms, 5% or a whole number"),
    "a limit that is yes": (q.limit, True, "is not a limit"),
    "a negative limit": (q.limit, -1, "is not a limit"),
    "a limit above all": (q.limit, "120%", "at most 100%"),
}


@pytest.mark.parametrize("text", GOOD)
def test_what_is_read(text: str) -> None:
    parse, value = GOOD[text]
    assert parse(text) == value


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case: str) -> None:
    parse, given_value, message = BAD[case]
    with pytest.raises(ValueError, match="is n|is more") as error:
        parse(given_value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "unit", "shown"), [("500ms", "seconds", "500ms"), ("5%", "share", "5%"), (1000, "count", "1000")]
)
def test_limits_know_their_unit(text: object, unit: str, shown: str) -> None:
    limit = q.limit(text)
    assert (limit.unit, str(limit)) == (unit, shown)


@given(st.integers(min_value=1, max_value=10**11))
def test_a_shown_duration_reads_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert q.duration(q.show_duration(seconds)) == seconds


@given(st.integers(min_value=1, max_value=1 << 50))
def test_a_shown_size_reads_back(number: int) -> None:
    assert q.size(q.show_size(number)) == number


@given(st.integers(min_value=0, max_value=10000))
def test_a_shown_share_reads_back(hundredths: int) -> None:
    assert q.share(q.show_share(hundredths / 10000)) == round(hundredths / 10000, 10)
