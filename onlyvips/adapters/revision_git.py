"""A git repository on this machine, read by git itself: ``ports.configuration.Revision``."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from onlyvips.adapters.program import end, words
from onlyvips.errors import Permanent, Transient

_BLOCK = 1 << 20
_NEEDED = ("PATH", "HOME", "XDG_CONFIG_HOME", "TMPDIR")
_OURS = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
"""No index is refreshed, nobody is asked, nothing is fetched, and what git says can be read."""


class GitRevision:
    """The repository at ``path``: a checkout or a bare one. Git that says nothing for ``stall`` seconds is ended."""

    def __init__(self, path: Path, stall: float = 120.0) -> None:
        self._path, self._stall = path, stall

    def refs(self) -> dict[str, str]:
        """See ``ports.configuration.Revision``."""
        if self._git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", fine=(0, 1)) == "":
            raise Permanent(f"The repository {self._path} has no commit at its HEAD: commit, or correct the path.")
        lines = self._git("show-ref", "--head", fine=(0, 1)).splitlines()
        return {name: oid for oid, _, name in (line.partition(" ") for line in lines)}

    def uncommitted(self) -> int:
        """See ``ports.configuration.Revision``."""
        if self._git("rev-parse", "--is-bare-repository").strip() == "true":
            return 0
        found = self._git("-c", "core.fsmonitor=false", "status", "--porcelain=v1", "-z", "--no-renames")
        return len(found.rstrip("\0").split("\0")) if found else 0

    def shallow(self) -> list[str]:
        """See ``ports.configuration.Revision``."""
        if self._git("rev-parse", "--is-shallow-repository").strip() != "true":
            return []
        file = Path(self._git("rev-parse", "--git-path", "shallow").removesuffix("\n"))
        return sorted((self._path / file).read_text().split())

    def bundle(self) -> Iterator[bytes]:
        """See ``ports.configuration.Revision``."""
        with tempfile.TemporaryFile() as complaints:
            process = self._start(["bundle", "create", "--quiet", "-", "--all"], complaints)
            try:
                yield from self._read(process)
                code = process.wait(self._stall)
            except subprocess.TimeoutExpired as error:
                raise self._stood_still("bundle") from error
            finally:
                end(process)
            self._check(code, "bundle", words(complaints))

    def _read(self, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
        assert process.stdout is not None
        pipe, ready = process.stdout.fileno(), select.poll()
        ready.register(pipe, select.POLLIN)
        while True:
            if not ready.poll(self._stall * 1000):
                raise self._stood_still("bundle")
            if not (data := os.read(pipe, _BLOCK)):
                return
            yield data

    def _git(self, *arguments: str, fine: tuple[int, ...] = (0,)) -> str:
        """What git says. Raises Permanent with its complaint, Transient when it was killed or stood still."""
        with tempfile.TemporaryFile() as complaints:
            process = self._start(arguments, complaints)
            try:
                found, _ = process.communicate(timeout=self._stall)
            except subprocess.TimeoutExpired as error:
                raise self._stood_still(arguments[0]) from error
            finally:
                end(process)
            if process.returncode not in fine:
                self._check(process.returncode, arguments[0], words(complaints))
        return found.decode(errors="surrogateescape")

    def _start(self, arguments: list[str] | tuple[str, ...], complaints: IO[bytes]) -> subprocess.Popen[bytes]:
        """A group of its own, so that what git starts ends with it; of our environment only what git needs."""
        ours = {name: os.environ[name] for name in _NEEDED if name in os.environ}
        try:
            return subprocess.Popen(
                ["git", *arguments],
                cwd=self._path,
                env=ours | _OURS,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,
            )
        except OSError as error:
            what = "git is not on PATH here" if error.filename == "git" else f"{error.strerror}"
            raise Permanent(f"The repository {self._path} cannot be read: {what}.") from error

    def _check(self, code: int, what: str, complaint: str) -> None:
        if code < 0:
            raise Transient(f"git {what} of {self._path} was killed (signal {-code}): what it gave is not whole.")
        if code:
            raise Permanent(f"git {what} of {self._path} failed ({code}): {complaint or 'it did not say why'}")

    def _stood_still(self, what: str) -> Transient:
        return Transient(f"git {what} of {self._path} said nothing for {self._stall:.0f} s and was ended.")
