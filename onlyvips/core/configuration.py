"""What is kept of a cluster's live objects: declared state alone, without any value of a Secret. Pure.

Two documents: a JSON List that ``kubectl apply -f`` takes, and what is beside it and is not to be applied: Secrets as
name, type and keys, and objects that were left out, each with the reason.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onlyvips.core.manifests import MANAGED, PREFIX

Manifest = dict[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's copy of what it was given: for a Secret, every value."""
_OF_THE_SERVER = (
    "managedFields",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "selfLink",
    "ownerReferences",
)
OF_CONTROLLERS = ("deployment.kubernetes.io/revision", "pv.kubernetes.io/", "volume.kubernetes.io/selected-node")
_BOUND = "pv.kubernetes.io/bound-by-controller"
_MADE_BY_THE_CLUSTER = {("ConfigMap", "kube-root-ca.crt")}
_HEAD, _TAIL = b'{\n"apiVersion": "v1",\n"kind": "List",\n"items": [\n', b"\n]\n}\n"


@dataclass(frozen=True)
class SecretRecord:
    """A Secret without what is in it."""

    name: str
    type: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class LeftOut:
    """An object that is no declared state, and why."""

    kind: str
    name: str
    why: str


@dataclass(frozen=True)
class Kept:
    """A configuration at one moment. ``releases`` are those of ours that were open then."""

    manifests: tuple[Manifest, ...]
    secrets: tuple[SecretRecord, ...]
    left_out: tuple[LeftOut, ...]
    releases: tuple[str, ...] = ()


def keep(objects: Iterable[Manifest]) -> Kept:
    """What is declared among live ``objects``, in their order. Nothing is shared with them."""
    manifests, secrets, left_out, releases = list[Manifest](), list[SecretRecord](), list[LeftOut](), list[str]()
    for one in objects:
        kind, name = str(one["kind"]), str(one["metadata"]["name"])
        if _is_open_release(one):
            releases.append(str(one["metadata"]["labels"].get(f"{PREFIX}/release", name)))
        if why := _no_declared_state(one):
            left_out.append(LeftOut(kind, name, why))
        elif kind == "Secret":
            secrets.append(_without_values(one))
        else:
            manifests.append(declared(one))
    return Kept(tuple(manifests), tuple(secrets), tuple(left_out), tuple(releases))


def _no_declared_state(one: Manifest) -> str:
    metadata = one["metadata"]
    for owner in metadata.get("ownerReferences") or []:
        if owner.get("controller"):
            return f"{owner.get('kind')} {owner.get('name')} makes it"
    if (one["kind"], metadata["name"]) in _MADE_BY_THE_CLUSTER:
        return "the cluster makes it"
    if metadata.get("deletionTimestamp"):
        return "it was being deleted"
    if one["kind"] != "Secret" and MANAGED.items() <= (metadata.get("labels") or {}).items():
        return "it belongs to a release"
    return ""


def _is_open_release(one: Manifest) -> bool:
    labels = one["metadata"].get("labels") or {}
    return bool(
        one["kind"] == "ConfigMap" and labels.get(f"{PREFIX}/state") == "open" and MANAGED.items() <= labels.items()
    )


def _without_values(secret: Manifest) -> SecretRecord:
    """Annotations and labels are left behind as well: who can write a value there may have done so."""
    keys = {str(key) for field in ("data", "stringData") for key in secret.get(field) or {}}
    return SecretRecord(str(secret["metadata"]["name"]), str(secret.get("type") or "Opaque"), tuple(sorted(keys)))


