"""Applier's contract: one suite for the simulated apiserver and the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onlyvips.adapters.applier_kubernetes import KubernetesApplier
from onlyvips.errors import Conflict, OnlyVipsError, Permanent
from onlyvips.ports import Manifest
from onlyvips.ports.configuration import Applier, Served
from tests.contracts.test_cluster import Place, place
from tests.simulators.inventory import SimApplier

__all__ = ["place"]
CONFIG_MAP = Served("v1", "ConfigMap", "configmaps")
DEPLOYMENT = Served("apps/v1", "Deployment", "deployments")
ROUTE = Served("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")


@pytest.fixture
def applier(place: Place, request: pytest.FixtureRequest) -> Applier:
    if "simulator" in request.node.callspec.id:
        return SimApplier(place.cluster)  # type: ignore[arg-type]
    return KubernetesApplier(Path(request.getfixturevalue("lab").env["ONLYVIPS_LAB_KUBECONFIG"]), "production")


def config_map(place: Place, name: str = "one", **data: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": place.metadata(name), "data": data}


def test_what_is_created_is_there_as_it_was_told_and_a_dry_run_makes_nothing(place: Place, applier: Applier) -> None:
    wanted = config_map(place, a="1")
    dry = applier.create(CONFIG_MAP, wanted, dry=True)
    assert (dry["kind"], dry["apiVersion"], dry["data"]) == ("ConfigMap", "v1", {"a": "1"})
    assert place.cluster.get("ConfigMap", wanted["metadata"]["name"]) is None
    made = applier.create(CONFIG_MAP, wanted, dry=False)
    assert place.live("ConfigMap", "one")["data"] == made["data"] == {"a": "1"}
    for how in (True, False):
        with pytest.raises(Conflict):
            applier.create(CONFIG_MAP, config_map(place, a="2"), dry=how)
    assert place.live("ConfigMap", "one")["data"] == {"a": "1"}


def test_what_is_replaced_has_nothing_else_and_a_dry_run_changes_nothing(place: Place, applier: Applier) -> None:
    applier.create(CONFIG_MAP, config_map(place, a="1", b="1"), dry=False)
    wanted = {**place.live("ConfigMap", "one"), "data": {"a": "2"}}
    assert applier.replace(CONFIG_MAP, wanted, dry=True)["data"] == {"a": "2"}
    assert place.live("ConfigMap", "one")["data"] == {"a": "1", "b": "1"}
    assert applier.replace(CONFIG_MAP, wanted, dry=False)["data"] == {"a": "2"}
    assert place.live("ConfigMap", "one")["data"] == {"a": "2"}


def test_what_changed_or_is_gone_since_it_was_read_is_not_replaced(place: Place, applier: Applier) -> None:
    applier.create(CONFIG_MAP, config_map(place, a="1"), dry=False)
    stale = place.live("ConfigMap", "one")
    applier.replace(CONFIG_MAP, {**stale, "data": {"a": "2"}}, dry=False)
    for how in (True, False):
        with pytest.raises(Conflict):
            applier.replace(CONFIG_MAP, {**stale, "data": {"a": "3"}}, dry=how)
    live = place.live("ConfigMap", "one")
    assert live["data"] == {"a": "2"}
    place.cluster.delete("ConfigMap", live["metadata"]["name"], live["metadata"]["resourceVersion"])
    with pytest.raises(OnlyVipsError):
        applier.replace(CONFIG_MAP, live, dry=False)
    assert place.cluster.get("ConfigMap", live["metadata"]["name"]) is None, "what was removed does not come back so"


def test_who_owns_what_would_change_is_told_by_field(place: Place, applier: Applier) -> None:
    place.config_map()  # by another manager
    live = place.live("ConfigMap", "one")
    assert dict(applier.owners(CONFIG_MAP, live)) == {}
    told = applier.owners(CONFIG_MAP, {**live, "data": {"a": "2"}})
    assert [list(fields) for fields in told.values()] == [[".data.a"]]
    assert dict(applier.owners(CONFIG_MAP, config_map(place, "none", a="1"))) == {}
    assert place.live("ConfigMap", "one") == live
    assert place.cluster.get("ConfigMap", f"{place.mark}-none") is None


def test_what_the_server_does_not_take_is_refused_in_the_dry_run_too(place: Place, applier: Applier) -> None:
    place.deployment()
    for how in (True, False):
        assert "immutable" in refusal_of_another_selector(place, applier, dry=how)


def refusal_of_another_selector(place: Place, applier: Applier, *, dry: bool) -> str:
    """What the server says; its own controllers write to a new Deployment too, which is a conflict, and asked again."""
    for _ in range(100):
        live = place.live("Deployment", "web")
        live["spec"]["selector"]["matchLabels"] = {"app": "another"}
        live["spec"]["template"]["metadata"]["labels"]["app"] = "another"
        with pytest.raises(Permanent) as raised:
            applier.replace(DEPLOYMENT, live, dry=dry)
        if not isinstance(raised.value, Conflict):
            return str(raised.value)
    raise AssertionError("It is changed all the time.")


def test_a_custom_object_is_made_and_changed_as_any(place: Place, applier: Applier) -> None:
    def spec(weight: int) -> dict[str, Any]:
        return {"rules": [{"name": "api", "backendRefs": [{"name": "a", "port": 80, "weight": weight}]}]}

    route = {"apiVersion": ROUTE.api, "kind": "HTTPRoute", "metadata": place.metadata("r"), "spec": spec(1)}
    applier.create(ROUTE, route, dry=False)
    live = place.live("HTTPRoute", "r")
    live["spec"]["rules"][0]["backendRefs"][0]["weight"] = 7
    applier.replace(ROUTE, live, dry=False)
    assert place.live("HTTPRoute", "r")["spec"]["rules"][0]["backendRefs"][0]["weight"] == 7
