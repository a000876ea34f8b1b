"""Reading what a release's ConfigMaps hold: texts of the environment's file, files, and folders of files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Never

from onlyvips.environment.config_of import ConfigOfRelease, is_key, looks_secret
from onlyvips.environment.model import Environment
from onlyvips.environment.problems import EnvironmentInvalid, Problem
from onlyvips.environment.problems import Path as KeyPath
from onlyvips.environment.references import is_reference, parse
from onlyvips.environment.yaml_tree import read

_MOST = 1 << 20
"""Bytes that a ConfigMap may hold, as Kubernetes limits it."""


def config_values(environment: Environment, service: str, name: str) -> dict[str, str]:
    """Keys and texts of ConfigMap ``name`` of the release, as they are now.

    Raises EnvironmentInvalid, with file, line and key, for what cannot be read or cannot be in a ConfigMap.
    """
    configs = environment.release.configs.get(service, ())
    number, config = next((number, one) for number, one in enumerate(configs) if one.name == name)
    here: KeyPath = ("release", "configs", service, number)
    found = dict[str, str]()
    for key, text, path in _read(environment, config, here):
        if key in found:
            _refuse(environment, path, f"`{key}` comes twice: from `values` and from the folder, so leave one out")
        if is_from_file(config, key) and (why := looks_secret(text)):
            _refuse(environment, path, f"`{key}` {why}")
        found[key] = text
    if not found:
        _refuse(environment, here, "it would be empty: nothing in `values`, and no file in the folder")
    if (size := sum(len(key) + len(text.encode()) for key, text in found.items())) > _MOST:
        _refuse(environment, here, f"{size} bytes are more than the {_MOST} of a ConfigMap: put files into a volume")
    return found


def is_from_file(config: ConfigOfRelease, key: str) -> bool:
    """Whether the key's text is one of a file's, which nobody has looked at yet."""
    return is_reference(config.values.get(key, "file:"))


def _read(environment: Environment, config: ConfigOfRelease, here: KeyPath) -> Iterator[tuple[str, str, KeyPath]]:
    for key, text in config.values.items():
        path = (*here, "values", key)
        file = Path(parse(text).target).expanduser() if is_reference(text) else None
        yield key, _text(environment, file, path) if file else text, path
    if config.folder is None:
        return
    path, folder = (*here, "folder"), Path(config.folder).expanduser()
    try:
        files = sorted(one for one in folder.iterdir() if not one.name.startswith("."))
    except OSError as error:
        _refuse(environment, path, f"{folder} cannot be read: {error.strerror}")
    for file in files:
        if not file.is_file() or not is_key(file.name):
            why = "a ConfigMap has no folders" if file.is_dir() else "its name cannot be a key of a ConfigMap"
            _refuse(environment, path, f"{file} is no file that can be taken: {why}")
        yield file.name, _text(environment, file, path), path


def _text(environment: Environment, file: Path, path: KeyPath) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        _refuse(environment, path, f"{file} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        _refuse(environment, path, f"{file} is not UTF-8 text, and binary ConfigMaps are not supported")


def _refuse(environment: Environment, path: KeyPath, message: str) -> Never:
    line = 1
    with suppress(OSError):  # it was made otherwise, or is gone: the key still says which it is
        line = read(Path(environment.file).read_text(encoding="utf-8")).line(path)
    raise EnvironmentInvalid(environment.file, [Problem(line, path, f"{message}: nothing was changed")])
