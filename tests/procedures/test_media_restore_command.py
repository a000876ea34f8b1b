"""``onlyvips restore … --kind media``: what it prints, what it refuses, and that it writes over nothing unnamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.commands import run, running
from onlyvips import environment as environments
from onlyvips.core.media_restored import lines
from onlyvips.environment.protection import MediaReader
from onlyvips.errors import Permanent, Refused
from onlyvips.wiring import restores
from onlyvips.wiring.backups import Catalog
from onlyvips.wiring.restores import Asked
from onlyvips.wiring.restoring import media
from tests.procedures.media import catalog
from tests.procedures.test_media import small_is_less_than_a_kilobyte
from tests.procedures.test_media_restore import LATER, World, large_is_a_kilobyte

__all__ = ["large_is_a_kilobyte", "small_is_less_than_a_kilobyte"]
HERE = ["-e", "lab", "--kind", "media"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Backups on simulators; the live media too."""
    found = World()
    monkeypatch.setattr(media, "catalog", lambda _: Catalog(tuple(catalog(found.places)), {}))
    monkeypatch.setattr(media, "trees_of", lambda _: found.places)
    monkeypatch.setattr(restores, "stores_of", lambda _: [place.store for place in found.places])
    monkeypatch.setattr(running, "answering_server", lambda _: "")
    monkeypatch.setattr(media, "source_of", lambda _: found.media)
    monkeypatch.setattr(media, "_live_sink", lambda _: found.sink)
    return found


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "Say where to: --target live"),
        (["--target", "/srv/media"], "--target is no reference"),
        (["--target", "s3://k:hunter2@h/"], "--target is no reference"),
        (["--target", "live", "--namespace", "a.b"], "says no media"),
    ],
)
def test_bad_input_is_refused_before_anything_is_asked(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: Any) -> Any:
        raise AssertionError("must not be asked")

    monkeypatch.setattr(media, "catalog", nobody)
    assert run(["restore", "plan", *HERE, *options]) == 2
    error = capsys.readouterr().err
    assert told in error and "hunter2" not in error


