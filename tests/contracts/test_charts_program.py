"""The program Helm as it may be found: another version, not to be run, talkative, and left behind by a dead driver."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onlyvips.adapters.charts_helm import HelmCharts
from onlyvips.core.plan import ChartPlan
from onlyvips.errors import Permanent, Refused, UnknownOutcome

SECRET = "hunter2-Sw0rdfish"
PLAN = ChartPlan("web", "tag", "id", (), 60.0, path="/chart")


def program(folder: Path, *lines: str, shell: str = "#!/bin/sh") -> HelmCharts:
    """A program in the place of Helm."""
    path = folder / "helm"
    path.write_text("\n".join([shell, *lines]) + "\n")
    path.chmod(0o755)
    return HelmCharts(str(path), folder / "kubeconfig", "production", PLAN)


@pytest.mark.parametrize("version", ["v2.17.0", "v3.12.3", "v4.0.1", ""])
def test_another_version_of_helm_is_refused_by_its_name_and_upgrades_nothing(version: str, tmp_path: Path) -> None:
    charts = program(tmp_path, f'test "$1" = version && echo {version} && exit 0', f"touch {tmp_path}/upgraded")
    with pytest.raises(Refused, match="Helm 3.13 or later, but not 4, is needed: nothing was changed") as refused:
        charts.render({"tag": "v2"})
    assert version in str(refused.value) and not (tmp_path / "upgraded").exists()


def test_a_program_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"(?s)helm.*Nothing was changed; install Helm 3"):
        program(tmp_path, "", shell="#!/no/such/shell").render({"tag": "v2"})


def test_what_a_chart_says_of_a_value_is_not_told(tmp_path: Path) -> None:
    charts = program(
        tmp_path, f'echo "Error: UPGRADE FAILED: at (a.yaml:3): password: {SECRET} is too short" >&2; exit 1'
    )
    with pytest.raises(Permanent, match=r"UPGRADE FAILED: at \(a.yaml:3\): password: \(not shown\)") as failed:
        charts.upgrade({"tag": "v2"})
    assert SECRET not in str(failed.value)


def test_a_helm_that_was_killed_is_an_unknown_outcome(tmp_path: Path) -> None:
    with pytest.raises(UnknownOutcome):
        program(tmp_path, "kill -9 $$").upgrade({"tag": "v2"})


BEGUN = """
import sys
from pathlib import Path
from onlyvips.adapters.charts_helm import HelmCharts
from onlyvips.core.plan import ChartPlan
HelmCharts(sys.argv[1], None, "production", ChartPlan("web", "tag", "id", (), 1.0, path="/c")).upgrade({"tag": "v2"})
"""


def test_a_helm_whose_driver_is_dead_ends_by_itself_when_one_call_may_take_no_longer(tmp_path: Path) -> None:
    program(tmp_path, f"echo $$ > {tmp_path}/made && mv {tmp_path}/made {tmp_path}/pid", "exec sleep 3600")

    driver = subprocess.Popen([sys.executable, "-c", BEGUN, str(tmp_path / "helm")])
    while not (tmp_path / "pid").exists():
        assert driver.poll() is None
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    helm = int((tmp_path / "pid").read_text())
    for _ in range(1500):
        if not _lives(helm):
            return
        time.sleep(0.02)
    os.kill(helm, 9)
    raise AssertionError("it goes on, and whoever follows the driver would work beside it")


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
