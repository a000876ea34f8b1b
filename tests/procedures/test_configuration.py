"""A backup of the configuration on a simulated cluster and a real repository: whole, of one moment, or none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyrage
import pytest
from backports import zstd

from onlyvips.adapters.revision_git import GitRevision
from onlyvips.core.kinds import parse_kind
from onlyvips.core.manifest import WARNING, manifest_from_json
from onlyvips.errors import OnlyVipsError, Permanent, Refused, Transient
from onlyvips.ports import ObjectStore
from onlyvips.steps.backup import Run, Session, Taken, take
from onlyvips.steps.configuration import BESIDE, BUNDLE, MANIFESTS, check_configuration, configuration, read_moment
from onlyvips.steps.journal import find_begun
from onlyvips.steps.opened import open_object
from tests.procedures.test_backup import IDENTITIES, FixedClock, manifests, stores
from tests.procedures.test_backup import PLAN as BASE_PLAN
from tests.procedures.test_backup_resume import reborn
from tests.repositories import broken_git, commit, git, repository
from tests.simulators.clock import SimClock
from tests.simulators.cluster import SimCluster
from tests.simulators.inventory import SimInventory
from tests.simulators.objects import Killed, Life, SimulatedStore

PLAN = replace(BASE_PLAN, kind="configuration", database="", workers=1)
KINDS = [parse_kind(text) for text in ("ConfigMap", "Secret", "Service", "Deployment", "HTTPRoute")]
VALUE = "geheim-jwt"


def cluster() -> SimCluster:
    made = SimCluster(SimClock())
    objects: list[dict[str, Any]] = [
        {"kind": "ConfigMap", "data": {"LEVEL": "info"}, "metadata": {"name": "settings"}},
        {"kind": "Secret", "stringData": {"JWT": VALUE}, "metadata": {"name": "jwt"}},
        {"kind": "Service", "spec": {"selector": {"app": "web"}}, "metadata": {"name": "web"}},
        {"kind": "Deployment", "spec": {"selector": {}, "template": {}}, "metadata": {"name": "web"}},
        {"kind": "HTTPRoute", "spec": {"rules": []}, "metadata": {"name": "onlyvips"}},
    ]
    for one in objects:
        made.create({"apiVersion": "v1", **one})
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("git") / "source")


@pytest.fixture
def inventory() -> SimInventory:
    return SimInventory(cluster())


def session(
    inventory: SimInventory, folder: Path | None, places: Sequence[SimulatedStore], key: str = "", epoch: int = 3
) -> Session:
    run = Run(epoch, FixedClock(), lambda n: bytes([epoch]) * n, key=key)
    begun = find_begun(places, "lab", "configuration", key) if key else None
    revision = GitRevision(folder, stall=1.0) if folder else None
    found = configuration(inventory, revision, KINDS, places, PLAN, run, begun)
    found.begin()
    return found


def plain(taken: Taken, store: SimulatedStore, key: str, identity: int = 0) -> bytes:
    """What ``age -d | zstd -d`` gives."""
    return zstd.decompress(pyrage.decrypt(store.objects[taken.manifest.prefix + key], [IDENTITIES[identity]]))


def facts(taken: Taken) -> dict[str, str]:
    return {fact.name: fact.value for fact in taken.manifest.facts}


def wrong(taken: Taken, store: ObjectStore) -> Iterator[str]:
    """What a read-back finds that decrypts."""
    for record in taken.manifest.objects:
        chunks = store.read(taken.manifest.prefix + record.key)
        if why := open_object(chunks, record, IDENTITIES, facts=facts(taken)):
            yield f"{record.key} {why}"


def test_every_copy_has_the_manifests_what_is_beside_them_and_the_repository(
    inventory: SimInventory, folder: Path, tmp_path: Path
):
    places = stores("a", "b", "c")
    taken = take(session(inventory, folder, places))
    assert not taken.degraded
    assert [record.key for record in taken.manifest.objects] == [MANIFESTS, BESIDE, BUNDLE]
    for number, store in enumerate(places):
        items = json.loads(plain(taken, store, MANIFESTS, number % 2))["items"]
        assert [one["kind"] for one in items] == ["ConfigMap", "Service", "Deployment", "HTTPRoute"]
        beside = json.loads(plain(taken, store, BESIDE))
        assert beside == {"secrets": [{"name": "jwt", "type": "Opaque", "keys": ["JWT"]}], "left_out": []}
        (tmp_path / store.name).write_bytes(plain(taken, store, BUNDLE))
        git(tmp_path, "clone", "--quiet", store.name, f"{store.name}-clone")
        assert git(tmp_path / f"{store.name}-clone", "rev-parse", "HEAD") == git(folder, "rev-parse", "HEAD")
        assert list(wrong(taken, store)) == []


def test_the_manifest_says_what_was_kept_and_of_which_revision(inventory: SimInventory, folder: Path):
    taken = take(session(inventory, folder, stores("a")))
    found = facts(taken)
    assert found["objects"] == "ConfigMap 1, Deployment 1, HTTPRoute 1, Service 1"
    assert (found["secrets"], found["left_out"], found["namespace"]) == ("1", "0", "production")
    assert found["revision"] == git(folder, "rev-parse", "HEAD")
    assert (found["uncommitted"], WARNING in found, "shallow" in found) == ("0", False, False)
    assert (taken.manifest.server.dialect, taken.manifest.server.version) == ("kubernetes", "v1.34.4")


def test_no_store_gets_a_value_of_a_secret_even_decrypted(inventory: SimInventory, folder: Path):
    (store,) = stores("a")
    taken = take(session(inventory, folder, [store]))
    for record in taken.manifest.objects:
        data = plain(taken, store, record.key)
        assert VALUE.encode() not in data and b"Z2VoZWltLWp3dA" not in data
    assert all(b"jwt" not in data for key, data in store.objects.items() if key.endswith(".json"))


def test_without_a_repository_there_are_two_objects(inventory: SimInventory):
    (store,) = stores("a")
    taken = take(session(inventory, None, [store]))
    assert [record.key for record in taken.manifest.objects] == [MANIFESTS, BESIDE]
    assert "revision" not in facts(taken) and list(wrong(taken, store)) == []


def test_files_that_are_not_committed_and_shallow_clones_are_warned_of(inventory: SimInventory, tmp_path: Path):
    git(repository(tmp_path / "whole"), "status")
    git(tmp_path, "clone", "--quiet", "--depth", "1", (tmp_path / "whole").as_uri(), "shallow")
    (tmp_path / "shallow" / "new").write_text("x")
    (store,) = stores("a")
    taken = take(session(inventory, tmp_path / "shallow", [store]))
    warnings = [fact.value for fact in taken.manifest.facts if fact.name == WARNING]
    assert warnings[0] == "files of the repository that are not committed, and so are in no bundle: 1"
    assert warnings[1].startswith("the repository is a shallow clone")
    assert facts(taken)["shallow"] == git(tmp_path / "whole", "rev-parse", "HEAD")
    assert list(wrong(taken, store)) == []


# --- one moment


def test_what_changes_between_two_reads_is_read_again(inventory: SimInventory, folder: Path):
    changes = iter(range(7))

    def change() -> None:
        if (number := next(changes, None)) is not None:
            inventory._cluster.change("ConfigMap", "settings", lambda one: one["data"].update(LEVEL=str(number)))

    inventory.changes_while_read(change)
    moment = read_moment(inventory, None, KINDS)
    assert moment.kept.manifests[0]["data"] == {"LEVEL": "6"}
    assert len(inventory.reads) == 4 * len(KINDS)  # the last two of four are the same


def test_what_never_stands_still_is_no_backup(inventory: SimInventory, folder: Path):
    inventory.changes_while_read(
        lambda: inventory._cluster.change(
            "ConfigMap", "settings", lambda one: one["data"].update(N=str(len(inventory.reads)))
        )
    )
    (store,) = stores("a")
    with pytest.raises(Transient, match="changed each time that it was read"):
        session(inventory, folder, [store])
    assert store.objects == {}


def test_a_commit_while_the_bundle_is_read_is_no_backup_of_either_revision(inventory: SimInventory, tmp_path: Path):
    source = repository(tmp_path / "source")
    (store,) = stores("a")
    begun = session(inventory, source, [store])
    commit(source, "later", b"x")
    with pytest.raises(Transient, match="The repository changed while it was read"):
        take(begun)
    assert manifests(store) == []


# --- faults


@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment", "HTTPRoute"])
def test_an_apiserver_that_dies_in_a_list_leaves_nothing_and_the_next_attempt_is_whole(
    inventory: SimInventory, folder: Path, kind: str
):
    (store,) = stores("a")
    inventory.goes_away_in(kind)
    with pytest.raises(Transient, match=f"did not answer the list of {kind}"):
        session(inventory, folder, [store])
    assert store.objects == {}
    inventory.goes_away_in("")
    assert list(wrong(take(session(inventory, folder, [store])), store)) == []


@pytest.mark.parametrize(
    ("then", "error", "told"),
    [
        ("kill -9 $$", Transient, "was killed"),
        ("exit 128", Permanent, "failed .128."),
        ("exit 0", Permanent, "cut short or altered"),
        ("sleep 60", Transient, "said nothing"),
    ],
    ids=["killed", "failed", "says that all was well", "stands still"],
)
def test_a_bundle_that_breaks_off_is_published_nowhere(
    inventory: SimInventory,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    then: str,
    error: type[OnlyVipsError],
    told: str,
):
    places = stores("a", "b")
    begun = session(inventory, folder, places)
    monkeypatch.setenv("PATH", f"{broken_git(tmp_path / 'bin', then)}:{os.environ['PATH']}")
    with pytest.raises(error, match=told):
        take(begun)
    for store in places:
        assert [key for key in store.objects if "bundle" in key or "manifest.json" in key.rpartition("/")[2]] == []
        assert store.uploads == set()


def test_a_death_at_any_write_leaves_no_backup_without_a_whole_copy_and_a_retry_finishes_it(
    inventory: SimInventory, folder: Path
):
    alive = Life()
    take(session(inventory, folder, stores("a", "b", life=alive), "run-1"))
    for death in range(1, alive.writes + 1):
        places = stores("a", "b", life=Life(death))
        with pytest.raises(Killed):
            take(session(inventory, folder, places, "run-1"))
        again = reborn(places)
        for store in again:
            for key in manifests(store):
                manifest = manifest_from_json(store.objects[key])
                assert all(manifest.prefix + record.key in store.objects for record in manifest.objects)
        taken = take(session(inventory, folder, again, "run-1", epoch=4))
        for store in again:
            assert list(wrong(taken, store)) == []
            assert taken.key in store.objects


def test_a_retry_goes_on_only_while_everything_is_as_it_was(inventory: SimInventory, folder: Path):
    places = stores("a", life=Life(9))
    with pytest.raises(Killed):
        take(session(inventory, folder, places, "run-1"))
    again = reborn(places)
    assert session(inventory, folder, again, "run-1", epoch=4).resumed
    inventory._cluster.change("ConfigMap", "settings", lambda one: one["data"].update(LEVEL="debug"))
    assert not session(inventory, folder, again, "run-1", epoch=5).resumed


@pytest.mark.parametrize("key", [MANIFESTS, BESIDE, BUNDLE])
def test_an_object_of_another_backup_in_the_place_of_one_is_found_when_it_is_opened(
    inventory: SimInventory, folder: Path, tmp_path: Path, key: str
):
    """Well formed, encrypted for us, and its own hash in the manifest: only its contents tell."""
    (mine, others) = stores("a", "b")
    taken = take(session(inventory, folder, [mine]))
    inventory._cluster.change("ConfigMap", "settings", lambda one: one["data"].update(LEVEL="debug"))
    inventory._cluster.drop("Secret", "jwt")
    second = take(session(inventory, repository(tmp_path / "other"), [others]))
    index = [record.key for record in taken.manifest.objects].index(key)
    record = second.manifest.objects[index]
    assert "the manifest says" in open_object(
        others.read(second.manifest.prefix + key), record, IDENTITIES, facts=facts(taken)
    )


def test_a_namespace_without_anything_is_no_configuration(folder: Path):
    inventory = SimInventory(SimCluster(SimClock()))
    (store,) = stores("a")
    with pytest.raises(Permanent, match="has no object of the kinds.*see that it is the right cluster"):
        session(inventory, folder, [store])


# --- refused before anything is read


def test_kinds_and_repositories_that_cannot_be_read_are_refused_by_name(
    inventory: SimInventory, folder: Path, tmp_path: Path
):
    check_configuration(inventory, GitRevision(folder), KINDS)
    with pytest.raises(Refused, match="has no cert-manager.io/v1/Certificate"):
        check_configuration(inventory, None, [*KINDS, parse_kind("cert-manager.io/v1/Certificate")])
    with pytest.raises(Refused, match="No such file or directory. Nothing was read"):
        check_configuration(inventory, GitRevision(tmp_path / "gone"), KINDS)
    inventory.forbids("Secret")
    with pytest.raises(Refused, match="does not let us list Secret"):
        check_configuration(inventory, None, KINDS)
    assert inventory.reads == []