def declared(one: Manifest) -> Manifest:
    """A live object without what the server and controllers wrote into it; nothing is shared with it."""
    kept: Manifest = _copy({key: value for key, value in one.items() if key != "status"})
    metadata = {key: value for key, value in kept["metadata"].items() if key not in _OF_THE_SERVER}
    noted = metadata.pop("annotations", None) or {}
    annotations = {key: value for key, value in noted.items() if not key.startswith(OF_CONTROLLERS)}
    kept["metadata"] = {**metadata, **({"annotations": annotations} if annotations else {})}
    spec = kept.get("spec") or {}
    if one["kind"] == "Service" and spec.get("clusterIP") != "None":
        for assigned in ("clusterIP", "clusterIPs", "healthCheckNodePort"):
            spec.pop(assigned, None)
    if one["kind"] == "PersistentVolumeClaim" and _BOUND in noted:
        spec.pop("volumeName", None)
    return kept


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(each) for key, each in value.items() if key != LAST_APPLIED}
    return [_copy(each) for each in value] if isinstance(value, list) else value


# --- documents -------------------------------------------------------------------------------------------------------


def manifests_json(kept: Kept) -> Iterator[bytes]:
    """The List, an object a chunk. The same objects give the same bytes."""
    yield _HEAD
    for number, one in enumerate(kept.manifests):
        text = json.dumps(one, indent=1, sort_keys=True)
        yield (",\n" if number else "").encode() + text.encode()
    yield _TAIL


def beside_json(kept: Kept) -> bytes:
    """Secrets without values, and what was left out."""
    found = {"secrets": [asdict(one) for one in kept.secrets], "left_out": [asdict(one) for one in kept.left_out]}
    return (json.dumps(found, indent=1) + "\n").encode()


# --- facts: what tells whether anything changed, and what a read-back is compared with ------------------------------


def facts_of(kept: Kept) -> dict[str, str]:
    """Counts a kind, and digests of what is declared; nothing of it tells a name or a value."""
    return {
        "objects": _counts(one["kind"] for one in kept.manifests),
        "manifests_digest": manifests_digest(kept.manifests),
        "secrets": str(len(kept.secrets)),
        "secrets_digest": _digest([asdict(one) for one in kept.secrets]),
        "left_out": str(len(kept.left_out)),
    }


def manifests_digest(manifests: Sequence[Manifest]) -> str:
    """SHA-256 of what is declared: without the replicas of what a HorizontalPodAutoscaler among them scales."""
    scaled = scaled_by(manifests)
    return _digest([unscaled(one) if (one["kind"], one["metadata"]["name"]) in scaled else one for one in manifests])


def scaled_by(manifests: Iterable[Manifest]) -> set[tuple[str, str]]:
    """Kind and name of what a HorizontalPodAutoscaler among them scales."""
    return {
        (str(target.get("kind")), str(target.get("name")))
        for one in manifests
        if one["kind"] == "HorizontalPodAutoscaler" and (target := one["spec"].get("scaleTargetRef"))
    }


def unscaled(one: Manifest) -> Manifest:
    """The object without its replicas; the rest is shared."""
    return {**one, "spec": {key: value for key, value in (one.get("spec") or {}).items() if key != "replicas"}}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _counts(kinds: Iterable[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(kinds).items())) or "none"


def manifests_wrong(data: bytes, facts: Mapping[str, str]) -> str:
    """Why ``data`` is not the List that ``facts`` are of, "" when it is. It is counted and hashed anew."""
    try:
        items = json.loads(data)["items"]
        found = {"objects": _counts(one["kind"] for one in items), "manifests_digest": manifests_digest(items)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"is no list of objects: {error!r}"
    return _difference(found, facts)


def beside_wrong(data: bytes, facts: Mapping[str, str]) -> str:
    """Why ``data`` is not what ``beside_json`` made of what ``facts`` are of, "" when it is."""
    try:
        document = json.loads(data)
        secrets, left_out = document["secrets"], document["left_out"]
        found = {"secrets": len(secrets), "secrets_digest": _digest(secrets), "left_out": len(left_out)}
    except (ValueError, KeyError, TypeError) as error:
        return f"is no list of Secrets: {error!r}"
    return _difference({key: str(value) for key, value in found.items()}, facts)


def _difference(found: Mapping[str, str], facts: Mapping[str, str]) -> str:
    for name, value in found.items():
        if facts.get(name) != value:
            return f"holds {name} {value}, the manifest says {facts.get(name, 'nothing')}"
    return ""
