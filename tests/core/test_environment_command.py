"""``onlyvips environment``: plain English or JSON on stdout, errors on stderr, and never the value of a secret."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import pytest

from flows.commands import app, console, run
from onlyvips import environment as environments
from onlyvips.errors import Fenced, Misuse, Permanent, Refused, Transient

SECRET = "hunter2-Sw0rdfish"
DIRECTORY = Path(__file__).parents[2] / "deployments" / "environments"


@pytest.fixture(autouse=True)
def our_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository's files, whatever the caller's environment says; a pipe's output."""
    monkeypatch.setenv("ONLYVIPS_ENVIRONMENTS_DIR", str(DIRECTORY))
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def lab_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab that is up, as far as its endpoints file goes."""
    monkeypatch.setenv("ONLYVIPS_LAB_HOME", str(tmp_path))
    (tmp_path / "endpoints.env").write_text(
        f"ONLYVIPS_LAB_JWT_SECRET={SECRET}\nONLYVIPS_LAB_MONGODB_URI=mongodb://me:{SECRET}@127.0.0.1:1\n"
    )
    return tmp_path


@pytest.mark.parametrize("name", ["production", "lab"])
def test_check_says_it_in_plain_english(
    name: str, lab_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONLYVIPS_JWT_SECRET", SECRET)
    assert run(["environment", "check", name]) == console.OK
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    assert SECRET not in out
    for words in ("is valid.", "10% for", "promotion to 100%", "response time (p95) is above 500ms", "RTO", "On call"):
        assert words in out
    assert "references are not supported" not in out


def test_check_as_json_has_references_and_no_values(lab_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["environment", "check", "lab", "--json"]) == console.OK
    out = capsys.readouterr().out
    said = json.loads(out)
    assert SECRET not in out
    assert said["environment"]["waits"]["propagation"] == 5.5
    assert (
        said["environment"]["release"]["secrets"]["backend"][0]["values"]["JWT_SECRET"] == "env:ONLYVIPS_LAB_JWT_SECRET"
    )
    assert said["schema"] == "onlyvips/environment-check/1"


def test_a_broken_environment_is_told_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONLYVIPS_ENVIRONMENTS_DIR", str(tmp_path))
    text = (DIRECTORY / "production.yaml").read_text().replace("redis: env:ONLYVIPS_REDIS_URL", f"redis: {SECRET}")
    (tmp_path / "production.yaml").write_text(text)
    assert run(["environment", "check", "production", "--json"]) == console.REFUSED
    out, err = capsys.readouterr()
    assert json.loads(out)["exit"] == console.REFUSED
    assert SECRET not in out
    assert re.match(r"\S+/production\.yaml:\d+: endpoints\.redis: a secret must be a reference", err)
    assert SECRET not in err
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["environment", "check"], "requires an argument"),
        (["environment", "check", "lab", "--jsno"], "Unknown option"),
        (["release", "plan", "-e", "lab", "-s", "backend", "-v", "v1", "--strategy", "green"], "Choose from"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_told_as_json_too(
    line: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*line, "--json"]) == console.REFUSED
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert said in told["error"] and said in err and told["exit"] == console.REFUSED


def test_list_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["environment", "list"]) == console.OK
    assert capsys.readouterr().out.split() == ["lab", "production"]
    assert run(["--version"]) == console.OK
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)
    assert run(["--help"]) == console.OK
    assert "130 interrupted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["enviroment", "list"], "environment"),
        (["environment", "chek"], "check"),
        (["environment", "check"], "name"),
        (["environment", "check", "lab", "--jsn"], "--jsn"),
        (["environment", "check", "labb"], "did you mean `lab`?"),
    ],
)
def test_bad_input_is_exit_2_on_stderr(tokens: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tokens) == console.REFUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("no"), 2),
        (Misuse("no"), 2),
        (environments.EnvironmentInvalid("f", []), 2),
        (Permanent("no"), 1),
        (Fenced("no"), 1),
        (Transient("no"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise error

    app.command(fail, name="fail-in-test")
    try:
        assert run(["fail-in-test"]) == code
    finally:
        del app["fail-in-test"]
    assert capsys.readouterr().out == ""


def test_colours_are_for_terminals_and_not_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    def printed(stream: StringIO) -> str:
        monkeypatch.setattr("sys.stdout", stream)
        console.say("good \x1b[31m news [bold]", "green")
        return stream.getvalue()

    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[32m" in printed(Terminal())
    assert printed(StringIO()) == "good \N{REPLACEMENT CHARACTER}[31m news [bold]\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in printed(Terminal())
