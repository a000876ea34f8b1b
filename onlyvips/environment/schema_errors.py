"""pydantic's errors as sentences: with the nearest valid key or value, and never with a value that may be a secret."""

from __future__ import annotations

import re
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from onlyvips.environment.problems import Path, Problem, nearest
from onlyvips.environment.yaml_tree import Tree

_SHAPES = {
    "string_type": "text is expected here (quote it)",
    "int_type": "a whole number is expected here",
    "bool_type": "true or false is expected here",
    "tuple_type": "a list is expected here",
    "dict_type": "a mapping of keys is expected here",
    "model_type": "a mapping of keys is expected here",
    "too_short": "at least one entry is needed here",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}


def problems_of(error: ValidationError, model: type[BaseModel], tree: Tree) -> list[Problem]:
    """Every mistake that pydantic found, at its line."""
    every = error.errors(include_url=False, include_input=True)
    # A list all of whose entries are wrong is not too short as well.
    told = [one for one in every if one["type"] != "too_short" or not any(_is_below(other, one) for other in every)]
    return [_problem(details, model, tree) for details in told]


def _is_below(one: ErrorDetails, other: ErrorDetails) -> bool:
    return len(one["loc"]) > len(other["loc"]) and one["loc"][: len(other["loc"])] == other["loc"]


def _problem(details: ErrorDetails, model: type[BaseModel], tree: Tree) -> Problem:
    path: Path = tuple(step for step in details["loc"] if step != "[key]")
    kind = details["type"]
    line = tree.line(path)
    if kind == "extra_forbidden":
        message = f"unknown key{nearest(str(path[-1]), _keys_at(model, path[:-1]))}"
    elif kind == "missing":
        message = "this key is missing"
    else:
        message = _sentence(kind, details)
    return Problem(line, path, message)


def _sentence(kind: str, details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        choices = [quoted or bare for quoted, bare in re.findall(r"'([^']*)'|(-?\d+)", context["expected"])]
        return f"not one of {', '.join(choices)}{_hint(details['input'], choices)}"
    shape = _SHAPES.get(kind)
    return shape.format(**context) if shape else details["msg"]


def _hint(given: Any, choices: list[str]) -> str:
    hint = nearest(str(given), choices)
    return hint if "did you mean" in hint else ""


def _keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that are valid in the mapping at ``path``."""
    kind: Any = model
    for step in path:
        kind = _step(kind, step)
    found = _model_in(kind)
    return list(found.model_fields) if found else []


def _step(kind: Any, step: str | int) -> Any:
    found = _model_in(kind)
    if found is not None and isinstance(step, str) and step in found.model_fields:
        return found.model_fields[step].annotation
    for part in _parts(kind):
        arguments = get_args(part)
        if get_origin(part) is dict:
            return arguments[1]
        if get_origin(part) is tuple:
            return arguments[0]
    return None


def _model_in(kind: Any) -> type[BaseModel] | None:
    return next((p for p in _parts(kind) if isinstance(p, type) and issubclass(p, BaseModel)), None)


def _parts(kind: Any) -> list[Any]:
    """``kind``, or the members of a union; Annotated unwrapped."""
    if hasattr(kind, "__metadata__"):
        return _parts(kind.__origin__)
    if get_origin(kind) in (None, dict, tuple):
        return [kind]
    return [part for argument in get_args(kind) for part in _parts(argument)]
