"""Raw counter samples from Prometheus over its HTTP interface: ``ports.Metrics``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import httpx

from onlyvips.adapters.address_http import apart
from onlyvips.errors import Permanent, Transient
from onlyvips.ports import Sample

_TIMEOUT = httpx.Timeout(5.0, connect=2.0)


class PrometheusMetrics:
    """One Prometheus at ``url``. Nothing is retried here."""

    def __init__(self, url: str) -> None:
        self._url, auth = apart(url)
        self._client = httpx.Client(timeout=_TIMEOUT, trust_env=False, auth=auth, verify=not url.startswith("http:"))

    def now(self) -> float:
        """See ``ports.Metrics``: PromQL's ``time()``."""
        return float(self._query("time()")["result"][0])

    def samples(self, metric: str, labels: Mapping[str, str], start: float, end: float) -> list[Sample]:
        """See ``ports.Metrics``: a range selector returns the samples as they were scraped."""
        matchers = ",".join(f"{key}={_quoted(value)}" for key, value in labels.items())
        length = max(1, math.ceil((end - start) * 1000))
        data = self._query(f"{metric}{{{matchers}}}[{length}ms]", time=end)
        found = (_sample(series, start, end) for series in data["result"])
        return [sample for sample in found if sample.points]

    def _query(self, query: str, time: float | None = None) -> dict[str, Any]:
        parameters: dict[str, str] = {"query": query}
        if time is not None:
            parameters["time"] = f"{time:.3f}"
        try:
            answer = self._client.get(f"{self._url}/api/v1/query", params=parameters)
        except httpx.HTTPError as error:
            raise Transient(f"Prometheus at {self._url} did not answer: {type(error).__name__}.") from error
        if answer.status_code in (400, 422):
            raise Permanent(f"Prometheus refused the query {query}: {answer.text[:200]}")
        if answer.status_code != httpx.codes.OK:
            raise Transient(f"Prometheus at {self._url} answered {answer.status_code}.")
        data: dict[str, Any] = answer.json()["data"]
        if data["resultType"] == "scalar":
            return {"result": [data["result"][1]]}
        return data


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _sample(series: dict[str, Any], start: float, end: float) -> Sample:
    """Prometheus 2 counts a sample at the very start of a range in, Prometheus 3 does not."""
    points = tuple((float(at), float(value)) for at, value in series["values"] if start < float(at) <= end)
    return Sample(tuple(sorted(series["metric"].items())), points)
