"""The sample manifests as a git repository: what the platform's configuration comes from."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from home import LAB

MANIFESTS = LAB / "manifests"
_AUTHOR = {
    "GIT_AUTHOR_NAME": "devops",
    "GIT_AUTHOR_EMAIL": "devops@onlyvips.com",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "devops",
    "GIT_COMMITTER_EMAIL": "devops@onlyvips.com",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def make(folder: Path) -> None:
    """Make it at once, or leave what is there."""
    if folder.exists():
        return
    made = Path(tempfile.mkdtemp(prefix=".repository-", dir=folder.parent))
    shutil.copytree(MANIFESTS, made / "k8s")
    for arguments in (["init", "--quiet", "-b", "main"], ["add", "."], ["commit", "--quiet", "-m", "The platform"]):
        git(made, *arguments)
    git(made, "tag", "-a", "v0.8.0", "-m", "What runs today")
    made.rename(folder)


def git(folder: Path, *arguments: str) -> None:
    """One command, nobody's settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", *arguments], cwd=folder, env=ours | _AUTHOR, check=True, capture_output=True)
