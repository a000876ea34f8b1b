"""The configuration on real servers: taken, told unchanged, damaged, repaired; and brought back by kubectl and git."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onlyvips import environment as environments
from onlyvips.adapters.inventory_kubernetes import KubernetesInventory
from onlyvips.core.configuration import keep
from onlyvips.core.kinds import parse_kind
from onlyvips.steps.configuration import BESIDE, BUNDLE, MANIFESTS
from onlyvips.wiring.places import stores_of
from tests.conftest import Lab
from tests.repositories import git
from tests.system.platform import Platform, told

pytestmark = pytest.mark.lab
NAME = "config"
HERE = ("-e", NAME, "--json")


@pytest.fixture(scope="module")
def place(module_platform: Platform) -> Platform:
    module_platform.environment(NAME)
    return module_platform


@pytest.fixture(scope="module")
def taken(place: Platform) -> dict[str, Any]:
    """A backup as the command tells it, with what ``show`` says."""
    done = place.onlyvips("backup", "run", "--kind", "configuration", "--local", *HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    shown: dict[str, Any] = told(place.onlyvips("backup", "show", told(done)["backup"], *HERE))
    return shown


@pytest.fixture(scope="module")
def facts(taken: dict[str, Any]) -> dict[str, str]:
    return {fact["name"]: fact["value"] for fact in taken["manifest"]["facts"]}


@pytest.fixture(scope="module")
def opened(place: Platform, taken: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The objects of the copy in the directory, opened by the lines of the format's document."""
    lab, folder = place.lab, tmp_path_factory.mktemp("opened")
    for key in (MANIFESTS, BESIDE, BUNDLE):
        stored = Path(lab.env["ONLYVIPS_LAB_DIRECTORY"]) / taken["prefix"] / key
        target = folder / stored.name.removesuffix(".zst.age")
        identity = lab.env["ONLYVIPS_LAB_AGE_IDENTITY"]
        line = f"{program(lab, 'age')} -d -i {identity} < {stored} | {program(lab, 'zstd')} -d > {target}"
        subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], check=True, capture_output=True)
    return folder


def program(lab: Lab, name: str) -> str:
    found = shutil.which(name, path=f"{lab.bin}:{os.environ['PATH']}")
    assert found, f"{name} is not among the lab's programs"
    return found


def test_it_holds_what_runs_and_the_revision_and_is_read_back_decrypted(
    place: Platform, taken: dict[str, Any], facts: dict[str, str]
) -> None:
    assert "Deployment 3" in facts["objects"] and "HTTPRoute 1" in facts["objects"] and "Service 3" in facts["objects"]
    repository = Path(place.lab.env["ONLYVIPS_LAB_REPOSITORY"])
    assert facts["revision"] == git(repository, "rev-parse", "HEAD")
    listed = told(place.onlyvips("backup", "list", "--kind", "configuration", *HERE))["backups"]
    assert taken["backup"] in [one["backup"] for one in listed]
    read = place.onlyvips("backup", "verify", taken["backup"], "--decrypt", *HERE)
    assert read.returncode == 0, read.stdout + read.stderr
    assert [(one["how"], one["objects"]) for one in told(read)] == [("decrypted", 3)] * 3


def test_no_value_of_a_secret_is_in_it(place: Platform, opened: Path) -> None:
    secret = place.lab.env["ONLYVIPS_LAB_JWT_SECRET"].encode()
    beside = json.loads((opened / "0002-beside.json").read_bytes())
    assert {"name": "backend-jwt-v1", "type": "Opaque", "keys": ["JWT_SECRET"]} in beside["secrets"]
    for file in opened.iterdir():
        assert secret not in file.read_bytes()


def test_nothing_is_taken_while_nothing_changed_and_a_label_is_a_change(place: Platform, taken: dict[str, Any]) -> None:
    def ask() -> dict[str, Any]:
        done = place.onlyvips("backup", "run", "--kind", "configuration", "--if-changed", "--local", *HERE)
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = told(done)
        return found

    assert taken["backup"] in ask()["unchanged"]
    service = place.cluster.get("Service", "miniapp")
    assert service is not None
    labels = {**service["metadata"].get("labels", {}), "tested": os.urandom(4).hex()}
    change = [{"op": "add", "path": "/metadata/labels", "value": labels}]
    place.cluster.patch("Service", "miniapp", service["metadata"]["resourceVersion"], change)
    assert ask()["backup"] > taken["backup"]
    assert "unchanged" in ask()


