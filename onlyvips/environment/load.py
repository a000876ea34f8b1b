"""From a file to a validated environment: every mistake is reported at once, with its line."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from onlyvips.environment import rules
from onlyvips.environment.model import Environment
from onlyvips.environment.problems import EnvironmentInvalid, Problem, nearest
from onlyvips.environment.schema_errors import problems_of
from onlyvips.environment.yaml_tree import read
from onlyvips.errors import Refused

DIRECTORY_VARIABLE = "ONLYVIPS_ENVIRONMENTS_DIR"
_BELOW = Path("deployments") / "environments"


def load(name: str, directory: Path | None = None) -> Environment:
    """The environment ``name``. Raises EnvironmentInvalid with all problems, Refused when there is no such file."""
    folder = directory or environments_directory()
    if name not in names(folder):
        raise Refused(f"There is no environment `{name}` in {folder}{nearest(name, names(folder))}")
    file = folder / f"{name}.yaml"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Refused(f"{file} cannot be read: {reason}.") from error
    return from_text(text, name, str(file))


def names(directory: Path | None = None) -> list[str]:
    """The environments there are, sorted."""
    return sorted(path.stem for path in (directory or environments_directory()).glob("*.yaml"))


def environments_directory() -> Path:
    """``$ONLYVIPS_ENVIRONMENTS_DIR``, else ``deployments/environments`` here, else the one beside this package."""
    told = os.environ.get(DIRECTORY_VARIABLE)
    if told:
        if not Path(told).is_dir():
            raise Refused(f"{DIRECTORY_VARIABLE} is {told}, which is not a directory.")
        return Path(told)
    places = (Path.cwd() / _BELOW, Path(__file__).resolve().parents[2] / _BELOW)
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise Refused(f"No environments are found here: set {DIRECTORY_VARIABLE} to the directory of their files.")
    return found


@lru_cache(maxsize=16)
def from_text(text: str, name: str, file: str) -> Environment:
    """The environment that ``text`` describes; ``file`` is what its problems are reported in. A text is read once:
    who follows a release asks for it each second."""
    tree = read(text)
    if not isinstance(tree.data, dict):
        tree.problems.append(Problem(1, (), "a mapping of sections is expected"))
        raise EnvironmentInvalid(file, tree.problems[:1])
    try:
        environment = Environment.model_validate(tree.data)
        problems: list[Problem] = []
    except ValidationError as error:
        problems = problems_of(error, Environment, tree)
        environment = _what_is_valid(tree.data, {str(problem.path[0]) for problem in problems if problem.path})
    if tree.data.get("name", name) != name:
        problems.append(
            Problem(tree.line(("name",)), ("name",), f"the file is called {name}.yaml: write `name: {name}`")
        )
    problems += [Problem(tree.line(path), path, message) for path, message in rules.broken(environment)]
    unread = {(problem.line, problem.path) for problem in tree.problems}
    problems = [
        problem for problem in problems if (problem.line, problem.path) not in unread
    ]  # told once, as what is written there
    if problems or tree.problems:
        raise EnvironmentInvalid(file, problems + tree.problems)
    environment._file, environment._lines = file, tree.lines
    return environment


def _what_is_valid(data: dict[str, Any], bad: set[str]) -> Environment:
    """The sections that can be judged although others cannot be read; it never leaves this module."""
    good = {
        name: TypeAdapter(field.rebuild_annotation()).validate_python(data[name])
        for name, field in Environment.model_fields.items()
        if name in data and name not in bad
    }
    return Environment.model_construct(_fields_set=set(good), **good)
