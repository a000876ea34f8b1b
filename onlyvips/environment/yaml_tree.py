"""YAML read strictly, with the line of every key: duplicate keys, anchors, merge keys and tags are refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from onlyvips.environment.problems import Path, Problem

_MAXIMUM_DEPTH = 20
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)


@dataclass
class Tree:
    """``data`` as plain values, the line of every path (a key's own line), and what was wrong."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of ``path``, or of the nearest parent that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses anchors: what is written is what is meant."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            refusal = "anchors and aliases are refused: write the value out"
            raise yaml.MarkedYAMLError(problem=refusal, problem_mark=event.start_mark)
        return super().compose_node(parent, index)


def read(text: str) -> Tree:
    """The tree of ``text``; syntax errors are problems of the tree. Never shows the text around an error."""
    tree = Tree()
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                tree.data = _value(loader, node, (), tree)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        tree.problems.append(Problem(mark.line + 1 if mark else 1, (), f"not YAML: {error.problem or error.context}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        tree.problems.append(Problem(line, (), f"not YAML: {error.reason}"))
    except (ValueError, RecursionError) as error:
        tree.problems.append(Problem(1, (), f"not YAML that can be read: {type(error).__name__}"))
    return tree


def _value(loader: _Loader, node: yaml.Node, path: Path, tree: Tree) -> Any:
    tree.lines.setdefault(path, node.start_mark.line + 1)
    if len(path) > _MAXIMUM_DEPTH:
        raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=node.start_mark)
    if isinstance(node, yaml.MappingNode):
        return _mapping(loader, node, path, tree)
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, child, (*path, number), tree) for number, child in enumerate(node.value)]
    return _scalar(loader, node, path, tree)


def _scalar(loader: _Loader, node: yaml.Node, path: Path, tree: Tree) -> Any:
    """Its value; YAML's other ways to write a number (010 is 8, 1:30 is 90) are refused."""
    line = node.start_mark.line + 1
    if node.tag == "tag:yaml.org,2002:int" and not _PLAIN_NUMBER.fullmatch(node.value):
        refusal = "a number is written with the digits 0 to 9 alone, 18 at most, without a 0 in front"
        tree.problems.append(Problem(line, path, refusal))
        return None
    try:
        return loader.construct_object(node)
    except ValueError:
        tree.problems.append(Problem(line, path, "this value cannot be read: quote it where it is text"))
        return None


def _mapping(loader: _Loader, node: yaml.MappingNode, path: Path, tree: Tree) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            tree.problems.append(Problem(line, path, "a key must be a word, not a list or a mapping"))
            continue
        key = str(key_node.value)
        here = (*path, key)
        if key in result:
            message = f"written twice (first in line {tree.lines[here]}): keep one"
            tree.problems.append(Problem(line, here, message))
            continue
        tree.lines[here] = line
        result[key] = _value(loader, value_node, here, tree)
    return result
