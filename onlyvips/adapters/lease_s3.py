"""``ports.Cell`` in an object of an S3 bucket, by conditional PUTs (If-None-Match, If-Match on the ETag).

The bucket must not be versioned: every renewal would stay for ever, and under object lock nobody could clear it.
"""

from __future__ import annotations

import json
import secrets

from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.errors import NotFound, Permanent, Refused
from onlyvips.ports import Term

_SCHEMA = 1


class S3Cell:
    """The object ``key`` of the store's bucket."""

    def __init__(self, store: S3Store, key: str) -> None:
        self._store, self._key = store, key
        self._looked = False

    def read(self) -> Term | None:
        """See ``ports.Cell``. Raises Refused for a bucket that keeps versions."""
        self._require_unversioned()
        try:
            found = self._store.call("read", "get_object", self._key)
        except NotFound:
            return None
        with found["Body"] as body:
            return self._term(body.read(), found["ETag"])

    def write(self, term: Term) -> Term:
        """See ``ports.Cell``. The nonce makes every write another ETag."""
        document = {
            "schema": _SCHEMA,
            "holder": term.holder,
            "epoch": term.epoch,
            "duration": term.duration,
            "renewed": term.renewed,
            "nonce": secrets.token_hex(8),
        }
        condition = {"IfMatch": term.version} if term.version else {"IfNoneMatch": "*"}
        data = json.dumps(document).encode()
        answer = self._store.call("write", "put_object", self._key, Body=data, **condition)
        return self._term(data, answer["ETag"])

    def _require_unversioned(self) -> None:
        if not self._looked and self._store.bucket_setting("get_bucket_versioning").get("Status") == "Enabled":
            raise Refused(
                f"{self._store.where(self._key)}: the bucket of leases keeps versions, so every renewal would stay: "
                "name a bucket without versioning in backup.leases."
            )
        self._looked = True

    def _term(self, data: bytes, etag: str) -> Term:
        try:
            found = json.loads(data)
            duration, renewed = float(found["duration"]), float(found["renewed"])
            return Term(str(found["holder"]), int(found["epoch"]), duration, renewed, etag)
        except (ValueError, KeyError, TypeError) as error:
            raise Permanent(
                f"{self._store.where(self._key)} is no lease of ours: see who wrote it, then remove it."
            ) from error
