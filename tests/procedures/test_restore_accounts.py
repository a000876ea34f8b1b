"""Users and roles that come back with their database: checked first, merged at the end, killed anywhere, read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import bson
import pytest

from onlyvips.core import restore_report as report
from onlyvips.core.accounts import Accounts
from onlyvips.core.catalog import read_catalog
from onlyvips.core.restore import MARKER, RestorePlan, Wanted, names_of, plan_restore
from onlyvips.core.restore_accounts import check_whole, with_people
from onlyvips.core.restored import Restored
from onlyvips.core.swap import shadowed
from onlyvips.errors import Misuse, Permanent, Refused
from onlyvips.steps.restore import restore
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.sound import Reader
from tests.procedures.test_accounts import KNOWN, SECRET, accounts_of, taken_of
from tests.procedures.test_backup import IDENTITIES, stores
from tests.simulators.accounts import SimulatedAccounts
from tests.simulators.clock import SimClock
from tests.simulators.objects import Killed, Life, SimulatedStore
from tests.simulators.target import SimulatedTarget

OTHER = bson.encode({"_id": "app.api", "db": "app", "credentials": {"other": 1}})
API = bson.encode({"_id": "app.api"})


def planned(places: Sequence[SimulatedStore]) -> RestorePlan:
    backups = read_catalog(read_shelves(places, "lab"))
    return with_people(plan_restore("lab", backups, {}, Wanted("latest")), backups)


def restored(
    places: Sequence[SimulatedStore],
    target: SimulatedTarget,
    people: SimulatedAccounts | None,
    plan: RestorePlan | None = None,
) -> Restored:
    reader = Reader({one.name: one for one in places}, IDENTITIES[:1], lambda doing, size: None, 1)
    return restore(plan or planned(places), target, reader, SimClock(), people)


@pytest.fixture
def places() -> list[SimulatedStore]:
    found = stores("a", "b")
    taken_of(found)
    return found


def as_kept(people: SimulatedAccounts) -> bool:
    found = people.read("app")
    return (found.users, found.roles, people.temporary) == (KNOWN.users, KNOWN.roles, {})


def test_they_come_back_after_the_data_as_they_were_and_it_is_said_before_and_after(places: list[SimulatedStore]):
    target, people = SimulatedTarget(), SimulatedAccounts()
    done = restored(places, target, people)
    assert as_kept(people) and target.collections("app") == ["empty", "orders", "users"]
    assert done.accounts == "users and roles: 2 users and 1 roles of app are in admin, read back equal"
    assert "Users and roles: 2 users and 1 roles of app are in admin" in report.done(done)
    told = "\n".join(report.lines(planned(places), "an hour"))
    assert "note: users and roles: those of app, as they were when the base was read, are merged into admin" in told
    assert "leaves them alone" not in told
    assert SECRET not in f"{told}{report.result(done)}{report.as_json(planned(places), '')}"


def test_killed_at_any_write_it_is_run_again_and_ends_the_same_with_nothing_temporary(places: list[SimulatedStore]):
    alive = Life()
    restored(places, SimulatedTarget(alive), SimulatedAccounts(alive))
    left = set()
    for death in range(1, alive.writes + 1):
        life = Life(death)
        target, people = SimulatedTarget(life), SimulatedAccounts(life)
        with pytest.raises(Killed):
            restored(places, target, people)
        left.add((len(people.temporary), len(people.users)))
        target.life = people.life = Life()
        restored(places, target, people)
        assert as_kept(people) and MARKER not in target.collections("app")
    assert {(2, 0), (2, 1), (2, 2), (1, 2), (0, 2)} <= left, "it died before, within and after the merge"


def test_over_the_live_database_they_come_after_the_swap(places: list[SimulatedStore]):
    target, people = SimulatedTarget(), SimulatedAccounts()
    target.data["app.orders"] = {}
    restored(places, target, people, shadowed(planned(places), ("app.*",)))
    assert as_kept(people) and target.data["app.orders"]


def test_what_is_there_equal_is_told_and_what_the_backup_does_not_have_stays(places: list[SimulatedStore]):
    people = SimulatedAccounts()
    people.put(KNOWN.users + bson.encode({"_id": "app.new", "db": "app"}), b"")
    people.merge("app")
    done = restored(places, SimulatedTarget(), people)
    assert "2 users and 1 roles of app are in admin, read back equal, 2 of them were there before" in done.accounts
    assert bson.encode({"_id": "app.new"}) in people.users


@pytest.mark.parametrize("refuses", ["merge", "read"])
def test_what_we_may_not_do_is_refused_with_the_target_untouched(places: list[SimulatedStore], refuses: str):
    target, people = SimulatedTarget(), SimulatedAccounts()
    people.refuses = refuses
    with pytest.raises(Refused, match="the roles `restore` and `backup` of admin"):
        restored(places, target, people)
    assert target.life.writes == people.life.writes == 0


def test_one_that_is_there_otherwise_is_refused_by_name_with_the_target_untouched(places: list[SimulatedStore]):
    target, people = SimulatedTarget(), SimulatedAccounts()
    people.users[API] = OTHER
    with pytest.raises(Refused, match="has otherwise than the backup: user app.api. A merge leaves") as refused:
        restored(places, target, people)
    assert target.life.writes == people.life.writes == 0 and SECRET not in str(refused.value)


def test_another_schema_is_refused_with_the_target_untouched(places: list[SimulatedStore]):
    target, people = SimulatedTarget(), SimulatedAccounts()
    people.kept_as = 3
    with pytest.raises(Refused, match="are of authSchema 5, the target's is 3: nothing was changed"):
        restored(places, target, people)
    assert target.life.writes == people.life.writes == 0


def test_a_backup_that_says_no_schema_is_of_the_only_one_that_is_left():
    places, people = stores("a"), SimulatedAccounts()
    taken_of(places, replace(KNOWN, notes=b""))
    restored(places, SimulatedTarget(), people)
    assert as_kept(people)


def test_one_that_the_server_does_not_take_fails_by_name_and_the_run_can_be_gone_on_with(places: list[SimulatedStore]):
    target, people = SimulatedTarget(), SimulatedAccounts()
    people.loses = "app.bot"
    with pytest.raises(Permanent, match="^user app.bot of app did not come back as in the backup") as failed:
        restored(places, target, people)
    assert SECRET not in str(failed.value) and people.temporary == {}
    people.loses = ""
    assert restored(places, target, people).resumed and as_kept(people)


def test_what_was_merged_and_may_not_be_read_any_more_is_no_refusal_for_the_target_is_not_untouched(
    places: list[SimulatedStore], monkeypatch: pytest.MonkeyPatch
):
    target, people = SimulatedTarget(), SimulatedAccounts()
    monkeypatch.setattr(people, "clear", lambda: setattr(people, "refuses", "read" if people.users else ""))
    with pytest.raises(Permanent, match="The data came back, compared; users and roles of app were merged, and"):
        restored(places, target, people)


def test_a_bad_copy_is_passed_by_and_told_and_where_none_is_good_nothing_is_written(places: list[SimulatedStore]):
    plan, people = planned(places), SimulatedAccounts()
    assert plan.people is not None
    places[0].objects[plan.people.key] = b"broken"
    done = restored(places, SimulatedTarget(), people, plan)
    assert as_kept(people) and any("users_and_roles" in one for one in done.flaws)
    del places[1].objects[plan.people.key]
    target, people = SimulatedTarget(), SimulatedAccounts()
    with pytest.raises(Refused, match=r"No good copy is left of .*users_and_roles.*so nothing was written"):
        restored(places, target, people, plan)
    assert target.life.writes == people.life.writes == 0


def test_a_base_without_any_is_refused_with_what_its_manifest_says():
    places = stores("a")
    manifest = taken_of(places, Accounts(lacking="not kept: ask for the role `backup`", denied=True)).manifest
    assert accounts_of(manifest) == []
    with pytest.raises(Refused, match="has no users and roles .not kept: ask for the role `backup`.: nothing was chan"):
        planned(places)


@pytest.mark.parametrize("pair", ["app.*=other.*", "app.users=app.users"])
def test_under_another_name_or_in_part_they_cannot_come_back(pair: str):
    with pytest.raises(Refused, match="only with all of it under its own name: nothing was read"):
        check_whole(names_of([pair]))


def test_all_of_it_under_its_own_name_they_can():
    check_whole(None)
    check_whole(names_of(["app.*=app.*"]))


def test_a_plan_with_them_is_not_done_without_a_target_for_them(places: list[SimulatedStore]):
    target = SimulatedTarget()
    with pytest.raises(Misuse):
        restored(places, target, None)
    assert target.life.writes == 0


def test_a_restore_that_was_not_asked_for_them_touches_none(places: list[SimulatedStore]):
    people = SimulatedAccounts()
    done = restored(places, SimulatedTarget(), people, replace(planned(places), people=None))
    assert people.life.writes == 0 and "--users-and-roles brings them back" in done.accounts
