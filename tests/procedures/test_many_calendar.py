"""Windows and freezes hold a release of all services, too; a reason to begin all the same is kept and told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flows.commands import release, together
from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core import group as groups
from onlyvips.core import group_news
from onlyvips.core.windows import Calendar, Freeze
from onlyvips.errors import Refused
from onlyvips.steps import records
from onlyvips.steps.opening import Start
from onlyvips.wiring import several
from tests.core.broken_environments import PRODUCTION
from tests.procedures.test_approval_many import ASKING, approve
from tests.procedures.test_release_calendar import FROZEN
from tests.procedures.theatre import GOOD
from tests.procedures.troupe import MANY, Troupe
from tests.simulators.clock import EPOCH

WHY = "the shop is down"


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> list[Calendar]:
    """What the environment says, which a test may change."""
    found = [Calendar(freezes=(Freeze(0.0, 4 * EPOCH, "a century"),))]
    monkeypatch.setattr(environments, "release_calendar", lambda _: found[0])
    return found


def platform(monkeypatch: pytest.MonkeyPatch, plan: Any = MANY) -> Troupe:
    """Two services, as the wiring meets them."""
    theatre = Troupe(plan)
    loaded = environments.from_text(PRODUCTION, "production", "production.yaml")
    monkeypatch.setattr(environments, "load", lambda _: loaded)
    monkeypatch.setattr(wiring, "cluster_of", lambda _: theatre.cluster)
    monkeypatch.setattr(several, "_driven", {})
    monkeypatch.setattr(
        several, "site_of_all", lambda *_: replace(theatre.actor("driver").many, preflight=lambda: None)
    )
    return theatre


def begin(run: str = "run-1", override: str = "") -> str:
    try:
        return several.begin("production", Start(GOOD, "Ada", run, run, override=override))
    finally:
        several.let_go(run)


@pytest.mark.parametrize("override", ["", "  "])
def test_in_a_freeze_a_release_of_all_is_refused_and_nothing_is_changed(
    monkeypatch: pytest.MonkeyPatch, calendar: Any, override: str
) -> None:
    theatre = platform(monkeypatch)
    before = theatre.cluster.list("ConfigMap", {})
    with pytest.raises(Refused, match=r"frozen until .* \(a century\).* Nothing was changed"):
        begin(override=override)
    assert theatre.cluster.list("ConfigMap", {}) == before and theatre.cluster.list("Lease", {}) == []


def test_with_a_reason_it_begins_and_the_reason_is_in_the_record_of_all_and_of_each_and_is_told(
    monkeypatch: pytest.MonkeyPatch, calendar: Any
) -> None:
    theatre = platform(monkeypatch)
    begin(override=WHY)
    theatre.actor("run-1").release_all(GOOD)
    group = theatre.assert_all("promoted")
    assert group.override == WHY and groups.from_json(groups.to_json(group)).override == WHY
    assert [one.override for one in records.every(theatre.cluster)] == [WHY, WHY]
    assert f"Begun outside of the release windows: {WHY}." in groups.markdown(group)
    assert f"Begun outside of the release windows: {WHY}." in group_news.news(group, MANY, 0.0, 1.0)[0].happened


def test_one_that_is_approved_in_a_freeze_is_asked_again_and_keeps_the_reason_that_is_given_then(
    monkeypatch: pytest.MonkeyPatch, calendar: list[Calendar]
) -> None:
    theatre, frozen = platform(monkeypatch, ASKING), calendar[0]
    calendar[0] = Calendar()
    name = begin()
    approve(theatre)
    calendar[0] = frozen
    with pytest.raises(Refused, match="a century"):
        begin("run-2")
    assert theatre.group().override == ""
    assert begin("run-3", override=WHY) == name
    assert theatre.group().override == WHY


def test_one_that_is_open_goes_on_in_a_freeze(monkeypatch: pytest.MonkeyPatch, calendar: Any) -> None:
    platform(monkeypatch)
    name = begin(override=WHY)
    assert begin("run-2") == name


def test_a_dry_run_of_all_is_refused_in_a_freeze_and_the_command_passes_the_reason_on(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    loaded, asked = environments.from_text(FROZEN, "production", "production.yaml"), list[dict[str, str]]()
    monkeypatch.setattr(environments, "load", lambda _: loaded)
    monkeypatch.setattr(several, "_preflight", lambda *_: None)
    monkeypatch.setattr(together, "start", lambda _loaded, wanted, *_, **__: asked.append(wanted) or 0)
    where: dict[str, Any] = {"environment": "production", "version": GOOD, "all": True}
    with pytest.raises(Refused, match="a century"):
        release.start(**where, dry_run=True)
    assert release.start(**where, dry_run=True, override=WHY) == 0
    assert release.start(**where, local=True, override=WHY, operator="Ada") == 0
    assert asked == [{"environment": "production", "version": GOOD, "operator": "Ada", "override": WHY}]
