"""Revision's contract, against git itself: refs, what is not committed, and a bundle that git takes back."""

from __future__ import annotations

import os
import subprocess
from itertools import islice
from pathlib import Path

import pytest

from onlyvips.adapters.revision_git import GitRevision
from onlyvips.core.bundle import BundleReader, bundle_wrong, refs_digest
from onlyvips.errors import OnlyVipsError, Permanent, Transient
from tests.repositories import broken_git, commit, git, repository


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return repository(tmp_path / "source")


def read(data: bytes) -> BundleReader:
    reader = BundleReader()
    reader.feed(data)
    reader.finish()
    return reader


def facts(folder: Path) -> dict[str, str]:
    refs = GitRevision(folder).refs()
    return {"revision": refs["HEAD"], "refs_digest": refs_digest(refs)}


def test_refs_are_those_that_git_shows(source: Path):
    assert GitRevision(source).refs() == {
        "HEAD": git(source, "rev-parse", "HEAD"),
        "refs/heads/main": git(source, "rev-parse", "main"),
        "refs/heads/other": git(source, "rev-parse", "main~1"),
        "refs/tags/v1": git(source, "rev-parse", "refs/tags/v1"),
    }


@pytest.mark.parametrize("shape", ["checkout", "bare", "detached", "worktree", "a clone", "sha256", "packed"])
def test_a_bundle_holds_every_ref_and_is_cloned_by_git(source: Path, tmp_path: Path, shape: str):
    folder = tmp_path / "shaped"
    if shape == "sha256":
        folder.mkdir()
        git(folder, "init", "--quiet", "--object-format=sha256")
        commit(folder, "f", b"x")
    elif shape == "detached":
        git(source, "checkout", "--quiet", "--detach", "HEAD~1")
        commit(source, "g", b"in no branch")
        folder = source
    elif shape == "worktree":
        git(source, "worktree", "add", "--quiet", str(folder), "-b", "third")
        commit(folder, "g", b"x")
    elif shape == "packed":
        git(source, "gc", "--quiet")
        folder = source
    elif shape in ("bare", "a clone"):
        git(tmp_path, "clone", "--quiet", *(["--mirror"] if shape == "bare" else []), str(source), str(folder))
    else:
        folder = source
    data = b"".join(GitRevision(folder).bundle())
    assert bundle_wrong(read(data).refs, facts(folder)) == ""
    (tmp_path / "it.bundle").write_bytes(data)
    git(tmp_path, "clone", "--quiet", "--mirror", "it.bundle", "back")
    back, before = GitRevision(tmp_path / "back").refs(), GitRevision(folder).refs()
    assert {name: oid for name, oid in before.items() if name != "HEAD"}.items() <= back.items()
    assert git(tmp_path / "back", "cat-file", "-t", before["HEAD"]) == "commit"
    assert git(tmp_path / "back", "fsck", "--full") == ""


def test_what_is_not_committed_is_counted_and_a_bare_repository_has_none(source: Path, tmp_path: Path):
    assert GitRevision(source).uncommitted() == 0
    (source / "k8s" / "0.yaml").write_text("changed")
    (source / "new file\nof two lines").write_text("new")
    (source / "k8s" / "1.yaml").unlink()
    assert GitRevision(source).uncommitted() == 3
    git(tmp_path, "clone", "--quiet", "--bare", str(source), "bare")
    assert GitRevision(tmp_path / "bare").uncommitted() == 0


def test_a_shallow_clone_says_where_it_ends_and_comes_back_with_that(source: Path, tmp_path: Path):
    assert GitRevision(source).shallow() == []
    git(tmp_path, "clone", "--quiet", "--depth", "1", source.as_uri(), "shallow")
    revision = GitRevision(tmp_path / "shallow")
    assert revision.shallow() == [git(source, "rev-parse", "HEAD")]
    (tmp_path / "it.bundle").write_bytes(b"".join(revision.bundle()))
    back = tmp_path / "back"
    git(tmp_path, "init", "--quiet", "--bare", str(back))
    (back / "shallow").write_text("\n".join(revision.shallow()) + "\n")
    git(back, "fetch", "--quiet", str(tmp_path / "it.bundle"), "+refs/*:refs/*")
    assert git(back, "fsck", "--full") == ""
    assert git(back, "rev-parse", "main") == git(source, "rev-parse", "main")


def test_reading_changes_nothing(source: Path):
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    revision = GitRevision(source)
    (revision.refs(), revision.uncommitted(), revision.shallow(), b"".join(revision.bundle()))
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before


def test_a_bundle_may_be_given_up_and_read_again(source: Path):
    revision = GitRevision(source)
    first = revision.bundle()
    assert list(islice(first, 1))
    first.close()  # type: ignore[attr-defined]
    assert bundle_wrong(read(b"".join(revision.bundle())).refs, facts(source)) == ""


# --- what fails


@pytest.mark.parametrize(
    ("then", "error", "told"),
    [
        ("kill -9 $$", Transient, "was killed"),
        (
            "echo fatal: packed object is corrupt >&2; exit 128",
            Permanent,
            "failed .128.: .*fatal: packed object is corr",
        ),
        ("sleep 60", Transient, "said nothing for 1 s and was ended"),
    ],
    ids=["killed", "failed", "stands still"],
)
def test_a_git_that_does_not_end_well_is_an_error_after_the_last_bytes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, error: type[OnlyVipsError], told: str
):
    monkeypatch.setenv("PATH", f"{broken_git(tmp_path / 'bin', then)}:{os.environ['PATH']}")
    seen = bytearray()
    with pytest.raises(error, match=told):
        for chunk in GitRevision(source, stall=1.0).bundle():
            seen += chunk
    assert len(seen) == 5000


def test_what_is_no_repository_with_a_commit_is_told_by_its_path(tmp_path: Path):
    git(tmp_path, "init", "--quiet", "empty")
    for folder, told in (("missing", "No such file"), ("empty", "has no commit at its HEAD")):
        with pytest.raises(Permanent, match=told) as caught:
            GitRevision(tmp_path / folder).refs()
        assert str(tmp_path / folder) in str(caught.value)
    (tmp_path / "plain").mkdir()
    with pytest.raises(Permanent, match="not a git repository"):
        GitRevision(tmp_path / "plain").refs()


def test_without_git_it_says_so(source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Permanent, match="git is not on PATH here"):
        GitRevision(source).refs()


def test_variables_that_turn_git_aside_or_are_secret_do_not_reach_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "git"
    shim.write_text(f'#!/bin/sh\nenv >> {tmp_path}/seen\nexec {subprocess.getoutput("command -v git")} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("ONLYVIPS_BACKUP_A_SECRET_KEY", "geheim")
    assert GitRevision(source).refs()
    seen = (tmp_path / "seen").read_text()
    assert "geheim" not in seen and "/nowhere" not in seen
