"""When a backup of the configuration is due, and what the flow and the command do when it is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from flows.backup import backup
from flows.commands import run, running
from onlyvips import environment as environments
from onlyvips.core.catalog import Shelf, read_catalog
from onlyvips.core.manifest import CopyRecord, Dropped, Manifest, moment
from onlyvips.core.strict_json import to_json
from onlyvips.errors import Refused
from onlyvips.wiring import backups
from onlyvips.wiring.backups import Catalog
from onlyvips.wiring.kinds import BUILT
from tasks import backups as verbs
from tests.core.test_catalog import MANIFEST

NOW = 1785585600.0
RECIPIENTS = ("age1first", "age1second")
LAST = replace(
    MANIFEST,
    environment="lab",
    kind="configuration",
    started=moment(NOW),
    finished=moment(NOW),
    recipients=RECIPIENTS,
    copies=("s3-a", "s3-b", "directory"),
)


def shelf(name: str, manifest: Manifest = LAST) -> Shelf:
    record = CopyRecord(name, manifest.epoch, manifest.id, manifest.finished, ())
    documents = {
        manifest.prefix + "manifest.json": to_json(manifest),
        manifest.prefix + f"copies/{name}-{manifest.epoch}.json": to_json(record),
    }
    sizes = {key: len(data) for key, data in documents.items()}
    return Shelf(name, {**sizes, **{manifest.prefix + one.key: one.size for one in manifest.objects}}, documents)


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """``unchanged``, so many seconds after the last backup, with these shelves and this answer of the kind."""
    loaded = environments.load("lab")
    monkeypatch.setattr(environments, "load", lambda _: loaded)
    monkeypatch.setattr(environments, "recipients", lambda _: RECIPIENTS)

    def ask(later: float = 3600.0, changed: bool = False, shelves: list[Shelf] | None = None) -> str:
        kept = [shelf(name) for name in ("s3-a", "s3-b", "directory")] if shelves is None else shelves
        monkeypatch.setattr(backups, "_catalog_of", lambda *_: Catalog(tuple(read_catalog(kept)), {}))
        monkeypatch.setattr(backups, "SystemClock", lambda: SimpleNamespace(now=lambda: NOW + later))
        kind = replace(BUILT["configuration"], changed=lambda *_: changed)
        monkeypatch.setattr(backups, "BUILT", {**BUILT, "configuration": kind})
        return backups.unchanged("lab", "configuration")

    return ask


def test_what_is_whole_everywhere_new_and_of_the_same_is_not_taken_again(look: Callable[..., str]) -> None:
    assert look() == f"Nothing of configuration changed since {LAST.id}-e{LAST.epoch}: it is not taken again."


@pytest.mark.parametrize(
    "case",
    [
        {"changed": True},
        {"later": 24 * 3600.0},
        {"later": -3600.0},
        {"shelves": []},
        {"shelves": [shelf("s3-a"), shelf("s3-b")]},
        {"shelves": [shelf(name, replace(LAST, recipients=("age1first", "age1old"))) for name in LAST.copies]},
        {"shelves": [shelf("s3-a", replace(LAST, copies=("s3-a",), dropped=(Dropped("s3-b", "full"),)))]},
    ],
    ids=["changed", "old", "of the future", "none", "not whole", "other recipients", "degraded"],
)
def test_everything_else_is_taken(look: Callable[..., str], case: dict[str, Any]) -> None:
    assert look(**case) == ""


def test_a_kind_of_which_nobody_can_tell_is_refused(look: Callable[..., str]) -> None:
    with pytest.raises(Refused, match="Nobody can tell whether mongodb changed"):
        backups.unchanged("lab", "mongodb")


def test_the_flow_takes_nothing_when_nothing_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(verbs, "unchanged", lambda *given: asked.append(given) or "Nothing changed.")
    monkeypatch.setattr(verbs, "taking", lambda *_: pytest.fail("it was taken"))
    found = backup.fn("lab", "configuration", if_changed=True)
    assert (found, asked) == ({"kind": "configuration", "unchanged": "Nothing changed."}, [("lab", "configuration")])


def test_the_command_says_that_nothing_changed_and_exits_0(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(running, "answering_server", lambda _: "")
    monkeypatch.setattr(backups, "unchanged", lambda *_: "Nothing changed.")
    monkeypatch.setattr(backups, "taking", lambda *_: pytest.fail("it was taken"))
    asked = ["backup", "run", "-e", "lab", "--kind", "configuration", "--if-changed"]
    assert run(asked) == 0
    assert capsys.readouterr().out.strip() == "Nothing changed."
    assert run([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"ok": True, "kind": "configuration", "unchanged": "Nothing changed."}
