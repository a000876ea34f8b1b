"""A Helm release by the program helm: ``ports.charts.Charts``. Helm 3 and its JSON (``helm status -o json``)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import yaml

from onlyvips.adapters.program import bounded, end, words
from onlyvips.core.charts import Revision
from onlyvips.core.plan import ChartPlan
from onlyvips.core.redaction import hidden
from onlyvips.errors import Conflict, Permanent, Refused, Transient, UnknownOutcome

_HOOKS = {"pre-upgrade", "post-upgrade", "pre-rollback", "post-rollback"}
_AWAY = re.compile(
    r"unreachable|connection refused|connection reset|i/o timeout|TLS handshake timeout|no such host|deadline exceeded"
    r"|client rate limiter|too many requests|server is currently unable|etcdserver|unexpected EOF|: EOF",
    re.IGNORECASE,
)
"""How Helm says that the cluster did not answer."""
_OLDEST, _UNTRIED = (3, 13), (4, 0)
"""The first Helm that has ``--dry-run=server``, and the first that nobody has tried this with."""
_KILLED, _NOT_RUN = (124, 137), (126, 127)
"""Exit codes of ``timeout``, which Helm has not: it was ended, and it could not be begun."""
_MOST, _SHOWN = 100_000, 400
_BUSY = re.compile(r"another operation .* is in progress|already exists", re.IGNORECASE)


class HelmCharts:
    """``chart.release`` in ``namespace``, by ``program``, a path or a name on PATH. ``kubeconfig``: None for the pod's
    own account."""

    def __init__(self, program: str, kubeconfig: Path | None, namespace: str, chart: ChartPlan) -> None:
        self._named, self._kubeconfig, self._namespace, self._chart = program, kubeconfig, namespace, chart
        self._checked = False

    def newest(self) -> Revision | None:
        """See ``ports.charts.Charts``."""
        try:
            return _revision(self._ask("status", self._chart.release))
        except Permanent as error:
            if "release: not found" in str(error):
                return None
            raise

    def render(self, values: Mapping[str, str]) -> Revision:
        """See ``ports.charts.Charts``."""
        self._check_version()
        try:
            return _revision(self._ask(*self._upgrade(values), "--dry-run=server"))
        except Refused:
            raise
        except Permanent as error:
            raise Refused(f"{error} Nothing was changed.") from error

    def upgrade(self, values: Mapping[str, str]) -> None:
        """See ``ports.charts.Charts``."""
        self._run([*self._upgrade(values), "--output", "json"], writes=True)

    def rollback(self, number: int) -> None:
        """See ``ports.charts.Charts``."""
        self._run(["rollback", self._chart.release, str(number)], writes=True)

    def _upgrade(self, values: Mapping[str, str]) -> list[str]:
        chart = self._chart
        source = [chart.path] if chart.path else [chart.name, "--version", chart.version]
        repository = ["--repo", chart.repository] if chart.repository else []
        told = [part for path, value in values.items() for part in ("--set-string", f"{path}={value}")]
        return ["upgrade", chart.release, *source, *repository, "--reuse-values", *told]

    def _check_version(self) -> None:
        if self._checked:
            return
        try:
            said = self._run(["version", "--template", "{{.Version}}"], writes=False).decode(errors="replace").strip()
        except Refused:
            raise
        except Permanent as error:
            said = str(error)
        found = re.match(r"v(\d+)\.(\d+)", said)
        if found is None or not _OLDEST <= (int(found[1]), int(found[2])) < _UNTRIED:
            raise Refused(
                f"The program {self._named} is {said[:200] or 'of no version that it tells'}, and Helm 3.13 or later, "
                "but not 4, is needed: nothing was changed; install it on PATH, or name it as `platform.helm_program`."
            )
        self._checked = True

    def _ask(self, *arguments: str) -> Any:
        said = self._run([*arguments, "--output", "json"], writes=False)
        try:
            return json.loads(said)
        except ValueError as error:
            raise Permanent(f"helm {arguments[0]} answers in no JSON: Helm 3 is needed.") from error

    def _run(self, arguments: Sequence[str], *, writes: bool) -> bytes:
        """What it says. Its group is ended with it, whatever happens here."""
        what = f"helm {arguments[0]} of release {self._chart.release}"
        with tempfile.TemporaryFile() as complaints:
            process = self._begin([*arguments, "--namespace", self._namespace], complaints)
            try:
                said, _ = process.communicate(timeout=self._chart.timeout)
            except subprocess.TimeoutExpired as error:
                raise _unanswered(
                    f"{what} did not end within {self._chart.timeout:g} s and was ended", writes
                ) from error
            finally:
                end(process)
            if process.returncode:
                raise _failure(what, process.returncode, words(complaints, _MOST), writes)
        return said

    def _begin(self, arguments: Sequence[str], complaints: IO[bytes]) -> subprocess.Popen[bytes]:
        """In a group of its own, and for no longer than ``timeout`` even where this process dies: who comes next waits
        that long for it."""
        program = self._program()
        try:
            return subprocess.Popen(
                [*bounded(self._chart.timeout), program, *arguments],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,
            )
        except OSError as error:
            raise Refused(f"{program} cannot be run: {error.strerror}. Nothing was changed; install Helm 3.") from error

    def _program(self) -> str:
        found = shutil.which(self._named)
        if found is None:
            raise Refused(
                f"There is no program {self._named} here, by which release {self._chart.release} is changed: nothing "
                "was changed; install Helm 3 on PATH, or name it as `platform.helm_program`."
            )
        return found

    def _environment(self) -> dict[str, str]:
        """Which cluster is the platform's word, not that of who started us."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("HELM_KUBE", "HELM_NAMESPACE"))
        }
        kept.pop("HELM_DEBUG", None)
        return kept | ({"KUBECONFIG": str(self._kubeconfig)} if self._kubeconfig else {})


def _unanswered(told: str, writes: bool) -> Transient | UnknownOutcome:
    return UnknownOutcome(f"{told}: what it changed is looked at.") if writes else Transient(f"{told}.")


def _failure(what: str, code: int, said: str, writes: bool) -> Exception:
    shown = str(hidden(said, None, ""))[-_SHOWN:]  # a chart's own words may have a value in them
    told = f"{what} failed ({code}): {shown or 'it did not say why'}"
    if code in _NOT_RUN:
        return Refused(f"{told.rstrip('. ')}. Nothing was changed; install Helm 3.")
    if code < 0 or code in _KILLED or _AWAY.search(said):
        return _unanswered(told.rstrip(". "), writes)
    return Conflict(f"{told}.") if writes and _BUSY.search(said) else Permanent(f"{told.rstrip('. ')}.")


def _revision(told: Any) -> Revision:
    hooks = [one for one in told.get("hooks") or () if _HOOKS & set(one.get("events") or ())]
    return Revision(
        number=int(told["version"]),
        status=str(told["info"]["status"]),
        objects=tuple(each for each in yaml.load_all(told["manifest"], Loader=_Loader) if each),
        hooks=tuple(sorted(str(one["name"]) for one in hooks)),
    )


class _Loader(yaml.SafeLoader):
    """Helm's manifests: what looks like a date is text there."""


_Loader.yaml_implicit_resolvers = {
    letter: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
