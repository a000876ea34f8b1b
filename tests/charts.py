"""A chart as files for Helm, and as a function for its simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from onlyvips.core.manifests import RELEASE
from onlyvips.ports import Manifest


def chart(folder: Path, name: str, values: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> Path:
    """A chart in ``folder``: objects whose texts may hold ``{{ … }}``."""
    (folder / "templates").mkdir(parents=True)
    head = {"apiVersion": "v2", "name": name, "version": "1.0.0"}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(head))
    (folder / "values.yaml").write_text(yaml.safe_dump(dict(values)))
    for number, each in enumerate(objects):
        (folder / "templates" / f"{number}.yaml").write_text(yaml.safe_dump(dict(each), width=10_000))
    return folder


def deployment(name: str, image: str, version: str, release: str, **more: Any) -> Manifest:
    """A Deployment of a chart, by its values or by what stands for them."""
    labels = {"app": name, "track": "stable"}
    metadata = {"labels": {**labels, "version": version}, "annotations": {RELEASE: release}}
    pod = {"containers": [{"name": "api", "image": f"{image}:{version}"}], "terminationGracePeriodSeconds": 1}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": metadata, "spec": pod}, **more}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def settings(name: str, **data: str) -> Manifest:
    """A ConfigMap of a chart."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
