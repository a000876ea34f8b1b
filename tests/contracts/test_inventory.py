"""Inventory's contract: one suite for the simulated apiserver and the real one; then what only a broken server does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from onlyvips.adapters.inventory_kubernetes import KubernetesInventory
from onlyvips.adapters.session_kubernetes import KubernetesSession
from onlyvips.core.kinds import parse_kind
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports.configuration import Inventory, Served
from tests.contracts.test_cluster import Place, place
from tests.simulators.inventory import SimInventory

__all__ = ["place"]
DEPLOYMENT = Served("apps/v1", "Deployment", "deployments")


@pytest.fixture
def inventory(place: Place, request: pytest.FixtureRequest) -> Inventory:
    if "simulator" in request.node.callspec.id:
        return SimInventory(place.cluster)
    kubeconfig = request.getfixturevalue("lab").env["ONLYVIPS_LAB_KUBECONFIG"]
    return KubernetesInventory(Path(kubeconfig), "production", page=2)


# --- the contract


def test_it_says_what_answers(inventory: Inventory) -> None:
    told = inventory.describe()
    assert (told["dialect"], told["namespace"]) == ("kubernetes", "production")
    assert told["version"].startswith("v1.")


def test_kinds_are_found_by_name_and_by_group_and_version_in_their_order(inventory: Inventory) -> None:
    kinds = ["HTTPRoute", "v1/ConfigMap", "Deployment", "autoscaling/v2/HorizontalPodAutoscaler"]
    assert [(one.api, one.kind) for one in inventory.served([parse_kind(text) for text in kinds])] == [
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ("v1", "ConfigMap"),
        ("apps/v1", "Deployment"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ]


def test_every_kind_that_the_server_does_not_have_is_named(inventory: Inventory) -> None:
    kinds = ["ConfigMap", "cert-manager.io/v1/Certificate", "apps/v7/Deployment"]
    with pytest.raises(Refused) as caught:
        inventory.served([parse_kind(text) for text in kinds])
    told = str(caught.value)
    assert "it has no cert-manager.io/v1/Certificate" in told and "it has no apps/v7/Deployment" in told
    assert "ConfigMap" not in told


def test_all_objects_come_by_name_each_with_its_kind_and_version(place: Place, inventory: Inventory) -> None:
    for name in ("c", "a", "b", "e", "d"):
        place.config_map(name)
    found = inventory.objects(Served("v1", "ConfigMap", "configmaps"))
    mine = [one["metadata"]["name"] for one in found if one["metadata"]["name"].startswith(place.mark)]
    assert mine == [f"{place.mark}-{name}" for name in "abcde"]
    assert {(one["apiVersion"], one["kind"]) for one in found} == {("v1", "ConfigMap")}
    assert [one["metadata"]["name"] for one in found] == sorted(one["metadata"]["name"] for one in found)


def test_a_custom_object_comes_as_it_stands(place: Place, inventory: Inventory) -> None:
    spec = {"rules": [{"name": "api", "backendRefs": [{"name": "a", "port": 80, "weight": 3}]}]}
    route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": place.metadata("r")}
    made = place.cluster.create({**route, "spec": spec})
    (kind,) = inventory.served([parse_kind("HTTPRoute")])
    (found,) = [one for one in inventory.objects(kind) if one["metadata"]["name"] == f"{place.mark}-r"]
    assert found["spec"] == made["spec"]


@pytest.mark.lab
def test_the_real_server_says_what_is_outside_of_namespaces_and_what_is_not_for_us(lab: Any, tmp_path: Path) -> None:
    kubeconfig = Path(lab.env["ONLYVIPS_LAB_KUBECONFIG"])
    inventory = KubernetesInventory(kubeconfig, "production")
    (grants,) = inventory.served([parse_kind("ReferenceGrant")])
    assert grants.api == "gateway.networking.k8s.io/v1beta1"  # the group prefers v1, which has no such kind
    with pytest.raises(Refused, match="gateway.networking.k8s.io/v1/GatewayClass is not in namespaces"):
        inventory.served([parse_kind("gateway.networking.k8s.io/v1/GatewayClass")])
    account = "/api/v1/namespaces/production/serviceaccounts/default/token"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["https://lab"]}}
    status, answer = KubernetesSession(kubeconfig).ask("POST", account, asked)
    assert status == 201, answer
    document = yaml.safe_load(kubeconfig.read_text())
    document["users"][0]["user"] = {"token": answer["status"]["token"]}
    weak = tmp_path / "kubeconfig"
    weak.write_text(yaml.safe_dump(document))
    with pytest.raises(
        Refused, match="it does not let us list Secret in production; it does not let us list Service in"
    ):
        KubernetesInventory(weak, "production").served([parse_kind("Secret"), parse_kind("Service")])


# --- a server that breaks


class Server:
    """Answers each path with what it was told, once in order; a number is a status, None a dropped connection."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {}
        self.asked: list[str] = []

    def answer(self, path: str) -> Any:
        self.asked.append(path)
        left = self.answers[path.partition("?")[0]]
        return left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture
