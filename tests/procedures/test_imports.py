"""What a command does not need it does not import: at three in the morning a second of imports is waited for."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("scipy", "prefect", "redis", "matplotlib", "apprise")


def test_a_command_that_reads_imports_none_of_the_slow_packages() -> None:
    code = (
        "import sys; from flows.commands import run; run(['release', 'status', '-e', 'no-such']); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
    assert "no-such" in done.stderr, "the command itself was not reached"


def test_each_noun_tells_what_it_is_for_without_being_imported() -> None:
    code = (
        "import sys; from flows.commands import run; run(['--help']); "
        "print([name for name in sys.modules if name.startswith('onlyvips.wiring')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for sentence in ("Back up: run", "Rehearse restores", "Restore: plan", "Release a service: plan"):
        assert sentence in done.stdout
