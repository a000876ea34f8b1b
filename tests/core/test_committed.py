"""What a promoted release leaves for a person to commit."""

from __future__ import annotations

from dataclasses import replace

import yaml

from onlyvips.adapters import changes_yaml
from onlyvips.core import committed
from onlyvips.core.plan import ChartPlan, SecretPlan
from tests.core.decisions import PLAN, RECORD

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
    record = replace(RECORD, secrets=(("jwt-0", "jwt-1"),), configs=(("settings", "settings-1"),))
    text = changes_yaml.dump(committed.head(record), committed.patch(DEPLOYMENT, "production")).decode()
    found = yaml.safe_load(text)
    assert found["metadata"] == {"name": "backend", "namespace": "production"}
    assert set(found["spec"]) == {"template"}, "its count is the autoscaler's"
    template = found["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "img:v2"
    assert template["metadata"]["annotations"] == {"onlyvips.com/release": "r1"}
    assert "creationTimestamp" not in template["metadata"]
    assert "settings became settings-1" in text
    assert "jwt-0 became jwt-1" in text and text.startswith("# What release r1 changed")


def test_of_a_chart_it_is_the_values_that_helm_was_given_as_a_values_file_nests_them() -> None:
    chart = ChartPlan("onlyvips", "backend.image.tag", "backend.release", (("jwt", "backend.jwt"),), 60.0, path="/c")
    plan = replace(PLAN, chart=chart, secrets=(SecretPlan("jwt", "jwt", (("KEY", "env:KEY"),)),))
    record = replace(RECORD, secrets=(("jwt-0123456789", "jwt-9876543210"),))
    text = changes_yaml.dump(committed.values_head(record, plan), committed.values(record, plan)).decode()
    wanted = {"image": {"tag": RECORD.version}, "release": RECORD.id, "jwt": "jwt-9876543210"}
    assert yaml.safe_load(text) == {"backend": wanted}
    assert "Helm release onlyvips" in text and "jwt-0123456789 became jwt-9876543210" in text
