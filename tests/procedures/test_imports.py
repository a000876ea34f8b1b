"""What a command does not need it does not import: at three in the morning a second of imports is waited for."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

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


def test_no_command_in_a_terminal_tells_the_makers_of_what_it_imports(tmp_path: Path) -> None:
    code = (
        "import sys; from flows.commands import main; sys.argv[1:] = ['--version']\n"
        "try: main()\n"
        "except SystemExit: import prefect; print('imported', prefect.__version__)"
    )
    alone = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path), "TERM": "xterm"}
    ours, terminal = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as shown, os.fdopen(terminal, "wb", buffering=0) as given:
        subprocess.run(
            [sys.executable, "-c", code], env=alone, stdin=given, stdout=given, stderr=given, timeout=120, check=True
        )
        told = shown.read(100_000).decode()
    assert "imported" in told
    assert "usage data" not in told and not (tmp_path / ".sdk_telemetry").exists(), told
