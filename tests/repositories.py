"""Git repositories for tests, made by git itself, and a git that fails when it is told to."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_NOBODYS = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{f"GIT_{who}_{what}": f"{what}@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(folder: Path, *arguments: str) -> str:
    """What one command says, with nobody's settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=ours | _NOBODYS, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def repository(folder: Path, commits: int = 3) -> Path:
    """With a branch, a tag, and files that do not compress."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "-b", "main")
    for number in range(commits):
        commit(folder, f"k8s/{number}.yaml", os.urandom(20_000))
    git(folder, "tag", "-a", "v1", "-m", "one")
    git(folder, "branch", "other", "HEAD~1")
    return folder


def commit(folder: Path, name: str, data: bytes) -> str:
    """A file more; returns the commit."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", name)
    return git(folder, "rev-parse", "HEAD")


def broken_git(folder: Path, then: str, after: int = 5000) -> Path:
    """A folder for PATH with a git whose bundles end after so many bytes, and ``then`` (a shell command) comes."""
    real = shutil.which("git")
    folder.mkdir(parents=True)
    script = f'#!/bin/sh\nif [ "$1" != bundle ]; then exec {real} "$@"; fi\n{real} "$@" | head -c {after}\n{then}\n'
    (folder / "git").write_text(script)
    (folder / "git").chmod(0o755)
    return folder
