"""What is kept of live objects: declared state alone, and no value of a Secret, wherever it stands."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.configuration import (
    LAST_APPLIED,
    Kept,
    LeftOut,
    SecretRecord,
    beside_json,
    beside_wrong,
    facts_of,
    keep,
    manifests_json,
    manifests_wrong,
)

VALUE = "hunter2-Sw0rdfish"
SERVERS_OWN = {
    "uid": "u-1",
    "resourceVersion": "812",
    "generation": 4,
    "creationTimestamp": "2026-08-01T12:00:00Z",
    "managedFields": [{"manager": "kubectl"}],
    "ownerReferences": [{"kind": "Application", "name": "onlyvips", "uid": "u-0", "controller": False}],
}


def live(kind: str, name: str, *, metadata: Any = None, **fields: Any) -> dict[str, Any]:
    """An object as a server has it."""
    own = {"name": name, "namespace": "production", **copy.deepcopy(SERVERS_OWN), **(metadata or {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": own, **fields}


def deployment(name: str = "backend", replicas: int = 6) -> dict[str, Any]:
    return live("Deployment", name, spec={"replicas": replicas, "template": {}}, status={"readyReplicas": replicas})


def scaler(of: str = "backend") -> dict[str, Any]:
    return live("HorizontalPodAutoscaler", of, spec={"scaleTargetRef": {"kind": "Deployment", "name": of}})


def listed(kept: Kept) -> list[dict[str, Any]]:
    found = json.loads(b"".join(manifests_json(kept)))
    assert (found["apiVersion"], found["kind"]) == ("v1", "List")
    items: list[dict[str, Any]] = found["items"]
    return items


def test_what_the_server_writes_is_left_and_what_was_declared_stays():
    (one,) = listed(keep([deployment()]))
    assert one == {
        "apiVersion": "v1",
        "kind": "Deployment",
        "metadata": {"name": "backend", "namespace": "production"},
        "spec": {"replicas": 6, "template": {}},
    }


def test_what_goes_in_is_not_changed():
    before = deployment()
    after = copy.deepcopy(before)
    keep([after])
    assert after == before


def test_a_copy_of_what_was_applied_is_left_wherever_it_stands_and_other_annotations_stay():
    noted = {LAST_APPLIED: VALUE, "note": "kept", "deployment.kubernetes.io/revision": "7"}
    template = {"metadata": {"annotations": {LAST_APPLIED: VALUE, "note": "kept"}}}
    one = live("Deployment", "backend", metadata={"annotations": noted}, spec={"template": template})
    (kept,) = listed(keep([one]))
    assert kept["metadata"]["annotations"] == {"note": "kept"}
    assert kept["spec"]["template"]["metadata"]["annotations"] == {"note": "kept"}


def test_a_secret_is_its_name_type_and_keys_and_in_no_list_that_is_applied():
    secret = live("Secret", "jwt", type="Opaque", data={"b": "eA==", "a": "eA=="}, immutable=True)
    kept = keep([secret, live("ConfigMap", "settings", data={"LEVEL": "info"})])
    assert kept.secrets == (SecretRecord("jwt", "Opaque", ("a", "b")),)
    assert [one["kind"] for one in listed(kept)] == ["ConfigMap"]
    assert json.loads(beside_json(kept))["secrets"] == [{"name": "jwt", "type": "Opaque", "keys": ["a", "b"]}]


texts = st.text(max_size=8)
extra = st.dictionaries(texts, st.one_of(texts, st.dictionaries(texts, texts, max_size=2)), max_size=3)


@given(
    value=st.text(min_size=6, max_size=30).map(lambda text: f"<{text}>"),
    places=st.sets(st.sampled_from(["data", "stringData", "annotation", "label", "applied", "field", "status"])),
    more=extra,
)
def test_no_value_that_stands_anywhere_in_a_secret_is_kept(value: str, places: set[str], more: dict[str, Any]):
    coded = base64.b64encode(value.encode()).decode()
    metadata: dict[str, Any] = {"annotations": {}, "labels": {}}
    secret = live("Secret", "jwt", metadata=metadata, **{f"x{key}": each for key, each in more.items()})
    planted = {
        "data": lambda: secret.update(data={"KEY": coded}),
        "stringData": lambda: secret.update(stringData={"KEY": value}),
        "annotation": lambda: metadata["annotations"].update({"someone.com/note": value}),
        "label": lambda: metadata["labels"].update({"note": value}),
        "applied": lambda: metadata["annotations"].update({LAST_APPLIED: json.dumps({"stringData": {"KEY": value}})}),
        "field": lambda: secret.update(more={"deep": [value, coded]}),
        "status": lambda: secret.update(status={"seen": value}),
    }
    secret["metadata"] |= metadata
    for place in places:
        planted[place]()
    other = live("Deployment", "web", metadata={"annotations": {LAST_APPLIED: json.dumps({"env": value})}}, spec={})
    kept = keep([secret, other])
    plain = b"".join(manifests_json(kept)) + beside_json(kept) + repr(facts_of(kept)).encode()
    for planted_text in (value, coded):
        assert json.dumps(planted_text)[1:-1].encode() not in plain
        assert planted_text.encode(errors="surrogatepass") not in plain


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (
            live(
                "ReplicaSet",
                "web-1",
                metadata={"ownerReferences": [{"kind": "Deployment", "name": "web", "controller": True}]},
            ),
            "Deployment web makes it",
        ),
        (live("ConfigMap", "kube-root-ca.crt"), "the cluster makes it"),
        (live("Service", "web", metadata={"deletionTimestamp": "2026-08-01T12:00:00Z"}), "it was being deleted"),
        (
            live("Deployment", "web-canary", metadata={"labels": {"app.kubernetes.io/managed-by": "onlyvips-rollout"}}),
            "it belongs to a release",
        ),
    ],
    ids=lambda one: one["kind"] if isinstance(one, dict) else "",
)
def test_what_is_no_declared_state_is_left_out_with_the_reason(one: dict[str, Any], why: str):
    kept = keep([one, deployment()])
    assert kept.left_out == (LeftOut(one["kind"], one["metadata"]["name"], why),)
    assert [each["metadata"]["name"] for each in listed(kept)] == ["backend"]
    assert json.loads(beside_json(kept))["left_out"] == [
        {"kind": one["kind"], "name": one["metadata"]["name"], "why": why}
    ]


def test_a_release_that_is_open_is_known():
    labels = {
        "app.kubernetes.io/managed-by": "onlyvips-rollout",
        "onlyvips.com/release": "r1",
        "onlyvips.com/state": "open",
    }
    record = live("ConfigMap", "onlyvips-release-r1", metadata={"labels": labels})
    assert keep([record]).releases == ("r1",)
    labels["onlyvips.com/state"] = "closed"
    assert keep([live("ConfigMap", "x", metadata={"labels": labels})]).releases == ()


def test_what_a_cluster_assigns_is_left_and_what_a_person_chose_stays():
    assigned = {"clusterIP": "10.96.3.4", "clusterIPs": ["10.96.3.4"], "healthCheckNodePort": 31000}
    ports = {"ports": [{"port": 80, "nodePort": 30080}]}
    service = live("Service", "web", spec={**assigned, **ports})
    headless = live("Service", "db", spec={"clusterIP": "None", "clusterIPs": ["None"]})
    by_controller = {"annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}}
    claim = {"volumeName": "pv-1", "storageClassName": "ssd"}
    bound = live("PersistentVolumeClaim", "a", metadata=by_controller, spec=claim)
    chosen = live("PersistentVolumeClaim", "b", spec={"volumeName": "pv-2"})
    specs = [one["spec"] for one in listed(keep([service, headless, bound, chosen]))]
    assert specs == [
        ports,
        {"clusterIP": "None", "clusterIPs": ["None"]},
        {"storageClassName": "ssd"},
        {"volumeName": "pv-2"},
    ]


# --- digests


def digest(*objects: dict[str, Any]) -> tuple[str, str]:
    facts = facts_of(keep(objects))
    return facts["manifests_digest"], facts["secrets_digest"]


def test_what_moves_by_itself_is_no_change():
    other = copy.deepcopy(deployment(replicas=9))
    other["metadata"] |= {"resourceVersion": "999", "generation": 5}
    assert digest(deployment(), scaler()) == digest(other, scaler())


def test_replicas_that_nobody_scales_are_a_change():
    assert digest(deployment(), scaler("miniapp")) != digest(deployment(replicas=9), scaler("miniapp"))


def test_every_declared_field_key_or_object_is_a_change():
    secret = live("Secret", "jwt", type="Opaque", data={"a": "eA=="})
    before = digest(deployment(), secret)
    image = deployment()
    image["spec"]["template"] = {"spec": {"containers": [{"image": "x:v2"}]}}
    more_keys = live("Secret", "jwt", type="Opaque", data={"a": "eA==", "b": "eA=="})
    others = [(image, secret), (deployment(), more_keys), (deployment(),), (deployment(), secret, deployment("two"))]
    assert before not in [digest(*each) for each in others]
    assert digest(deployment(), live("Secret", "jwt", type="Opaque", data={"a": "other"})) == before


# --- read back

KEPT = keep([deployment(), scaler(), live("Secret", "jwt", data={"a": "eA=="}), live("ConfigMap", "kube-root-ca.crt")])
FACTS = facts_of(KEPT)


def test_facts_count_by_kind():
    assert FACTS["objects"] == "Deployment 1, HorizontalPodAutoscaler 1"
    assert (FACTS["secrets"], FACTS["left_out"]) == ("1", "1")


def test_what_was_written_is_as_its_facts_say():
    assert manifests_wrong(b"".join(manifests_json(KEPT)), FACTS) == ""
    assert beside_wrong(beside_json(KEPT), FACTS) == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data[:-3], "is no list of objects"),
        (lambda data: b"[]", "is no list of objects"),
        (lambda data: b'{"items": [7]}', "is no list of objects"),
        (lambda data: data.replace(b'"replicas": 6', b'"extra": 1'), "holds manifests_digest"),
        (lambda data: data.replace(b'"HorizontalPod', b'"VerticalPod'), "holds objects Deployment 1, VerticalPod"),
    ],
)
def test_a_list_that_is_not_the_one_that_was_written_is_told(change: Any, told: str):
    assert manifests_wrong(change(b"".join(manifests_json(KEPT))), FACTS).startswith(told)


def test_secrets_that_are_not_those_that_were_written_are_told():
    data = beside_json(KEPT)
    assert "holds secrets_digest" in beside_wrong(data.replace(b'"jwt"', b'"jwx"'), FACTS)
    assert "is no list of Secrets" in beside_wrong(b"{}", FACTS)
    assert "the manifest says nothing" in beside_wrong(data, {})
