"""The trend of drills: what stands on the page and its plots, by the page itself."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from onlyvips.adapters import trend_page
from onlyvips.core.drills import Drills, Unverified
from onlyvips.core.trend import Trend, markdown, trend
from tests.core.test_drills import PLAN, RECORD, begun, failed, older, record

AT = "2026-08-05T12:00:00Z"
TEXT = "{http://www.w3.org/2000/svg}text"
FORGED = Unverified("20260801T130000Z-0badcafe", "s3-a: <b>it has no signature</b>")


def of(*records, unverified=(), **more) -> Trend:
    return trend(Drills(records, tuple(unverified), **more), PLAN, AT)


def test_it_begins_with_what_is_wrong_and_else_with_the_last_drill():
    assert of().headline == "No restore was rehearsed yet." and not of().good
    good = of(RECORD, record(1))
    assert good.good and good.headline.startswith(f"Drill {record(1).id} of mongodb in lab passed")
    assert "failed: There is no slice" in of(RECORD, failed(1)).headline
    assert "are not rehearsed" in trend(Drills(), replace(PLAN, rehearsed=False), AT).headline


def test_each_plot_has_its_target_and_a_point_for_every_drill_measured_or_not():
    unmeasured = replace(failed(1), recovery_time_ms=None)
    rto, rpo = of(RECORD, unmeasured).plots
    assert (rto.name, rto.target) == ("RTO", 7200) and (rpo.name, rpo.target) == ("RPO", 3600)
    assert [(one.value, one.passed) for one in rto.points] == [(300.0, True), (None, False)]
    assert [one.value for one in rpo.points] == [120.0, 120.0]


def test_the_newest_drills_stand_first_in_the_table_and_no_more_than_twenty():
    rows = of(*(record(day) for day in range(-30, 0))).rows
    assert len(rows) == 20 and rows[0].cells[0] == record(-1).id


def test_the_page_needs_nothing_else_and_nobody_writes_markup_into_it():
    page = trend_page.page(of(RECORD, failed(1, "It is <script>alert(1)</script>."), unverified=[FORGED]))
    assert page.count("<svg") == 2 and "RTO: 2 h" in page and "RPO: 1 h" in page
    assert re.findall(r"(?:src|href)=\"(?!#)", page) == [] and "@import" not in page and "url(http" not in page
    assert "<script" not in page and "&lt;script&gt;alert" in page
    assert "unsigned/forged: ignored" in page and "<b>it has" not in page
    assert RECORD.id in page and failed(1).id in page


def test_a_plot_is_svg_and_the_same_for_the_same_drills():
    plot = of(RECORD, record(1), failed(2)).plots[0]
    picture = trend_page.picture(plot)
    assert picture == trend_page.picture(plot)
    words = [one.text for one in ElementTree.fromstring(picture).iter(TEXT)]
    assert {"RTO: time to restore", "RTO: 2 h", "passed", "failed"} <= set(words)


def test_drills_of_older_moments_stand_apart_and_are_not_what_the_page_begins_with():
    shown = of(RECORD, older(1), replace(failed(2), at=older(2).at))
    assert shown.good and shown.headline.startswith(f"Drill {RECORD.id} of mongodb in lab passed")
    assert [(one.of_latest, one.passed) for one in shown.plots[0].points] == [
        (True, True),
        (False, True),
        (False, False),
    ]
    words = [one.text for one in ElementTree.fromstring(trend_page.picture(shown.plots[0])).iter(TEXT)]
    assert {"passed", "passed, older moment", "failed, older moment"} <= set(words) and "failed" not in words
    assert "2026-07-01T12:00:00Z" in trend_page.page(shown)


def test_a_drill_that_never_ended_is_a_point_without_a_value_and_a_row_and_one_that_runs_is_no_point():
    shown = of(RECORD, unended=(begun(1), begun(2)), running=begun(2).id)
    assert [(one.value, one.passed) for one in shown.plots[0].points] == [(300.0, True), (None, False)]
    assert not shown.good and shown.headline.startswith(f"The last drill, {begun(1).id}, began")
    assert [one.cells[3] for one in shown.rows] == ["running", "never ended", "passed"]
    assert '<td class="failed">never ended</td>' in trend_page.page(shown)


@pytest.mark.parametrize("days", [(), (0,), (0, 0.001), range(-300, 0, 7)], ids=str)
def test_none_one_and_many_drills_can_be_drawn(days):
    for plot in of(*(record(day) for day in days)).plots:
        assert trend_page.picture(plot).count("<svg") == 1


def test_markdown_has_the_plots_a_table_and_what_is_ignored():
    told = markdown(of(RECORD, unverified=[FORGED]), ["data:a", "data:b"])
    assert "![RTO, time to restore: at most 2 h](data:a)" in told and "(data:b)" in told
    assert f"| {RECORD.id} | mongodb | latest | passed | 5 min |" in told
    assert "unsigned/forged: ignored" in told
