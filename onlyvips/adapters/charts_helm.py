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
from typing import Any

import yaml

from onlyvips.adapters.program import end, words
from onlyvips.core.charts import Revision
from onlyvips.core.plan import ChartPlan
from onlyvips.errors import Conflict, Permanent, Refused, Transient, UnknownOutcome

_HOOKS = {"pre-upgrade", "post-upgrade", "pre-rollback", "post-rollback"}
_AWAY = re.compile(
    r"unreachable|connection refused|connection reset|i/o timeout|TLS handshake timeout|no such host|deadline exceeded"
    r"|client rate limiter|too many requests|server is currently unable|etcdserver|unexpected EOF|: EOF",
    re.IGNORECASE,
)
"""How Helm says that the cluster did not answer."""
_BUSY = re.compile(r"another operation .* is in progress|already exists", re.IGNORECASE)


class HelmCharts:
    """``chart.release`` in ``namespace``, by ``program``, a path or a name on PATH. ``kubeconfig``: None for the pod's
    own account."""

    def __init__(self, program: str, kubeconfig: Path | None, namespace: str, chart: ChartPlan) -> None:
        self._named, self._kubeconfig, self._namespace, self._chart = program, kubeconfig, namespace, chart

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
            process = subprocess.Popen(
                [self._program(), *arguments, "--namespace", self._namespace],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,
            )
            try:
                said, _ = process.communicate(timeout=self._chart.timeout)
            except subprocess.TimeoutExpired as error:
                raise _unanswered(
                    f"{what} did not end within {self._chart.timeout:g} s and was ended", writes
                ) from error
            finally:
                end(process)
            if process.returncode:
                raise _failure(what, process.returncode, words(complaints), writes)
        return said

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
    told = f"{what} failed ({code}): {said or 'it did not say why'}"
    if code < 0 or _AWAY.search(said):
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
