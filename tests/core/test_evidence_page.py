"""The page of a release's evidence: all that the document has is told, drawn where it is a number over time."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from onlyvips.adapters import evidence_page
from onlyvips.core.evidence_charts import charts
from onlyvips.core.evidence_page import Page, page_of
from onlyvips.core.plan import Guardrail
from onlyvips.core.record import Against, Approval, Command, Look, Record, Told, Value
from onlyvips.steps.evidence import keep_evidence
from tests.core.decisions import ABORT, PLAN, RECORD
from tests.simulators.clock import SimClock
from tests.simulators.objects import SimulatedStore

AT = 1_760_000_000.0
PLAN = replace(PLAN, guardrails=(Guardrail("api-errors", "errors", 0.05, recent=300.0),))


def value(share: float, verdict: Any = "pass") -> Value:
    return Value("api-errors", round(200 * share), 200, share, share / 2, 0.05, 0.001, verdict, "seen")


def beside(effect: float) -> Value:
    against = Against(1800, 0.002, effect, effect - 0.01, effect + 0.01, 0.4, 1.0, 3)
    return Value("errors-beside-stable", 1, 200, 0.004, 0.0, 0.0025, 0.001, "pass", "seen", against)


def released() -> Record:
    record = replace(RECORD, created=AT, phase="evidence", result="rolled-back", reason="<b>it failed</b>")
    record = record.intend("set weight 10 %", "stage 1", AT + 10).finish("the route shows 10 % for the canary", AT + 12)
    record = record.watched(Look(AT + 20, 0, 10, 10.0, "pass", "fine", (value(0.01), beside(0.001))))
    record = record.watched(Look(AT + 30, 0, 10, 10.0, "fail", "bad", (value(0.2, "fail"), beside(0.2))))
    record = record.intend("set weight 0 %", "back", AT + 31).finish("the route shows 0 % for the canary", AT + 33)
    told = (Told("started", "slack", AT), Told("going-back", "pager", AT + 31, "it did not answer"))
    return replace(record, commands=(ABORT,), told=told, backup="base-1", secrets=(("old", "new"),))


def document(record: Record) -> dict[str, Any]:
    """As it is kept."""
    store = SimulatedStore("one")
    kept = keep_evidence({"one": lambda: store}, SimClock(), PLAN, record)
    found: dict[str, Any] = json.loads(b"".join(store.read(kept.key)))
    return found


@pytest.fixture
def page() -> Page:
    return page_of(document(released()))


def test_weight_is_drawn_as_it_was_meant_and_as_it_was_read_back(page: Page) -> None:
    weight = page.charts[0]
    intended, read = (line.points for line in weight.lines)
    assert intended[1:] == ((AT + 10, 10.0), (AT + 31, 0.0))
    assert read[1:] == ((AT + 12, 10.0), (AT + 33, 0.0))
    assert intended[0] == read[0] and AT + 5 < read[0][0] < AT + 10, "it begins shortly before"
    assert "10 % at" in weight.told


def test_errors_of_each_look_are_drawn_with_their_bound_the_limit_and_stables(page: Page) -> None:
    errors = next(chart for chart in page.charts if chart.title.startswith("api-errors"))
    canary, stable, limit = errors.lines
    assert canary.points == ((AT + 20, 1.0), (AT + 30, 20.0))
    assert canary.reach == ((0.5, 1.0), (10.0, 20.0))
    assert {share for _, share in stable.points} == {0.2}
    assert {share for _, share in limit.points} == {5.0}
    assert "40 of 200 requests" in errors.told


def test_a_comparison_is_drawn_with_its_interval_and_margin(page: Page) -> None:
    effect, margin, _ = next(chart for chart in page.charts if chart.title.startswith("errors-beside")).lines
    assert [low for low, _ in effect.reach] == pytest.approx([-0.9, 19.0])
    assert {at for _, at in margin.points} == {0.25}


def test_alpha_adds_up_over_looks_and_metrics_and_twice_for_the_last_minutes(page: Page) -> None:
    spent = page.charts[-1].lines[0]
    assert [part for _, part in spent.points] == pytest.approx([0.3, 0.6])


def test_every_number_of_every_look_every_step_command_and_message_is_in_a_table(page: Page) -> None:
    tables = {table.title: table.rows for table in page.tables}
    assert [len(tables[title]) for title in ("What was done", "Every look", "What people asked")] == [2, 4, 1]
    assert tables["Every look"][2][3:5] == ("api-errors", "40 of 200 (20 %)")
    assert tables["Every look"][3][6] == "+20 (+19 to +21)"
    assert [row[-1] for row in tables["Who was told"]] == ["taken", "it did not answer"]
    assert tables["What people asked"][0][2] == "Ada (claimed)"


def test_what_no_section_knows_is_told_as_it_is() -> None:
    kept = document(released())
    kept["release"]["blessings"] = [{"by": "Grace", "proven": True}]
    assert ("blessings", "by Grace, proven true") in page_of(kept).others


def test_an_older_document_without_the_new_keys_has_a_page() -> None:
    kept = document(released())
    for key in ("told", "hooks", "page_at", "strategy", "evidence_at"):
        kept["release"].pop(key, None)
    for look in kept["release"]["looks"]:
        for one in look["values"]:
            one.pop("against")
    assert "Nobody was told" in evidence_page.page(page_of(kept))


def test_a_release_without_looks_has_no_plots_and_says_so() -> None:
    bare = document(replace(RECORD, phase="evidence", result="rolled-back", reason="the image is not to be had"))
    assert charts(bare) == []
    assert "No look was taken." in evidence_page.page(page_of(bare))


class Outside(HTMLParser):
    """What a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "iframe", "img", "object"):
            self.found.append(tag)
        self.found += [
            str(to) for name, to in attrs if name in ("src", "href", "xlink:href") and not (to or "").startswith("#")
        ]


