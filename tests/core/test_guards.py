"""The shape of the project, checked: names, entrypoints, layers, sizes."""

from __future__ import annotations

import ast
import importlib
import re
import statistics
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from prefect import Flow

ROOT = Path(__file__).resolve().parents[2]
OURS = ("flows", "tasks", "onlyvips", "deployments")
PREFECT = yaml.safe_load((ROOT / "prefect.yaml").read_text())


def modules(*folders: str) -> list[Path]:
    """Every module of ours in ``folders``."""
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("path", modules("flows", "tasks"), ids=str)
def test_no_flow_or_task_is_named_like_an_installed_module(path: Path) -> None:
    """A path entrypoint puts its folder on sys.path: ``flows/secrets.py`` would hide the standard library's."""
    if path.name != "__init__.py" and path.parent.name != "commands":
        taken = set(sys.stdlib_module_names) | set(packages_distributions())
        assert path.stem not in taken


@pytest.mark.parametrize("deployment", PREFECT["deployments"], ids=lambda one: one["name"])
def test_entrypoints_import_are_flows_and_their_parameters_validate(deployment: dict[str, object]) -> None:
    module, name = str(deployment["entrypoint"]).rsplit(".", 1)
    flow = getattr(importlib.import_module(module), name)
    assert isinstance(flow, Flow)
    assert flow.fn.__module__.startswith("flows.")
    required = {"environment": "lab", "service": "backend", "version": "v2", "kind": "mongodb", "backup": "x"}
    required |= {"target": "env:X"}
    given = {key: value for key, value in required.items() if key in flow.parameters.properties}
    flow.validate_parameters({**given, **(deployment.get("parameters") or {})})


def test_deployments_say_nothing_that_prefect_would_silently_ignore() -> None:
    known = {
        "name",
        "description",
        "entrypoint",
        "tags",
        "work_pool",
        "enforce_parameter_schema",
        "parameters",
        "schedules",
    }
    for deployment in PREFECT["deployments"]:
        assert set(deployment) <= known
        assert deployment["work_pool"]["name"] == "onlyvips"


def test_deployments_have_unique_names() -> None:
    names = [deployment["name"] for deployment in PREFECT["deployments"]]
    assert len(names) == len(set(names))


def functions(path: Path) -> list[tuple[str, int]]:
    """Each function of a module with its length in lines."""
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    return [(f"{path.name}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1) for node in found]


def test_functions_stay_within_the_size_budget() -> None:
    """Median <= 10 lines, nine in ten <= 35, none over 60: a function that needs more is two ideas."""
    found = [each for path in modules(*OURS) for each in functions(path)]
    lengths = sorted(length for _, length in found)
    assert statistics.median(lengths) <= 10
    assert lengths[len(lengths) * 9 // 10] <= 35
    assert [each for each in found if each[1] > 60] == []


@pytest.mark.parametrize("path", modules(*OURS, "tests"), ids=str)
def test_modules_stay_within_400_lines(path: Path) -> None:
    assert path.read_text().count("\n") <= 400


def test_only_the_policies_retry() -> None:
    """Retries of a task are declared in one place, driven by the error vocabulary."""
    for path in modules("flows", "tasks"):
        if path.name != "policies.py":
            assert "retries=" not in path.read_text(), path


def test_no_flow_sleeps() -> None:
    for path in modules("flows"):
        if path.parent.name != "commands":
            assert "sleep" not in path.read_text(), path


def test_every_test_that_a_document_names_is_there() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = {name for path in (ROOT / "docs").rglob("*.md") for name in re.findall(r"`(test_\w+)`", path.read_text())}
    assert named
    assert sorted(name for name in named if f"def {name}(" not in tests) == []
