"""What a promoted release leaves for a person to commit."""

from __future__ import annotations

from dataclasses import replace

import yaml

from onlyvips.adapters import changes_yaml
from onlyvips.core import committed
from tests.core.decisions import RECORD

DEPLOYMENT = {
    "metadata": {"name": "backend", "resourceVersion": "7", "uid": "u"},
    "spec": {
        "replicas": 4,
        "template": {
            "metadata": {
                "labels": {"app": "backend", "version": "v2"},
                "annotations": {"onlyvips.com/release": "r1"},
                "creationTimestamp": None,
            },
            "spec": {"containers": [{"name": "api", "image": "img:v2", "envFrom": [{"secretRef": {"name": "jwt-1"}}]}]},
        },
    },
}


def test_it_is_a_patch_of_the_template_alone_with_what_an_apply_must_not_take_away() -> None:
    record = replace(RECORD, secrets=(("jwt-0", "jwt-1"),))
    text = changes_yaml.dump(committed.head(record), committed.patch(DEPLOYMENT, "production")).decode()
    found = yaml.safe_load(text)
    assert found["metadata"] == {"name": "backend", "namespace": "production"}
    assert set(found["spec"]) == {"template"}, "its count is the autoscaler's"
    template = found["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "img:v2"
    assert template["metadata"]["annotations"] == {"onlyvips.com/release": "r1"}
    assert "creationTimestamp" not in template["metadata"]
    assert "jwt-0 became jwt-1" in text and text.startswith("# What release r1 changed")
