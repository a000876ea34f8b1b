"""What a ConfigMap of a release holds: texts, files, folders; what cannot be in one is refused by file, line, key."""

from __future__ import annotations

from pathlib import Path

import pytest

from onlyvips import environment as environments
from onlyvips.core.plan import ConfigPlan
from onlyvips.environment import Environment, EnvironmentInvalid
from tests.core.broken_environments import PRODUCTION, SECRET

_HERE = "  migration:\n    job: "


def loaded(tmp_path: Path, config: str) -> Environment:
    """An environment in a file of its own, with this ConfigMap of backend."""
    text = PRODUCTION.replace(_HERE, f"  configs:\n    backend:\n      - {config}\n{_HERE}", 1)
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "production.yaml").write_text(text)
    return environments.load("production", tmp_path / "environments")


def config(tmp_path: Path, values: str = "{}") -> str:
    return f"{{name: settings, replaces: settings, values: {values}, folder: {tmp_path}/configs}}"


def folder(tmp_path: Path, **files: bytes) -> Path:
    found = tmp_path / "configs"
    found.mkdir()
    for name, data in files.items():
        (found / name).write_bytes(data)
    return found


def test_texts_files_and_each_file_of_a_folder_are_taken_as_they_are(tmp_path: Path) -> None:
    place = folder(tmp_path, app=b"a: 1\n")
    (place / ".swap").write_text("no")
    (tmp_path / "nginx.conf").write_text("listen 80;\n")
    made = loaded(tmp_path, config(tmp_path, f"{{LEVEL: info, nginx: file:{tmp_path}/nginx.conf}}"))
    found = environments.config_values(made, "backend", "settings")
    assert found == {"LEVEL": "info", "nginx": "listen 80;\n", "app": "a: 1\n"}
    plan = environments.release_plan(made, "backend", "v0.9.0")
    assert plan.configs == (ConfigPlan("settings", "settings", ("LEVEL", "nginx"), f"{tmp_path}/configs"),)
    assert environments.release_plan(made, "backend", "v0.9.1").configs == ()
    assert environments.release_plan(made, "miniapp", "v0.9.0").configs == ()


@pytest.mark.parametrize(
    ("data", "values", "key", "message"),
    [
        (b"\xff\xfe", "{}", "folder", "is not UTF-8 text"),
        (b"x: y", "{app: x}", "folder", "`app` comes twice"),
        (f"uri: mongodb://u:{SECRET}@h/db".encode(), "{}", "folder", "looks like a secret"),
        (b"x" * (1 << 20), "{}", "", "are more than the 1048576 of a ConfigMap"),
        (b"", "{A: file:/nowhere/at/all}", "values.A", "/nowhere/at/all cannot be read: No such file"),
    ],
)
def test_what_cannot_be_in_a_configmap_is_refused_with_file_line_and_key(
    tmp_path: Path, data: bytes, values: str, key: str, message: str
) -> None:
    folder(tmp_path, app=data)
    made = loaded(tmp_path, config(tmp_path, values))
    line = Path(made.file).read_text().partition("name: settings")[0].count("\n") + 1
    with pytest.raises(EnvironmentInvalid, match="nothing was changed") as error:
        environments.config_values(made, "backend", "settings")
    where = ".".join(part for part in ("release.configs.backend[0]", key) if part)
    assert str(error.value).startswith(f"{made.file}:{line}: {where}: ") and message in str(error.value)
    assert SECRET not in str(error.value)


def test_a_folder_that_is_not_there_is_empty_or_has_folders_is_refused(tmp_path: Path) -> None:
    made = loaded(tmp_path, config(tmp_path))
    for make, message in (
        (lambda: None, "cannot be read: No such file"),
        ((tmp_path / "configs").mkdir, "it would be empty"),
        ((tmp_path / "configs" / "more").mkdir, "a ConfigMap has no folders"),
    ):
        make()
        with pytest.raises(EnvironmentInvalid, match=message):
            environments.config_values(made, "backend", "settings")
