"""``onlyvips environment notify``: a message to each target, through a webhook of our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows.commands import run
from tests.webhook import Webhook, listening

LAB = Path(__file__).parents[2] / "deployments" / "environments" / "lab.yaml"
SECRET = "hunter2-Sw0rdfish"


@pytest.fixture
def webhook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """Environment ``told``, which has a webhook that is there, and one whose address is not set."""
    document = yaml.safe_load(LAB.read_text())
    document["name"] = "told"
    document["people"]["notifications"]["targets"] = {
        "hook": {"url": "env:ONLYVIPS_TEST_HOOK", "wants": ["all"]},
        "pager": {"url": "env:ONLYVIPS_TEST_PAGER", "wants": ["escalation"]},
    }
    (tmp_path / "told.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.setenv("ONLYVIPS_ENVIRONMENTS_DIR", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("ONLYVIPS_TEST_PAGER", raising=False)
    with listening() as (hook, port):
        monkeypatch.setenv("ONLYVIPS_TEST_HOOK", f"json://127.0.0.1:{port}/{SECRET}")
        yield hook


def test_each_target_gets_a_message_and_one_that_cannot_is_named(
    webhook: Webhook, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["environment", "notify", "told"]) == 1
    [(_, posted)] = webhook.posted
    assert posted["title"] == "A test of notifications to hook"
    told = capsys.readouterr()
    assert "hook took the message" in told.out
    assert "pager: env:ONLYVIPS_TEST_PAGER is not set" in told.err
    assert SECRET not in told.out + told.err


def test_one_target_is_named_and_a_misspelt_one_is_refused_before_anything_is_sent(
    webhook: Webhook, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["environment", "notify", "told", "--target", "hook"]) == 0
    assert run(["environment", "notify", "told", "--target", "hook", "--target", "pagger"]) == 2
    assert "did you mean `pager`?" in capsys.readouterr().err
    assert len(webhook.posted) == 1


def test_check_says_who_is_told_what(webhook: Webhook, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["environment", "check", "told"]) == 0
    assert "hook (env:ONLYVIPS_TEST_HOOK) is told: everything." in capsys.readouterr().out
