"""``make demo`` tells the truth by its exit code; that it runs on the lab is not tested here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from deployments import demo
from deployments.rescue import Counts

GOOD = [demo.Result("good", "promoted", record={"result": "promoted"})]
OTHERWISE = [*GOOD, demo.Result("bad", "rolled-back", record={"result": "promoted"})]
MISSING = [*GOOD, demo.Result("bad", "rolled-back")]
QUIET: dict[str, Any] = {"total": 9, "ok": 8, "faults": {"500": 1}}
BACK = Counts(5, 0, 5, 0, 5)
LOST: dict[str, Any] = {"total": 9, "ok": 8, "lost": {"refused": 1}}


@pytest.mark.parametrize(
    ("results", "tally", "unsent", "counts", "code"),
    [
        (GOOD, QUIET, 0, BACK, 0),
        (GOOD, LOST, 0, BACK, 1),
        (GOOD, QUIET, 5, BACK, 1),
        (OTHERWISE, QUIET, 0, BACK, 1),
        (MISSING, QUIET, 0, BACK, 1),
        (GOOD, QUIET, 0, Counts(5, 0, 5, 0, 4), 1),
        (GOOD, QUIET, 0, Counts(5, 0, 5, 1, 5), 1),
        (GOOD, QUIET, 0, Counts(0, 0, 0, 0, 0), 1),
    ],
    ids=[
        "as expected",
        "a lost request",
        "a request that was not sent",
        "another result",
        "no record",
        "a document did not come back",
        "a deletion is not in the restore to after it",
        "there was nothing to rescue",
    ],
)
def test_it_exits_non_zero_when_anything_differs(
    monkeypatch: pytest.MonkeyPatch, results: Any, tally: dict[str, Any], unsent: int, counts: Any, code: int
) -> None:
    asked: list[tuple[str, ...]] = []
    names = [f"ONLYVIPS_LAB_{one}" for one in ("LOAD_URL", "DIRECTORY", "PREFECT_UI_URL", "MONGODB_URI")]
    stats = {"targets": {"backend": {"versions": {"v2": tally}, "unsent": unsent}}}
    answer = SimpleNamespace(raise_for_status=lambda: None, json=lambda: stats)
    monkeypatch.setenv("ONLYVIPS_LAB_HOME", "")
    monkeypatch.setattr(demo, "lab", lambda *words: asked.append(words) or 0)
    monkeypatch.setattr(demo, "endpoints", lambda: dict.fromkeys(names, "http://x"))
    monkeypatch.setattr(demo.httpx, "post", lambda *_, **__: answer)
    monkeypatch.setattr(demo, "LATE", 0.0)
    monkeypatch.setattr(demo, "rescue", lambda _: counts)
    monkeypatch.setattr(demo, "three_releases", lambda _: results)
    assert demo.main() == code
    documents = ("--documents", demo.DOCUMENTS)
    expected = [("down",), ("up", "--fresh", *documents), ("load-data", *documents)]
    assert asked == expected, "run again, it starts clean; it leaves the lab up"


def test_it_stops_with_the_labs_own_code_when_the_lab_does_not_come_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONLYVIPS_LAB_HOME", "")
    monkeypatch.setattr(demo, "lab", lambda *words: 3 if words[0] == "up" else 0)
    assert demo.main() == 3