def test_the_page_needs_nothing_else_and_what_a_person_wrote_is_text_in_it(page: Page) -> None:
    html = evidence_page.page(page)
    outside = Outside()
    outside.feed(html)
    assert outside.found == []
    assert re.search(r"url\((?!#)", html) is None
    assert html.count("<svg ") == len(page.charts) == 4
    assert "<b>it failed" not in html and "&lt;b&gt;it failed" in html


def test_each_plot_says_in_words_what_it_shows(page: Page) -> None:
    html = evidence_page.page(page)
    for chart in page.charts:
        assert html.count(chart.told.replace("+", "&#43;")) + html.count(chart.told) >= 2


def facts(record: Record) -> dict[str, str]:
    return dict(page_of(document(record)).facts)


def test_how_it_was_released_who_approved_and_why_it_began_in_a_freeze_come_first() -> None:
    wanted = Approval("traffic", AT, AT + 60, "approved", AT + 5)
    asked = Command("approve", "Bob", AT + 5, "fine", "traffic")
    record = replace(RECORD, approvals=(wanted,), commands=(asked,), override="the shop is down", group="all-v2-1")
    found = facts(replace(record, phase="closed", result="promoted", reason="promoted"))
    assert (found["by"], found["result"]) == ("canary", "promoted")
    assert found["approved"] == "before anything changes: approved, Bob (claimed): fine"
    assert (
        found["outside of the windows"] == "the shop is down" and found["part of"] == "release all-v2-1 of all services"
    )
    bare = facts(replace(RECORD, phase="closed", result="promoted", reason="promoted"))
    assert not {"approved", "outside of the windows", "part of", "users saw it"} & set(bare)


def test_a_release_that_was_taken_back_says_how_long_users_saw_it_and_how_many_of_them() -> None:
    found = facts(released())["users saw it"]
    assert found.startswith("at most 10 % of requests, from ") and found.endswith("(21 s)")


@pytest.mark.parametrize(
    ("steps", "points"),
    [
        ((("set weight 50 %", "backend asks for 2 of 4 pods: 50 % are the canary's"),), [50.0]),
        ((("switch to green", "Service main-app selects green"), ("switch to blue", "Service …")), [100.0, 0.0]),
    ],
    ids=["a count of pods", "a switch"],
)
def test_every_router_shows_what_it_gave_to_the_new_version(steps: Any, points: list[float]) -> None:
    record = replace(RECORD, colours=("blue", "green"))
    for number, (action, observed) in enumerate(steps):
        record = record.intend(action, "why", AT + number).finish(observed, AT + number)
    weight = charts(document(replace(record, strategy="blue-green")))[0]
    assert weight.title == "Weight of the new version"
    assert [[value for _, value in line.points[1:]] for line in weight.lines] == [points, points]


def test_what_people_asked_and_heard_comes_before_hundreds_of_looks_and_news_by_its_name() -> None:
    told = (Told("approval-wanted:approval:1760000141", "slack", AT), Told("approved:50", "slack", AT))
    page = page_of(document(replace(RECORD, told=told)))
    assert [one.title for one in page.tables][-1] == "Every look"
    heard = next(one for one in page.tables if one.title == "Who was told")
    assert [row[1] for row in heard.rows] == ["approval-wanted approval", "approved 50"]
