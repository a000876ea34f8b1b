"""An environment that many ask for is read once, and anew when its file says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from onlyvips import environment as environments
from onlyvips.environment import EnvironmentInvalid

LAB = Path(__file__).resolve().parents[2] / "deployments" / "environments" / "lab.yaml"


def test_a_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    file, text = tmp_path / "lab.yaml", LAB.read_text()
    file.write_text(text)
    first = environments.load("lab", tmp_path)
    assert environments.load("lab", tmp_path) is first
    file.write_text(text.replace("poll: 250ms", "poll: 500ms"))
    assert environments.load("lab", tmp_path).waits.poll == 2 * first.waits.poll


def test_what_was_wrong_is_told_each_time(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB.read_text().replace("poll: 250ms", "pole: 250ms"))
    for _ in range(2):
        with pytest.raises(EnvironmentInvalid, match="pole"):
            environments.load("lab", tmp_path)