def test_damage_in_two_copies_is_named_counted_and_repaired(place: Platform) -> None:
    done = place.onlyvips("backup", "run", "--kind", "configuration", "--local", *HERE)
    id, prefix = told(done)["backup"], f"{NAME}/configuration/{told(done)['backup']}/"
    stores = {store.name: store for store in stores_of(environments.load(NAME))}
    data = b"".join(stores["s3-b"].read(prefix + MANIFESTS))
    upload = stores["s3-b"].upload(prefix + MANIFESTS, over=True)
    upload.write(data[:-1] + bytes([data[-1] ^ 1]))
    upload.finish()
    (Path(place.lab.env["ONLYVIPS_LAB_DIRECTORY"]) / prefix / BUNDLE).unlink()

    report = told(place.onlyvips("backup", "audit", *HERE))
    (standing,) = [one for one in report["standings"] if one["kind"] == "configuration"]
    found = [one["what"] for one in report["findings"] if one["kind"] == "configuration"]
    assert (standing["newest"], standing["copies"]) == (id, ["s3-a"])
    assert any(f"s3-b {MANIFESTS} has {len(data)} bytes with SHA-256" in what for what in found), found
    assert any(f"directory lacks {BUNDLE}" in what for what in found), found

    repaired = place.onlyvips("backup", "repair", id, *HERE)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    read = place.onlyvips("backup", "verify", id, "--decrypt", *HERE)
    assert read.returncode == 0 and len(told(read)) == 3, read.stdout + read.stderr


@pytest.fixture
def kubectl(place: Platform, tmp_path: Path) -> Iterator[Any]:
    """kubectl itself, in a namespace that is removed at the end."""
    namespace = f"restored-{os.urandom(3).hex()}"
    command = [program(place.lab, "kubectl"), "--kubeconfig", place.lab.env["ONLYVIPS_LAB_KUBECONFIG"]]

    def run(*arguments: str, given: str = "") -> str:
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        done = subprocess.run([*command, *arguments], env=env, input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("create", "namespace", namespace)
    yield namespace, run
    run("delete", "namespace", namespace, "--wait=false")


def test_kubectl_brings_every_object_back_into_a_fresh_namespace_as_it_was(
    place: Platform, kubectl: Any, opened: Path
) -> None:
    namespace, run = kubectl
    items = json.loads((opened / "0001-manifests.json").read_bytes())["items"]
    for one in items:
        del one["metadata"]["namespace"]
    asked = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    run("apply", "--server-side", "--force-conflicts", "-n", namespace, "-f", "-", given=asked)

    inventory = KubernetesInventory(Path(place.lab.env["ONLYVIPS_LAB_KUBECONFIG"]), namespace)
    kinds = dict.fromkeys(parse_kind(f"{one['apiVersion']}/{one['kind']}") for one in items)
    live = keep(one for kind in inventory.served(list(kinds)) for one in inventory.objects(kind)).manifests
    back = {(one["kind"], one["metadata"].pop("namespace") and one["metadata"]["name"]): one for one in live}
    assert len(items) >= 8
    for one in items:
        assert back[one["kind"], one["metadata"]["name"]] == one


def test_kubectl_sees_no_difference_to_what_runs(
    kubectl: Any, place: Platform, taken: dict[str, Any], tmp_path: Path
) -> None:
    """A new backup, applied where it comes from, changes nothing."""
    _, run = kubectl
    done = place.onlyvips("backup", "run", "--kind", "configuration", "--local", *HERE)
    stored = Path(place.lab.env["ONLYVIPS_LAB_DIRECTORY"]) / NAME / "configuration" / told(done)["backup"] / MANIFESTS
    line = f"{program(place.lab, 'age')} -d -i {place.lab.env['ONLYVIPS_LAB_AGE_IDENTITY']} < {stored}"
    subprocess.run(["bash", "-c", f"{line} | {program(place.lab, 'zstd')} -d > {tmp_path / 'it.json'}"], check=True)
    run("diff", "--server-side", "--force-conflicts", "-f", str(tmp_path / "it.json"))


def test_git_clones_the_repository_at_the_revision(place: Platform, facts: dict[str, str], opened: Path) -> None:
    git(opened, "clone", "--quiet", "--mirror", "0003-repository.bundle", "clone")
    assert git(opened / "clone", "rev-parse", "HEAD") == facts["revision"]
    repository = Path(place.lab.env["ONLYVIPS_LAB_REPOSITORY"])
    assert git(opened / "clone", "show-ref") == git(repository, "show-ref")
    assert git(opened / "clone", "fsck", "--full") == ""