def server() -> Iterator[tuple[Server, Callable[[], str]]]:
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing to stderr."""

        def do_GET(self) -> None:
            found = made.answer(self.path)
            if found is None:
                return
            status, body = (found, {"message": f"status {found}"}) if isinstance(found, int) else (200, found)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made, lambda: f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def broken(server: tuple[Server, Callable[[], str]], tmp_path: Path) -> tuple[Server, KubernetesInventory]:
    made, url = server
    context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "x", "cluster": {"server": url()}}],
        "users": [{"name": "x", "user": {"token": "t"}}],
        "contexts": [context],
        "current-context": "x",
    }
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(document))
    made.answers = {
        "/apis": [{"groups": [{"name": "apps", "preferredVersion": {"version": "v2"}, "versions": VERSIONS}]}],
        "/apis/apps/v2": [{"resources": []}],
        "/apis/apps/v1": [
            {"resources": [{"name": "deployments", "kind": "Deployment", "namespaced": True, "verbs": ["list"]}]}
        ],
    }
    return made, KubernetesInventory(file, "production", page=1)


VERSIONS = [{"version": "v2"}, {"version": "v1"}]
LIST = "/apis/apps/v1/namespaces/production/deployments"


def page(name: str, version: str, more: str = "") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version, "continue": more}, "items": [{"metadata": {"name": name}}]}


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (410, "was older than the cluster keeps"),
        (None, "did not answer"),
        (500, "status 500"),
        (page("b", "8"), "are not of one moment"),
    ],
    ids=["expired", "dropped", "500", "another moment"],
)
def test_a_list_that_breaks_off_is_no_list(broken: Any, second: Any, told: str) -> None:
    server, inventory = broken
    server.answers[LIST] = [page("a", "7", "next"), second]
    with pytest.raises(Transient, match=told):
        inventory.objects(DEPLOYMENT)
    assert server.asked == [f"{LIST}?limit=1", f"{LIST}?limit=1&continue=next"]


def test_pages_of_one_moment_are_put_together(broken: Any) -> None:
    server, inventory = broken
    server.answers[LIST] = [page("b", "7", "next"), page("a", "7")]
    assert [one["metadata"]["name"] for one in inventory.objects(DEPLOYMENT)] == ["a", "b"]


def test_a_kind_that_the_preferred_version_lacks_is_found_in_another(broken: Any) -> None:
    server, inventory = broken
    server.answers[LIST] = [page("a", "7")]
    assert inventory.served([parse_kind("Deployment")]) == [DEPLOYMENT]


def test_a_kind_that_we_may_not_list_is_refused_by_name(broken: Any) -> None:
    server, inventory = broken
    server.answers[LIST] = [403]
    with pytest.raises(Refused, match=r"it does not let us list Deployment in production\. Nothing was read"):
        inventory.served([parse_kind("Deployment")])


@pytest.mark.parametrize(("status", "error"), [(500, Transient), (429, Transient), (401, Permanent)])
@pytest.mark.parametrize("path", ["/apis", "/apis/apps/v1", LIST])
def test_a_server_that_does_not_say_what_it_has_is_not_believed_to_have_nothing(
    broken: Any, path: str, status: int, error: type[Exception]
) -> None:
    server, inventory = broken
    server.answers[LIST] = [page("a", "7")]
    server.answers[path] = [status]
    with pytest.raises(error) as caught:
        inventory.served([parse_kind("Deployment")])
    assert not isinstance(caught.value, Refused)
    server.answers["/version"] = [status]
    with pytest.raises(Transient):
        inventory.describe()
