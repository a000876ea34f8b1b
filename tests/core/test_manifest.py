"""Manifests: what is written is read back, and anything else is refused by its key."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.manifest import (
    CopiedObject,
    CopyRecord,
    Dropped,
    Manifest,
    NamespaceRecord,
    ObjectRecord,
    Server,
    backup_id,
    copy_from_json,
    copy_key,
    manifest_from_json,
    moment,
    object_key,
)
from onlyvips.core.strict_json import BadManifest, sealed, to_json

NAMESPACE = NamespaceRecord("app", "orders", "collection", '{"indexes":[]}', 3, 42, "0" * 16)
MANIFEST = Manifest(
    id="20260801T120000Z-0badcafe",
    epoch=7,
    environment="lab",
    kind="mongodb",
    started="2026-08-01T12:00:00Z",
    finished="2026-08-01T12:00:09Z",
    server=Server("ferretdb", "7.0.42"),
    oplog="none",
    tool="onlyvips 0.1.0",
    recipients=("age1a", "age1b"),
    objects=(ObjectRecord("objects/0001-app.orders.archive.zst.age", 99, "ab" * 32, (NAMESPACE,)),),
    copies=("a", "b"),
    dropped=(Dropped("c", "it was full"),),
)
COPY = CopyRecord("a", 7, MANIFEST.id, MANIFEST.finished, (CopiedObject("objects/x", 99, "ab" * 32, "v1"),))


def changed(path: list[str | int], value: object) -> bytes:
    """The manifest's JSON with one place changed, sealed again; ``...`` takes it out."""
    whole = place = json.loads(to_json(MANIFEST))
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return sealed({key: value for key, value in whole.items() if key != "seal"})


def test_a_manifest_is_read_back_as_it_was_written():
    assert manifest_from_json(to_json(MANIFEST)) == MANIFEST
    assert json.loads(to_json(MANIFEST))["schema"] == 2


def test_a_copys_record_is_read_back_as_it_was_written():
    assert copy_from_json(to_json(COPY)) == COPY


@given(st.text(max_size=30), st.text(max_size=30), st.integers(0, 2**60), st.integers(0, 2**64 - 1))
def test_any_collection_survives_the_trip(name: str, metadata: str, count: int, crc: int):
    namespace = replace(NAMESPACE, collection=name, metadata=metadata, documents=count, crc64=f"{crc:016x}")
    manifest = replace(MANIFEST, objects=(replace(MANIFEST.objects[0], namespaces=(namespace,)),))
    assert manifest_from_json(to_json(manifest)) == manifest


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (["schema"], 3, "schema"),
        (["schema"], ..., "schema"),
        (["id"], ..., "id: this key is missing"),
        (["extra"], 1, "extra: this key is unknown"),
        (["epoch"], "7", "epoch: must be a whole number"),
        (["epoch"], True, "epoch: must be a whole number"),
        (["epoch"], -1, "epoch: -1"),
        (["id"], "yesterday", "id: 'yesterday'"),
        (["environment"], "../etc", "environment"),
        (["started"], "today", "started"),
        (["server", "dialect"], ..., "server.dialect: this key is missing"),
        (["server"], "mongodb", "server: must be an object"),
        (["recipients"], "age1a", "recipients: must be a list"),
        (["recipients", 1], 5, r"recipients\[1\]: must be a text"),
        (["objects"], [], "objects: keys must be there"),
        (["objects", 0, "sha256"], "AB" * 32, r"objects\[0\].sha256"),
        (["objects", 0, "key"], "objects/../../x", r"objects\[0\].key"),
        (["objects", 0, "namespaces", 0, "crc64"], "12", r"objects\[0\].namespaces\[0\].crc64"),
        (["objects", 0, "namespaces", 0, "bytes"], 1.5, r"objects\[0\].namespaces\[0\].bytes"),
        (["copies"], [], "copies: a backup without a copy"),
        (["dropped", 0], "c", r"dropped\[0\]: must be an object"),
    ],
)
def test_bad_input_is_refused_by_its_key(path: list[str | int], value: object, key: str):
    with pytest.raises(BadManifest, match=key):
        manifest_from_json(changed(path, value))


def test_two_objects_with_one_key_are_refused():
    twice = json.loads(to_json(MANIFEST))
    twice["objects"] *= 2
    del twice["seal"]
    with pytest.raises(BadManifest, match="all different"):
        manifest_from_json(sealed(twice))


@pytest.mark.parametrize("edit", [lambda whole: whole.update(epoch=8), lambda whole: whole.pop("seal")])
def test_what_was_edited_is_not_as_it_was_written(edit):
    whole = json.loads(to_json(MANIFEST))
    edit(whole)
    with pytest.raises(BadManifest, match="seal: this Manifest is not as it was written"):
        manifest_from_json(json.dumps(whole).encode())


def test_any_byte_that_changes_is_noticed():
    data = to_json(MANIFEST)
    for at in range(0, len(data) - 1, 7):
        changed_one = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(BadManifest):
            assert manifest_from_json(changed_one) == MANIFEST
            raise BadManifest("only white space changed")


def test_the_first_schema_is_still_read():
    old = {key: value for key, value in json.loads(to_json(MANIFEST)).items() if key not in ("seal", "facts", "window")}
    del old["timeline"]
    assert manifest_from_json(json.dumps({**old, "schema": 1}).encode()) == MANIFEST


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff"])
def test_what_is_no_document_is_refused(data: bytes):
    with pytest.raises(BadManifest):
        manifest_from_json(data)


def test_keys_are_those_of_the_design():
    assert MANIFEST.prefix == "lab/mongodb/20260801T120000Z-0badcafe-e7/"
    assert object_key(1, "app", "orders") == "objects/0001-app.orders.archive.zst.age"
    assert object_key(2, "app", "../wéird /name") == "objects/0002-app..._w_ird__name.archive.zst.age"
    assert len(object_key(9999, "d" * 60, "c" * 200)) < 150
    assert copy_key("s3-a", 7) == "copies/s3-a-7.json"


def test_an_id_is_the_moment_and_something_random():
    assert backup_id(1785585600.9, bytes.fromhex("0badcafe")) == MANIFEST.id
    assert moment(1785585600.9) == "2026-08-01T12:00:00Z"


def test_a_backup_that_a_destination_lacks_is_degraded():
    assert MANIFEST.degraded
    assert not replace(MANIFEST, dropped=()).degraded
    assert MANIFEST.documents == 3
