"""The programs of the benchmark: out of the lab's cache, made there where they are missing."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from functools import partial
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).parent
LAB = HERE.parents[1] / "deployments" / "lab"
sys.path.insert(0, str(LAB))

import builds  # noqa: E402

_OF_THE_LAB = ("mongo-tools", "age", "zstd", "versitygw")
_AWS = HERE / "aws" / "requirements.txt"
Programs = dict[str, Path]
"""Where each program is, by its name."""


def prepare(console: Console) -> Programs:
    """Every program of the benchmark."""
    return _made([*_own(), *(item for item in builds.ingredients() if item.name in _OF_THE_LAB)], console)


def firehose() -> Path:
    """The server that takes everything, alone."""
    return _made([item for item in _own() if item.name == "firehose"], Console(quiet=True))["firehose"]


def flagger(console: Console) -> Path:
    """The folder of Flagger, with its ``bin`` and its ``crd.yaml``."""
    module = builds.Module("flagger", HERE / "flagger", (("flagger", "github.com/fluxcd/flagger/cmd/flagger"),))
    item = builds.Ingredient("flagger", module.ingredient().key, partial(_make_flagger, module))
    _made([item], console)
    return builds.cached(builds.cache_folder(), item)


def _make_flagger(module: builds.Module, target: Path, log: Path) -> None:
    module.build(target, log)
    answer = builds.go(module.source, log, "mod", "download", "-json", "github.com/fluxcd/flagger")
    shutil.copyfile(Path(json.loads(answer)["Dir"]) / "artifacts" / "flagger" / "crd.yaml", target / "crd.yaml")


def _made(wanted: list[builds.Ingredient], console: Console) -> Programs:
    cache = builds.cache_folder()
    absent = [item for item in wanted if not builds.cached(cache, item).exists()]
    if absent:
        builds.check_go()
        builds.make_all(cache, absent, console)
    folders = [builds.cached(cache, item) / "bin" for item in wanted]
    return {program.name: program for folder in folders for program in folder.iterdir()}


def aws() -> Path:
    """The AWS CLI alone."""
    item, cache = _aws(), builds.cache_folder()
    builds.make(cache, item)
    return builds.cached(cache, item) / "bin" / "aws"


def _own() -> list[builds.Ingredient]:
    """What only the benchmark needs."""
    modules = [builds.Module(name, HERE / name, ((name, "."),)) for name in ("firehose", "rclone")]
    return [*(module.ingredient() for module in modules), _aws()]


def _aws() -> builds.Ingredient:
    key = hashlib.sha256(_AWS.read_bytes() + platform.python_version().encode()).hexdigest()[:16]
    return builds.Ingredient("aws", key, _install_aws)


def _install_aws(target: Path, log: Path) -> None:
    """The AWS CLI, which pins its own botocore, in an environment of its own; started without a shell's help."""
    uv, environment = str(Path(sys.executable).with_name("uv")), target / "environment"
    builds.run([uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(environment)], target, log)
    inside = ["--quiet", "--python", str(environment / "bin" / "python"), "--require-hashes", "-r", str(_AWS)]
    builds.run([uv, "pip", "install", *inside], target, log)
    program = target / "bin" / "aws"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nexec "$(dirname "$0")/../environment/bin/python" -m awscli "$@"\n')
    program.chmod(0o755)
