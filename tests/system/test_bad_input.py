"""Bad input to ``onlyvips backup run``, each kind of it: refused before anything is read, in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import firehose
from tests.conftest import ROOT
from tests.system.platform import Platform, told

pytestmark = pytest.mark.lab
NAME = "refused"
NOWHERE = {"mongodb": "mongodb://127.0.0.1:1/", "redis": "redis://127.0.0.1:1/", "http": "http://127.0.0.1:1/"}


@pytest.fixture
def refused(module_platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """What is said of a backup of a kind, once the environment was made bad; nothing of it is anywhere."""
    document = yaml.safe_load((ROOT / "deployments/environments/lab.yaml").read_text())
    document["name"] = NAME
    for name, value in NOWHERE.items():
        monkeypatch.setenv(f"NOWHERE_{name.upper()}", value)
    other_name = module_platform.lab.env["ONLYVIPS_LAB_S3_A_URL"].replace("127.0.0.1", "localhost")
    monkeypatch.setenv("NOWHERE_ALIAS", other_name)

    def ask(kind: str, spoil: Callable[[Any], object], code: int = 2) -> str:
        spoil(document)
        (module_platform.folder / f"{NAME}.yaml").write_text(yaml.safe_dump(document))
        done = module_platform.onlyvips("backup", "run", "--kind", kind, "--local", "-e", NAME, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        found = told(done)["error"] if done.stdout.strip() else done.stderr
        return str(found)

    yield ask
    left = Path(module_platform.lab.env["ONLYVIPS_LAB_DIRECTORY"]) / NAME
    written = [path for path in left.rglob("*") if path.is_file() and "probes" not in path.parts]
    assert written == [], "nothing but what a preflight tries a place with"


def put(value: object, *where: str) -> Callable[[Any], None]:
    """Write ``value`` at a place of the document."""

    def spoil(document: Any) -> None:
        for name in where[:-1]:
            document = document[name]
        document[where[-1]] = value

    return spoil


AWAY = {
    "mongodb": put("env:NOWHERE_MONGODB", "endpoints", "mongodb"),
    "oplog": put("env:NOWHERE_MONGODB", "endpoints", "mongodb"),
    "redis": put("env:NOWHERE_REDIS", "endpoints", "redis"),
    "media": put("env:NOWHERE_HTTP", "backup", "media", "url"),
    "secrets": put("env:NOWHERE_HTTP", "backup", "secrets", "ssm", "url"),
    "configuration": put("env:NOWHERE_HTTP", "endpoints", "kubeconfig"),
}


@pytest.mark.parametrize("kind", AWAY)
def test_a_source_that_cannot_be_reached_is_refused_and_named(refused: Callable[..., str], kind: str) -> None:
    said = refused(kind, AWAY[kind])
    assert any(word in said for word in ("Nothing was read", "nothing was changed", "Nothing was changed")), said


def test_slices_of_a_database_without_an_oplog_are_refused(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with firehose.running("-docs=10", "-collections=1") as (uri, _):
        monkeypatch.setenv("NOWHERE_MONGODB", uri)
        said = refused("oplog", AWAY["oplog"])
    assert "keeps no oplog" in said and "replica set" in said


@pytest.mark.parametrize("kind", ["mongodb", "oplog"])
def test_a_mongos_is_refused_by_name_and_a_shards_own_uri_asked_for(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with firehose.running("-docs=10", "-collections=1", "-mongos") as (uri, _):
        monkeypatch.setenv("NOWHERE_MONGODB", uri)
        said = refused(kind, AWAY["mongodb"])
    assert "This is a mongos" in said and "give a shard's own URI" in said


def one_place(document: Any) -> None:
    places = document["backup"]["destinations"]
    places["s3-b"] |= {name: places["s3-a"][name] for name in ("bucket", "access_key", "secret_key")}
    places["s3-b"]["url"] = "env:NOWHERE_ALIAS"
    places["s3-b"]["immutable"] = False
    document["backup"]["copies"]["immutable"] = 0


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda document: document["backup"]["recipients"].pop("second"), "two"),
        (put(True, "backup", "destinations", "s3-a", "immutable"), "object lock"),
        (one_place, "s3-a and s3-b are the same place, so they are one copy"),
    ],
    ids=["one recipient", "no lock where it is promised", "two destinations in one place"],
)
def test_what_an_environment_promises_and_has_not_is_refused(
    refused: Callable[..., str], spoil: Callable[[Any], object], sentence: str
) -> None:
    assert sentence in refused("mongodb", spoil)


def test_an_unknown_kind_is_refused_with_the_nearest_one(refused: Callable[..., str]) -> None:
    assert "did you mean `mongodb`" in refused("mongdb", lambda document: None)
