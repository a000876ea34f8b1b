"""Restores of the configuration on a simulated cluster: what is changed, in which order, what stays, who is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyrage
import pytest

from onlyvips.core.catalog import read_catalog
from onlyvips.core.configuration_restore import (
    Change,
    check_names,
    diff,
    in_order,
    is_of_a_release,
    name_of,
    selected,
)
from onlyvips.core.configuration_restored import RestoredConfiguration, lines
from onlyvips.core.kinds import parse_kind
from onlyvips.core.manifests import MANAGED
from onlyvips.core.points import choose_point
from onlyvips.errors import Conflict, Permanent, Refused
from onlyvips.ports import Manifest
from onlyvips.steps.backup import Run, take
from onlyvips.steps.configuration import MANIFESTS, configuration
from onlyvips.steps.configuration_restore import Place, Ready, check, prepare, restore_configuration
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.sound import Reader
from tests.procedures.test_backup import IDENTITIES, FixedClock, stores
from tests.procedures.test_configuration import PLAN, VALUE, cluster
from tests.simulators.cluster import SimCluster
from tests.simulators.inventory import SimApplier, SimInventory
from tests.simulators.objects import Killed, Life

KINDS = [
    parse_kind(text)
    for text in ("ConfigMap", "Secret", "Service", "Deployment", "HorizontalPodAutoscaler", "HTTPRoute")
]
SCALER = {
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "web"},
    "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 2},
}


class World:
    """A cluster as ``cluster`` makes it, with an autoscaler, and a backup of it in two destinations."""

    def __init__(self) -> None:
        self.cluster = cluster()
        self.cluster.create({"apiVersion": "autoscaling/v2", **SCALER})
        self.inventory, self.applier = SimInventory(self.cluster), SimApplier(self.cluster)
        self.stores = stores("a", "b")
        self.backup = self.take(3)
        self.automatic: tuple[str, ...] = ()
        self.identities = list(IDENTITIES[:1])

    def take(self, epoch: int) -> str:
        run = Run(epoch, FixedClock(), lambda n: bytes([epoch]) * n)
        taken = take(configuration(self.inventory, None, KINDS, self.stores, PLAN, run)).manifest
        return f"{taken.id}-e{taken.epoch}"

    @property
    def place(self) -> Place:
        def objects(services: Any) -> list[str]:
            return ["Deployment/web", "Service/web", "HTTPRoute/onlyvips"] if "web" in services else []

        return Place(self.inventory, self.applier, KINDS, objects, self.automatic)

    def ready(self, at: str = "", *names: str) -> Ready:
        backups = read_catalog(read_shelves(self.stores, "lab"))
        point = choose_point(backups, {}, "configuration", at or self.backup)
        reader = Reader({one.name: one for one in self.stores}, self.identities, lambda doing, size: None)
        return prepare(point, reader, self.place, names)

    def restore(self, at: str = "", *names: str) -> RestoredConfiguration:
        at = at or self.backup
        return restore_configuration(self.ready(at, *names), self.place, at, FixedClock(), lambda: None)

    def change(self, kind: str, name: str, how: Callable[[Manifest], object]) -> None:
        self.cluster.change(kind, name, how)

    def see(self, kind: str, name: str) -> Manifest:
        found = self.cluster.get(kind, name)
        assert found is not None
        return found

    def wreck(self) -> None:
        """Two objects gone, two changed, one new."""
        for kind, name in (("Service", "web"), ("HTTPRoute", "onlyvips")):
            self.cluster.drop(kind, name)
        self.change("ConfigMap", "settings", lambda one: one["data"].update(LEVEL="debug", EXTRA="1"))
        self.change("Deployment", "web", lambda one: one["spec"].update(paused=True))
        self.cluster.create({"kind": "ConfigMap", "metadata": {"name": "since"}, "data": {}})


@pytest.fixture
def world() -> World:
    return World()


def state(cluster: SimCluster) -> dict[str, Any]:
    kinds = ("ConfigMap", "Service", "Deployment", "HorizontalPodAutoscaler", "HTTPRoute")
    found = [one for kind in kinds for one in cluster.list(kind, {})]
    return {name_of(one): (one.get("data"), one.get("spec")) for one in found}


# --- what is changed


def test_what_is_missing_is_made_and_what_differs_is_as_it_was_and_the_rest_stays(world: World) -> None:
    before = state(world.cluster)
    world.wreck()
    done = world.restore()
    assert state(world.cluster) == before | {"ConfigMap/since": ({}, None)}
    assert done.created == ("Service/web", "HTTPRoute/onlyvips")
    assert done.changed == ("ConfigMap/settings", "Deployment/web")
    assert (done.same, done.others, done.flaws) == (1, 1, ())


def test_what_others_need_comes_first(world: World) -> None:
    world.wreck()
    world.restore()
    assert world.applier.writes == ["ConfigMap/settings", "Service/web", "Deployment/web", "HTTPRoute/onlyvips"]
    kinds = ["HTTPRoute", "Widget", "HorizontalPodAutoscaler", "Deployment", "Service", "ConfigMap", "ServiceAccount"]
    ordered = [one["kind"] for one in in_order([{"kind": kind} for kind in kinds])]
    assert ordered == [*reversed([kind for kind in kinds if kind != "Widget"]), "Widget"]


def test_nothing_is_written_where_all_is_as_it_was(world: World) -> None:
    done = world.restore()
    assert (world.applier.writes, done.created, done.changed, done.same) == ([], (), (), 5)


def test_what_a_person_added_goes_with_the_change(world: World) -> None:
    world.change("ConfigMap", "settings", lambda one: one["data"].update(EXTRA="1"))
    assert world.ready().plan.overwritten == ("ConfigMap/settings",)
    world.restore()
    assert world.see("ConfigMap", "settings")["data"] == {"LEVEL": "info"}


def test_replicas_that_an_autoscaler_moves_are_no_difference_and_stay(world: World) -> None:
    world.change("Deployment", "web", lambda one: one["spec"].update(replicas=7))
    assert world.ready().plan.changes == ()
    world.change("Deployment", "web", lambda one: one["spec"].update(paused=True))
    world.restore()
    assert world.see("Deployment", "web")["spec"] == {"selector": {}, "template": {}, "replicas": 7}
    world.cluster.drop("Deployment", "web")
    world.restore()
    assert world.see("Deployment", "web")["spec"]["replicas"] == 1, "one that is made has those of the backup"


def test_what_the_server_and_controllers_gave_stays(world: World) -> None:
    def given(one: Manifest) -> None:
        one["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "7", "mine": "wrong"}
        one["metadata"]["ownerReferences"] = [{"kind": "App", "name": "x", "uid": "1"}]
        one["status"] = {"replicas": 3}
        one["spec"]["paused"] = True

    world.change("Deployment", "web", given)
    world.change("Service", "web", lambda one: one["spec"].update(clusterIP="10.96.0.7", type="LoadBalancer"))
    world.restore()
    found = world.see("Deployment", "web")
    assert found["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "7"}
    assert found["metadata"]["ownerReferences"] and found["status"] == {"replicas": 3}
    assert world.see("Service", "web")["spec"] == {"selector": {"app": "web"}, "clusterIP": "10.96.0.7"}


def test_some_objects_or_a_kind_come_back_alone(world: World) -> None:
    world.wreck()
    world.restore("", "Service/*=Service/*", "Deployment/web=Deployment/web")
    assert sorted(world.applier.writes) == ["Deployment/web", "Service/web"]
    with pytest.raises(Refused, match="The backup has no Deployment/none, Gateway/\\*"):
        world.ready("", "Deployment/none=Deployment/none", "Gateway/*=Gateway/*")
    for name in ("Deployment/web=Deployment/other", "web=web", "a/b/c=a/b/c", "Deployment/web", "/=/"):
        with pytest.raises(Refused, match="says no objects"):
            check_names([name])


# --- Secrets, releases, owners


def test_a_secret_that_is_missing_is_named_and_never_made(world: World) -> None:
    world.cluster.drop("Secret", "jwt")
    (told,) = world.ready().plan.secrets
    assert told == "Secret/jwt (keys JWT) is not there"
    assert world.restore().secrets == (told,)
    assert world.cluster.get("Secret", "jwt") is None
    world.cluster.create({"kind": "Secret", "metadata": {"name": "jwt"}, "stringData": {"OTHER": "x"}})
    assert world.ready().plan.secrets == ("Secret/jwt lacks JWT",)
    assert VALUE not in "".join(lines(world.ready().plan))


def record(state: str, service: str = "web") -> Manifest:
    labels = {**MANAGED, "onlyvips.com/state": state, "onlyvips.com/service": service, "onlyvips.com/kind": "release"}
    return {"kind": "ConfigMap", "metadata": {"name": f"onlyvips-release-{service}", "labels": labels}, "data": {}}


LEASE = {"kind": "Lease", "metadata": {"name": "onlyvips-release-web"}, "spec": {"holderIdentity": "somebody"}}


@pytest.mark.parametrize("held", [record("open"), LEASE], ids=["record", "lease"])
def test_what_an_open_release_drives_is_not_changed_under_it(world: World, held: Manifest) -> None:
    world.wreck()
    world.cluster.create(held)
    with pytest.raises(Refused, match=r"release of web is open and drives .*Deployment/web.*onlyvips release abort"):
        world.restore()
    assert world.applier.writes == []
    world.restore("", "ConfigMap/settings=ConfigMap/settings")
    assert world.applier.writes == ["ConfigMap/settings"]


@pytest.mark.parametrize("held", [record("closed"), record("open", "bot")], ids=["closed", "of another service"])
def test_other_releases_are_not_in_the_way_and_their_records_are_never_touched(world: World, held: Manifest) -> None:
    world.wreck()
    world.cluster.create(held)
    before = world.see("ConfigMap", held["metadata"]["name"])
    assert "ConfigMap/onlyvips-release-" not in "".join(world.ready().plan.others)
    world.restore()
    assert world.see("ConfigMap", held["metadata"]["name"]) == before


def test_an_autoscaler_of_what_a_release_drives_is_its_business_too(world: World) -> None:
    world.change("HorizontalPodAutoscaler", "web", lambda one: one["spec"].update(minReplicas=9))
    world.cluster.create(record("open"))
    with pytest.raises(Refused, match="drives HorizontalPodAutoscaler/web"):
        check(world.ready(), world.place, world.backup)


def test_a_release_that_begins_meanwhile_stops_it_before_its_objects(world: World) -> None:
    world.wreck()

    def begins(name: str) -> None:
        world.applier.before_write = lambda _: None
        world.cluster.create(record("open"))

    world.applier.before_write = begins
    with pytest.raises(Permanent, match=r"ConfigMap/settings were written, then: A release of web is open") as raised:
        world.restore()
    assert not isinstance(raised.value, Refused) and world.applier.writes == ["ConfigMap/settings"]


def test_objects_of_releases_in_a_backup_do_not_come_back() -> None:
    assert is_of_a_release(record("closed"))
    assert selected([record("closed"), LEASE, {"kind": "Service", "metadata": {"name": "web"}}], []) == [
        {"kind": "Service", "metadata": {"name": "web"}}
    ]


def test_who_owns_what_would_change_is_told_and_who_writes_by_himself_is_a_warning(world: World) -> None:
    world.change("ConfigMap", "settings", lambda one: one["data"].update(LEVEL="debug"))
    world.applier.manager, world.automatic = "argocd-controller", ("argocd-controller", "flagger")
    plan = world.ready().plan
    assert plan.changes[0].owners == {"argocd-controller": [".data.LEVEL"]}
    assert any("argocd-controller writes ConfigMap/settings by itself" in note for note in plan.notes)
    assert any("argocd-controller owns .data.LEVEL" in line for line in lines(plan))
    world.change(
        "ConfigMap", "settings", lambda o: o["metadata"].update(labels={"app.kubernetes.io/managed-by": "Helm"})
    )
    assert any("is of a Helm chart" in note for note in world.ready().plan.notes)


# --- whoever dies, copies, refusals


def test_a_death_at_any_write_is_gone_on_with_and_nothing_is_written_twice() -> None:
    def wrecked(life: Life) -> World:
        world = World()
        world.wreck()
        world.applier = SimApplier(world.cluster, life)
        return world

    before, alive = state(World().cluster) | {"ConfigMap/since": ({}, None)}, Life()
    wrecked(alive).restore()
    assert alive.writes == 4
    for death in range(1, alive.writes + 1):
        world = wrecked(Life(death))
        with pytest.raises(Killed):
            world.restore()
        world.applier = SimApplier(world.cluster)
        world.restore()
        assert state(world.cluster) == before
        assert len(world.applier.writes) == alive.writes - death + 1


def test_an_answer_that_was_lost_is_found_done_by_the_next_run(world: World) -> None:
    world.wreck()
    world.cluster.answer_lost_on("Service", "create")
    with pytest.raises(Exception, match="did not answer create Service web"):
        world.restore()
    world.restore()
    assert world.applier.writes.count("Service/web") == 1


def test_what_somebody_changed_since_it_was_compared_is_not_written_over(world: World) -> None:
    world.wreck()
    ready = world.ready()
    world.change("ConfigMap", "settings", lambda one: one["data"].update(LEVEL="of another"))
    with pytest.raises(Conflict):
        restore_configuration(ready, world.place, world.backup, FixedClock(), lambda: None)
    assert world.see("ConfigMap", "settings")["data"]["LEVEL"] == "of another"


def test_what_reads_back_otherwise_is_told(world: World) -> None:
    world.wreck()

    def meddles(name: str) -> None:
        if name == "HTTPRoute/onlyvips":
            world.change("ConfigMap", "settings", lambda one: one["data"].update(LEVEL="meddled"))

    world.applier.before_write = meddles
    with pytest.raises(Permanent, match="ConfigMap/settings read back otherwise than they were written"):
        world.restore()


def test_a_bad_copy_is_passed_by_and_without_a_good_one_it_is_refused(world: World) -> None:
    world.wreck()
    key = f"lab/configuration/{world.backup}/{MANIFESTS}"
    for number, store in enumerate(world.stores):
        data = store.objects[key]
        store.objects[key] = data[:-1] + bytes([data[-1] ^ 1])
        if number == 0:
            assert any(f"a: {key} has SHA-256" in flaw for flaw in world.ready().plan.flaws)
    with pytest.raises(Refused, match="No good copy is left of"):
        world.restore()
    assert world.applier.writes == []


def test_the_wrong_identity_is_refused_before_the_cluster_is_touched(world: World) -> None:
    world.wreck()
    world.identities = [pyrage.x25519.Identity.generate()]
    with pytest.raises(Refused, match="see that the identity is the right one"):
        world.restore()
    assert world.applier.writes == []


def test_what_the_server_would_not_take_is_refused_before_anything_is_changed(world: World) -> None:
    world.wreck()
    world.change("Deployment", "web", lambda one: one["spec"].update(selector={"app": "other"}))
    with pytest.raises(Refused, match=r"would not take all of it, so nothing was changed: Deployment/web: .*immutable"):
        world.restore()
    assert world.applier.writes == []


def test_latest_is_refused_where_anything_is_written_also_where_things_are_only_missing(world: World) -> None:
    world.restore("latest")
    world.cluster.drop("Service", "web")
    with pytest.raises(Refused, match=f"say --at {world.backup}"):
        world.restore("latest")
    assert world.applier.writes == []
    world.restore(world.backup)
    world.wreck()
    with pytest.raises(Refused, match=f"say --at {world.backup}"):
        world.restore("latest")


def test_another_namespace_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.change("Service", "web", lambda one: one["metadata"].update(namespace="elsewhere"))
    other = world.take(4)
    with pytest.raises(Refused, match="The backup is of namespace elsewhere, the environment's is production"):
        world.ready(other)


# --- the difference


def test_a_difference_shows_what_changes_and_no_secret(world: World) -> None:
    def deployment(level: str, password: str, url: str) -> Manifest:
        env = [
            {"name": "LEVEL", "value": level},
            {"name": "DB_PASSWORD", "value": password},
            {"name": "U", "value": url},
        ]
        return {"kind": "Deployment", "spec": {"containers": [{"name": "api", "env": env}]}}

    before = deployment("debug", "hunter1", "redis://u:hunter3@h/0")
    after = deployment("info", "hunter2", "redis://u:hunter4@h/0")
    told = "\n".join(diff(Change("Deployment/web", after, before, after, False)))
    assert "--- live Deployment/web" in told and "+++ backup Deployment/web" in told
    assert any(line.startswith("-") and '"value": "debug"' in line for line in told.splitlines())
    assert any(line.startswith("+") and '"value": "info"' in line for line in told.splitlines())
    assert "(not shown: live)" in told and "(not shown: of the backup)" in told and "hunter" not in told
    made = "\n".join(diff(Change("Deployment/web", after, None, after, False)))
    assert "hunter" not in made and "+  " in made