def test_a_plan_says_what_is_missing_different_and_left_alone(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.media.remove("b/c.jpg")
    world.media.write("a.jpg", b"vandal")
    world.media.write("since", b"s")
    plan = ["restore", "plan", *HERE, "--target", "live", "--at", world.second]
    assert run([*plan, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["missing"], found["differ"], found["same"], found["others"]) == (1, 1, 4, 1)
    assert found["overwritten"] == ["media"] and found["size"] == 3
    assert run(plan) == 0
    told = capsys.readouterr().out
    for part in (
        f"Media of the backup {world.second}",
        'missing there: 1 files, 2 B: "b/c.jpg"',
        'to be overwritten: 1 files, 1 B: "a.jpg"',
        'they stay: 1 files: "since"',
        "in this order: s3, disk, far",
    ):
        assert part in told
    assert world.sink.writes == []


def test_what_is_missing_comes_back_by_a_plain_run(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.media.remove("b/c.jpg")
    assert run(["restore", "run", *HERE, "--target", "live", "--at", world.second]) == 0
    told = capsys.readouterr().out
    assert f"Restored media of {world.second}: 1 files (2 B) written and read back equal; 5 had" in told
    assert world.has == LATER


def test_into_the_live_media_latest_is_refused_also_where_files_are_only_missing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A scheduled backup of the ruins may be the latest when it is run again."""
    latest = [*HERE, "--target", "live"]
    assert run(["restore", "run", *latest]) == 0, "nothing is written"
    world.media.remove("b/c.jpg")
    for verb in ("plan", "run"):
        capsys.readouterr()
        assert run(["restore", verb, *latest]) == 2
        assert f"say --at {world.second}" in capsys.readouterr().err
    assert world.sink.writes == []
    with pytest.raises(Refused, match=f"say --at {world.second}"):
        media.KIND.run(Asked("lab", "media", "latest", "live"), lambda doing, size: None)


def test_what_is_there_is_written_over_only_by_name_and_never_to_the_latest(world: World) -> None:
    world.media.write("a.jpg", b"vandal")
    asked = Asked("lab", "media", world.second, "live")
    with pytest.raises(Refused, match="--overwrite media"):
        media.KIND.run(asked, lambda doing, size: None)
    latest = Asked("lab", "media", "latest", "live", overwrite=("media",))
    assert "`latest` may be another backup" in restores.plan(latest).refusals[0]
    with pytest.raises(Refused, match="`latest` may be another backup"):
        media.KIND.run(latest, lambda doing, size: None)
    assert world.sink.writes == []
    named = Asked("lab", "media", world.second, "live", overwrite=("media",))
    media.KIND.run(named, lambda doing, size: None)
    assert world.has == LATER


def test_a_run_writes_over_what_is_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.media.write("a.jpg", b"vandal")
    options = ["restore", "run", *HERE, "--target", "live", "--at", world.second]
    assert run(options) == 2
    assert "media of the target would be written over" in capsys.readouterr().err
    assert run([*options, "--overwrite", "media", "--without-safety-backup", "vandals' bytes"]) == 0
    told = capsys.readouterr().out
    assert "1 files (1 B) written and read back equal, 1 of them over what was there" in told
    assert "Safety backup: waived: vandals' bytes" in told and world.has == LATER


def test_a_plan_that_would_be_refused_exits_2_with_the_reason(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.media.remove("a.jpg")
    for place in world.places:
        del place.store.objects["lab/media-tree/a.jpg"]
    assert run(["restore", "plan", *HERE, "--target", "live"]) == 2
    assert "No copy lists 1 of the files" in capsys.readouterr().err


def test_a_directory_that_a_reference_names_gets_all_of_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    back, text = tmp_path / "back", tmp_path / "reference"
    back.mkdir()
    text.write_text(f"{back}\n")
    monkeypatch.setattr(media, "destinations_of", lambda _: {"disk": ("", str(tmp_path / "disk"))})
    assert run(["restore", "run", *HERE, "--target", f"file:{text}", "--namespace", "b/=there/b/"]) == 0
    assert {path.relative_to(back).as_posix(): path.read_bytes() for path in back.rglob("*") if path.is_file()} == {
        "there/b/c.jpg": b"cc",
        "there/b/d.jpg": b"ddd",
    }
    text.write_text("https://a-store/bucket\n")
    with pytest.raises(Refused, match="says no path of a directory"):
        media.KIND.plan(Asked("lab", "media", "latest", f"file:{text}"))
    for inside in (tmp_path / "disk", tmp_path / "disk/lab/media-tree", tmp_path):
        text.write_text(f"{inside}\n")
        with pytest.raises(Refused, match="in the place of the destination disk"):
            media.KIND.plan(Asked("lab", "media", "latest", f"file:{text}"))
    text.write_text(f"{tmp_path / 'not-mounted'}\n")
    with pytest.raises(Permanent, match="mount it"):
        media.KIND.plan(Asked("lab", "media", "latest", f"file:{text}"))


def test_the_live_directory_by_a_reference_is_refused_in_whatever_words(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    live, text, link = tmp_path / "a/live", tmp_path / "reference", tmp_path / "link"
    (live / "avatars").mkdir(parents=True)
    link.symlink_to(live)
    (tmp_path / "path").write_text(f"{link}\n")
    lab = environments.load("lab")
    reader = MediaReader(kind="directory", path=f"file:{tmp_path / 'path'}")
    directory = lab.model_copy(update={"backup": lab.backup.model_copy(update={"media": reader})})
    monkeypatch.setattr(media.environments, "load", lambda _: directory)
    monkeypatch.setattr(media, "destinations_of", lambda _: {})
    for place in (live, link, live / "avatars", live.parent, live / "../live"):
        text.write_text(f"{place}\n")
        for verb in ("plan", "run"):
            assert run(["restore", verb, *HERE, "--target", f"file:{text}"]) == 2
            assert "The target is the live media, or in or around them" in capsys.readouterr().err
    assert list(live.rglob("*")) == [live / "avatars"]
    (tmp_path / "back").mkdir()
    text.write_text(f"{tmp_path / 'back'}\n")
    assert run(["restore", "run", *HERE, "--target", f"file:{text}"]) == 0


def test_names_that_no_terminal_should_show_are_shown_harmlessly(world: World) -> None:
    world.media.write("evil\x1b[31m\nname", b"")
    ready = world.ready()
    assert "\x1b" not in "".join(lines(ready.plan)) and "\n" not in "".join(lines(ready.plan))


def test_the_lab_says_where_its_media_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("URL", "ACCESS_KEY", "SECRET_KEY"):
        monkeypatch.setenv(f"ONLYVIPS_LAB_S3_A_{part}", "http://127.0.0.1:1" if part == "URL" else "x")
    found = media._target(environments.load("lab"), "live")
    assert found.live and type(found.sink).__name__ == "BucketSink"
