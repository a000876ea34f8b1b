"""The lines of the runbook that restore a chain by official programs alone, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from onlyvips.core.manifest import Manifest
from tests.conftest import Lab

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbooks" / "restore.md"


def lines() -> str:
    """What the runbook says to type."""
    _, _, part = RUNBOOK.read_text().partition("## By hand, with official programs alone")
    found = re.search(r"```bash\n(.*?)```", part, re.DOTALL)
    assert found is not None
    return found[1]


def restore_by_hand(
    lab: Lab, folder: Path, base: Manifest, slices: Sequence[Manifest], identity: str, uri: str, work: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run them. ``more``: OPTIONS or LIMIT."""
    work.mkdir()
    told = {
        "PATH": f"{lab.bin}:{os.environ['PATH']}",
        "BASE": str(folder / base.prefix),
        "SLICES": " ".join(str(folder / one.prefix.rstrip("/")) for one in slices),
        "IDENTITY": identity,
        "URI": uri,
        "WORK": str(work),
    }
    command = ["bash", "-c", lines()]
    return subprocess.run(command, env={**told, **more}, capture_output=True, text=True, check=False)
