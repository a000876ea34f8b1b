"""The rights of the reconciler's CronJob: all that it does is allowed, and nothing is allowed that it never does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from onlyvips import environment as environments
from onlyvips.environment.references import is_reference
from onlyvips.ports import Manifest
from onlyvips.steps import group_records, records, targets
from tests.procedures import in_place, test_blue_green_kills, test_many_kills
from tests.procedures.in_place import Bot, Rolling
from tests.procedures.test_release_kills import killed_at, writes_of
from tests.procedures.theatre import BAD, GOOD, Process, Theatre
from tests.procedures.troupe import Actor, Troupe

FOLDER = Path(__file__).parents[2] / "deployments" / "kubernetes" / "reconciler"
RESOURCES = {
    "ConfigMap": ("", "configmaps"),
    "Secret": ("", "secrets"),
    "Service": ("", "services"),
    "Pod": ("", "pods"),
    "Deployment": ("apps", "deployments"),
    "Lease": ("coordination.k8s.io", "leases"),
    "HorizontalPodAutoscaler": ("autoscaling", "horizontalpodautoscalers"),
    "HTTPRoute": ("gateway.networking.k8s.io", "httproutes"),
    "Job": ("batch", "jobs"),
}
Ask = tuple[str, str, str]
"""Verb, kind, and a name where there is one."""


def documents(file: str) -> list[dict[str, Any]]:
    """The objects of one of the manifests."""
    return list(yaml.safe_load_all((FOLDER / file).read_text()))


RULES = next(one["rules"] for one in documents("rights.yaml") if one["kind"] == "Role")


class Watched(Process):
    """A process of which is written down what it asks the apiserver for."""

    def __init__(self, theatre: Theatre, holder: str, run: str = "run-1") -> None:
        self.asked: set[Ask] = set()
        self.made: list[Manifest] = []
        super().__init__(theatre, holder, run)

    def get(self, kind: str, name: str) -> Manifest | None:
        self.asked.add(("get", kind, name))
        return super().get(kind, name)

    def list(self, kind: str, labels: Mapping[str, str]) -> list[Manifest]:
        self.asked.add(("list", kind, ""))
        return super().list(kind, labels)

    def create(self, manifest: Manifest) -> Manifest:
        self.asked.add(("create", manifest["kind"], ""))
        self.made.append(manifest)
        return super().create(manifest)

    def patch(self, kind: str, name: str, *rest: Any) -> Manifest:
        self.asked.add(("patch", kind, name))
        return super().patch(kind, name, *rest)

    def delete(self, kind: str, name: str, version: str) -> None:
        self.asked.add(("delete", kind, name))
        super().delete(kind, name, version)


class WatchedActor(Watched, Actor):
    """The same of a release of several services."""


def deaths() -> Iterator[Theatre]:
    """The platform after the driver died, at each of its writes; and once more with its Lease gone."""
    for version in (GOOD, BAD):
        for write in range(2, writes_of(version) + 1):
            yield killed_at(version, write, "after")
    for other in (Rolling, Bot):
        for write in range(2, in_place.writes_of(other()) + 1):
            yield in_place.killed_at(other(), GOOD, write, "after")
    for version, asleep in ((GOOD, False), (BAD, True)):
        for write in range(2, test_blue_green_kills.writes_of(version, asleep) + 1):
            yield test_blue_green_kills.killed_at(version, write, "after", asleep)
    for write in range(3, writes_of(GOOD) + 1):
        theatre = killed_at(GOOD, write, "after")
        if records.find_open(theatre.cluster, "backend") is not None:
            theatre.abort()
            yield theatre
    theatre = killed_at(GOOD, 30, "after")
    theatre.cluster.drop("Lease", "onlyvips-release-backend")
    yield theatre


def deaths_of_all() -> Iterator[Troupe]:
    """The same of a release of both services, of which one fails, or that a person aborts."""
    for what in ("the second fails", "both good"):
        for write in range(4, test_many_kills.writes_of(what) + 1, 4):
            troupe = test_many_kills.killed_at(what, write)
            if what == "both good" and troupe.group().open:
                troupe.abort_all()
            yield troupe


@pytest.fixture(scope="module")
def reconcilers() -> list[Watched]:
    """Each after another death of a driver, with what it asked for."""
    found = list[Watched]()
    for theatre in deaths():
        found.append(reconciler := Watched(theatre, "reconciler"))
        reconciler.reconcile()
    for troupe in deaths_of_all():
        found.append(actor := WatchedActor(troupe, "reconciler"))
        actor.reconcile_all()
        troupe.assert_nothing_lost()
    return found


@pytest.fixture(scope="module")
def asked(reconcilers: list[Watched]) -> set[Ask]:
    """All that a reconciler asked for, whenever the driver died."""
    return {(verb, kind, as_in_production(kind, name)) for one in reconcilers for verb, kind, name in one.asked}


def as_in_production(kind: str, name: str) -> str:
    """The panel of the theatre has a longer name there, the route of the miniapp another."""
    return "onlyvips" if (kind, name) == ("HTTPRoute", "miniapp") else name.replace("panel", "showcu-panel")


def allows(rule: dict[str, Any], ask: Ask) -> bool:
    """As the apiserver decides: any one rule is enough."""
    verb, kind, name = ask
    group, resource = RESOURCES[kind]
    named = rule.get("resourceNames")
    mine = group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]
    return mine and (named is None or (verb not in ("list", "create") and name in named))


def test_all_that_a_reconciler_does_is_allowed(asked: set[Ask]) -> None:
    assert {ask for ask in asked if not any(allows(rule, ask) for rule in RULES)} == set()


def test_what_it_makes_admission_lets_through_and_all_that_the_role_lets_it_make_is_looked_at(
    reconcilers: list[Watched],
) -> None:
    made = [one for each in reconcilers for one in each.made if one["kind"] != "Lease"]
    assert {one["kind"] for one in made} == {"Deployment", "Service"}
    for one in made:
        assert one["metadata"]["name"].endswith("-canary")
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "onlyvips-rollout" and labels["onlyvips.com/release"]
    matched = documents("admission.yaml")[0]["spec"]["matchConstraints"]["resourceRules"]
    watched = {name for one in matched if "CREATE" in one["operations"] for name in one["resources"]}
    assert watched == {name for rule in RULES if "create" in rule["verbs"] for name in rule["resources"]}


@pytest.mark.parametrize("environment", ["production", "lab"])
def test_whatever_a_release_of_any_service_writes_is_among_the_names(environment: str) -> None:
    loaded = environments.load(environment)
    assert any(allows(rule, ("patch", "Lease", f"onlyvips-release-{group_records.LEASE}")) for rule in RULES)
    for service in loaded.services:
        plan = environments.release_plan(loaded, service, loaded.release.version)
        for kind, name in (*targets.lasting(plan), *targets.passing(plan)):
            verbs = ["get", "patch", *(["delete"] if (kind, name) in targets.passing(plan) else [])]
            for verb in verbs:
                assert any(allows(rule, (verb, kind, name)) for rule in RULES), (service, verb, kind, name)
        assert any(allows(rule, ("patch", "Lease", f"onlyvips-release-{service}")) for rule in RULES)


def test_nothing_is_allowed_that_a_reconciler_never_does(asked: set[Ask]) -> None:
    for rule in RULES:
        for verb in rule["verbs"]:
            alone = {**rule, "verbs": [verb]}
            assert any(allows(alone, ask) for ask in asked), f"{verb} {rule['resources']}"


def test_no_rule_has_a_wildcard_or_names_what_no_service_has() -> None:
    services = environments.load("production").services
    known = {name for one in services.values() for name in (one.deployment, one.service or one.deployment)}
    known |= {one.route.name for one in services.values() if one.route}
    for rule in RULES:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        for name in rule.get("resourceNames", ()):
            assert re.sub("^onlyvips-release-|-(canary|blue|green|preview)$", "", name) in known | {
                *services,
                group_records.LEASE,
            }


def test_the_cronjob_has_every_secret_that_evidence_and_news_need_by_reference_and_none_stops_it() -> None:
    (cronjob,) = documents("cronjob.yaml")
    (container,) = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    given = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in container["env"] if "valueFrom" in one}
    production = environments.load("production")
    stores = production.backup.destinations.values()
    wanted = [value for one in stores for value in (one.access_key, one.secret_key, one.url, one.path) if value]
    wanted += [one.url for one in production.people.notifications.targets.values()]
    assert given.keys() == {value.removeprefix("env:") for value in wanted if is_reference(value)}
    assert all(one["optional"] for one in given.values())
    assert not any("SECRET" in one["name"] or "KEY" in one["name"] for one in container["env"] if "value" in one)
