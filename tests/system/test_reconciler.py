"""The reconciler as CronJob: the manifests of deployments/kubernetes on real servers, with the rights of its own
account, after a driver died under traffic and nobody came."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from onlyvips import environment as environments
from tests.conftest import ROOT
from tests.system.platform import Platform, kill

pytestmark = pytest.mark.lab

MANIFESTS = ROOT / "deployments" / "kubernetes" / "reconciler"
NAME, POD_SECRETS = "onlyvips-reconciler", "onlyvips-lab"
PATIENT = "patient"
"""As ``quick``, with a canary that stays at half of the traffic."""
INSIDE = "inside"
"""The same as a pod reads it, with the pod's own account."""


class Kubectl:
    """kubectl itself, as administrator or with a ``token``."""

    def __init__(self, platform: Platform, folder: Path) -> None:
        self.platform, self.folder = platform, folder

    def __call__(self, *arguments: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        config = self.platform.lab.env["ONLYVIPS_LAB_KUBECONFIG"]
        command = [str(self.platform.lab.bin / "kubectl"), "--kubeconfig", config, "-n", "production", *arguments]
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        done = subprocess.run(command, env=env, input=given, capture_output=True, text=True, timeout=120, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        """What it shows as JSON."""
        return json.loads(self(*arguments, "-o", "json").stdout)


def overlay(platform: Platform, folder: Path) -> Path:
    """What the lab needs otherwise than production: the environment's name, and other references to resolve."""
    loaded = environments.load("quick")
    stores = loaded.backup.destinations.values()
    values = [value for one in stores for value in (one.url, one.access_key, one.secret_key, one.path) if value]
    names = sorted({value.removeprefix("env:") for value in (*values, loaded.endpoints.prometheus)})
    secret = {name: platform.lab.env[name] for name in names}
    env = [{"name": name, "valueFrom": {"secretKeyRef": {"name": POD_SECRETS, "key": name}}} for name in names]
    env += [{"name": "ONLYVIPS_ENVIRONMENTS_DIR", "value": "/etc/onlyvips/environments"}]
    pod = "/spec/jobTemplate/spec/template/spec/containers/0"
    patch = [
        {"op": "replace", "path": f"{pod}/env", "value": env},
        {"op": "replace", "path": f"{pod}/command/4", "value": INSIDE},
        {"op": "add", "path": "/spec/suspend", "value": True},
    ]
    kustomization = {
        "resources": [os.path.relpath(MANIFESTS, folder)],
        "patches": [{"target": {"kind": "CronJob"}, "patch": yaml.safe_dump(patch)}],
        "secretGenerator": [{"name": POD_SECRETS, "literals": [f"{key}={value}" for key, value in secret.items()]}],
        "configMapGenerator": [{"name": "onlyvips-environments", "files": [f"{INSIDE}.yaml"]}],
        "generatorOptions": {"disableNameSuffixHash": True},
    }
    document = yaml.safe_load((platform.folder / "quick.yaml").read_text())
    document["strategies"]["canary"]["stages"][-1]["hold"] = "3m"
    (platform.folder / f"{PATIENT}.yaml").write_text(yaml.safe_dump(document | {"name": PATIENT}))
    document["endpoints"]["kubeconfig"] = "automatic"
    (folder / f"{INSIDE}.yaml").write_text(yaml.safe_dump(document | {"name": INSIDE}))
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


@pytest.fixture(scope="module")
def kubectl(module_platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """kubectl, with everything of the reconciler installed; its CronJob is suspended."""
    folder = tmp_path_factory.mktemp("reconciler")
    run = Kubectl(module_platform, folder)
    run("apply", "-k", str(overlay(module_platform, folder)))
    yield run
    run("delete", "-k", str(folder), "--wait=false")


def job(kubectl: Kubectl, name: str) -> None:
    """A Job from the CronJob's template."""
    kubectl("create", "job", name, f"--from=cronjob/{NAME}")


def ended(kubectl: Kubectl, name: str) -> tuple[bool, str]:
    """Whether the Job succeeded, and what its pod said."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        status = kubectl.json("get", "job", name)["status"]
        done = {one["type"] for one in status.get("conditions") or [] if one["status"] == "True"}
        if done & {"Complete", "Failed"}:
            return "Complete" in done, said(kubectl, name)
        time.sleep(0.5)
    raise AssertionError(f"Job {name} does not end: {said(kubectl, name)}")


def said(kubectl: Kubectl, name: str) -> str:
    """The log of the Job's pod, as the node keeps it."""
    pods = kubectl.json("get", "pods", "-l", f"batch.kubernetes.io/job-name={name}")["items"]
    logs = kubectl.platform.lab.home / "logs" / "pods"
    return "".join((logs / f"{pod['metadata']['name']}.log").read_text() for pod in pods)


def test_the_cronjob_leaves_a_living_driver_alone_and_rolls_back_what_a_dead_one_left(
    platform: Platform, kubectl: Kubectl
) -> None:
    before = platform.image()
    with platform.traffic() as counts:
        process = platform.begin(platform.other_version(), PATIENT)
        platform.wait_for(lambda record: record.open and record.weight == 50)
        job(kubectl, "while-it-lives")
        good, told = ended(kubectl, "while-it-lives")
        kill(process)
        assert good and "backend: " in told and "drives this release and is alive" in told, told
        kubectl("patch", "cronjob", NAME, "-p", '{"spec": {"suspend": false}}')
        record = platform.wait_for(lambda record: not record.open)
        kubectl("patch", "cronjob", NAME, "-p", '{"spec": {"suspend": true}}')
        seen = counts()
    assert seen["lost"] == {}, seen["losses"]
    assert (record.result, record.reason) == ("rolled-back", "its driver is gone: unattended, a canary goes back")
    assert len(record.holders) == 2 and record.holders[1].startswith("reconcile by ")
    assert set(record.evidence_at) == {"s3-a", "s3-b", "directory"}
    assert platform.image() == before and platform.weight() == 0
    assert platform.cluster.get("Deployment", "backend-canary") is None
    assert kubectl.json("get", "cronjob", NAME)["status"]["lastScheduleTime"]


def test_a_run_of_prefect_finishes_what_a_dead_driver_left_and_shows_what_came_of_each_service(
    platform: Platform,
) -> None:
    before, api = platform.image(), platform.lab.env["ONLYVIPS_LAB_PREFECT_API_URL"]
    with platform.traffic() as counts:
        process = platform.begin(platform.other_version())
        platform.wait_for(lambda record: record.open and record.weight == 10)
        kill(process)
        run = platform.begin_deployment("reconcile/reconcile", {"environment": "lab"})
        record = platform.wait_for(lambda record: not record.open)
        seen = counts()
    assert seen["lost"] == {}, seen["losses"]
    assert record.result == "rolled-back" and record.holders[1].startswith("reconcile by run ")
    assert (platform.image(), platform.weight()) == (before, 0)
    state, until = "", time.monotonic() + 60
    while state not in ("COMPLETED", "FAILED", "CRASHED") and time.monotonic() < until:
        time.sleep(0.5)
        state = httpx.get(f"{api}/flow_runs/{run}", trust_env=False).json()["state_type"]
    assert state == "COMPLETED"
    asked = {"artifacts": {"key": {"any_": ["reconcile-lab"]}}}
    (shown,) = httpx.post(f"{api}/artifacts/filter", json=asked, trust_env=False).raise_for_status().json()
    outcomes = {row["service"]: row["outcome"] for row in json.loads(shown["data"])}
    assert outcomes["backend"] == "rolled-back" and set(outcomes.values()) == {"rolled-back", "nothing"}


CORE, APPS, BATCH = "/api/v1", "/apis/apps/v1", "/apis/batch/v1"
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/production/httproutes"
HERE = "/namespaces/production"
PATCH = {"metadata": {"annotations": {"onlyvips.com/tried": "yes"}}}
POD = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
LEASE = {"metadata": {"name": "kube-scheduler"}}
LEASES = f"/apis/coordination.k8s.io/v1{HERE}/leases"
OURS = {"app.kubernetes.io/managed-by": "onlyvips-rollout", "onlyvips.com/release": "r1"}


def deployment(name: str, labels: dict[str, str]) -> dict[str, Any]:
    """A whole one: what is not is refused before a policy sees it."""
    template = {"metadata": {"labels": {"app": "x"}}, "spec": POD["spec"]}
    spec = {"selector": {"matchLabels": {"app": "x"}}, "template": template}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def service(name: str, labels: dict[str, str]) -> dict[str, Any]:
    """A Service likewise."""
    return {"metadata": {"name": name, "labels": labels}, "spec": {"ports": [{"port": 80}]}}


ALLOWED = [
    ("GET", f"{CORE}{HERE}/pods", None),
    ("GET", f"{CORE}{HERE}/configmaps", None),
    ("GET", f"{APPS}{HERE}/deployments/backend", None),
    ("PATCH", f"{APPS}{HERE}/deployments/backend", PATCH),
    ("PATCH", f"{ROUTES}/onlyvips", PATCH),
    ("POST", f"{APPS}{HERE}/deployments", deployment("x-canary", OURS)),
    ("POST", f"{CORE}{HERE}/services", service("x-canary", OURS)),
]
FORBIDDEN = [
    ("GET", f"{CORE}/namespaces/default/configmaps", None),
    ("GET", f"{CORE}/namespaces/kube-system/secrets", None),
    ("GET", f"{CORE}/nodes", None),
    ("GET", f"{CORE}/pods", None),
    ("POST", f"{CORE}{HERE}/pods", POD),
    ("POST", f"{CORE}{HERE}/pods/x/exec", None),
    ("GET", f"{APPS}{HERE}/deployments", None),
    ("POST", f"{BATCH}{HERE}/jobs", {}),
    ("POST", f"{CORE}{HERE}/configmaps", {}),
    ("POST", f"{CORE}{HERE}/secrets", {}),
    ("DELETE", f"{APPS}{HERE}/deployments/backend", None),
    ("DELETE", f"{CORE}{HERE}/services/backend", None),
    ("PATCH", f"{CORE}{HERE}/services/backend", PATCH),
    ("DELETE", f"{ROUTES}/onlyvips", None),
    ("PATCH", f"{ROUTES}/another", PATCH),
    ("POST", f"{CORE}{HERE}/serviceaccounts/{NAME}/token", {}),
]
NOT_OURS = [
    ("PATCH", f"{CORE}{HERE}/secrets/mongodb", PATCH, "changes only what a release made"),
    ("DELETE", f"{CORE}{HERE}/secrets/mongodb", None, "changes only what a release made"),
    ("PATCH", f"{CORE}{HERE}/configmaps/onlyvips-environments", PATCH, "changes only what a release made"),
    ("POST", LEASES, LEASE, "makes only leases of releases"),
    ("POST", f"{APPS}{HERE}/deployments", deployment("x", OURS), "makes only canaries of releases"),
    ("POST", f"{APPS}{HERE}/deployments", deployment("x-canary", {}), "makes only canaries of releases"),
    ("POST", f"{CORE}{HERE}/services", service("x", OURS), "makes only canaries of releases"),
]


@pytest.fixture(scope="module")
def account(kubectl: Kubectl) -> Iterator[httpx.Client]:
    """The apiserver as the reconciler's own account sees it; whatever it is asked for is tried, not done."""
    config = yaml.safe_load(Path(kubectl.platform.lab.env["ONLYVIPS_LAB_KUBECONFIG"]).read_text())
    token = kubectl("create", "token", NAME).stdout.strip()
    with httpx.Client(
        base_url=config["clusters"][0]["cluster"]["server"],
        headers={"Authorization": f"Bearer {token}"},
        params={"dryRun": "All"},
        verify=False,  # noqa: S501 (loopback, and the certificate is its own)
        trust_env=False,
    ) as client:
        yield client


def answer(client: httpx.Client, method: str, path: str, body: Any) -> httpx.Response:
    """What the apiserver says."""
    headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
    return client.request(method, path, json=body, headers=headers)


@pytest.mark.parametrize(("method", "path", "body"), ALLOWED)
def test_its_account_may_do_what_it_needs(account: httpx.Client, method: str, path: str, body: Any) -> None:
    found = answer(account, method, path, body)
    assert found.is_success, found.text


@pytest.mark.parametrize(("method", "path", "body"), FORBIDDEN)
def test_its_account_may_do_nothing_else(account: httpx.Client, method: str, path: str, body: Any) -> None:
    found = answer(account, method, path, body)
    assert found.status_code == 403 and "is forbidden" in found.text, found.text


@pytest.mark.parametrize(("method", "path", "body", "told"), NOT_OURS)
def test_its_account_changes_no_object_that_no_release_made(
    account: httpx.Client, method: str, path: str, body: Any, told: str
) -> None:
    until = time.monotonic() + 30  # the apiserver takes a moment to know a new policy
    while (found := answer(account, method, path, body)).is_success and time.monotonic() < until:
        time.sleep(0.5)
    assert found.status_code in (403, 422) and told in found.text, found.text


def test_without_its_rights_it_fails_and_says_what_it_may_not(platform: Platform, kubectl: Kubectl) -> None:
    binding = kubectl("get", "rolebinding", NAME, "-o", "yaml").stdout
    kubectl("delete", "rolebinding", NAME)
    try:
        job(kubectl, "without-rights")
        good, told = ended(kubectl, "without-rights")
    finally:
        kubectl("apply", "-f", "-", given=binding)
    assert not good and "cannot list resource" in told, told


def test_its_pod_is_admitted_where_pods_are_restricted_and_would_not_be_without_its_security_context(
    kubectl: Kubectl,
) -> None:
    spec = kubectl.json("get", "cronjob", NAME)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    strict = {"name": "strict", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": strict}))
    try:
        assert admitted(kubectl, spec).returncode == 0, admitted(kubectl, spec).stderr
        del spec["containers"][0]["securityContext"]
        assert "violates PodSecurity" in admitted(kubectl, spec).stderr
    finally:
        kubectl("delete", "namespace", "strict", "--wait=false")


def admitted(kubectl: Kubectl, spec: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """What the apiserver says of such a pod in the strict namespace."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "strict"}, "spec": spec}
    return kubectl("-n", "strict", "create", "--dry-run=server", "-f", "-", given=json.dumps(pod), check=False)
