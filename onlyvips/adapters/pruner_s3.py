"""``ports.Pruner`` in an S3 bucket, with or without versions and object lock. It never bypasses a lock."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Literal

from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.core.locking import Mode
from onlyvips.errors import NotFound, Permanent
from onlyvips.ports import Version

_NOT_LOCKED = ("NoSuchObjectLockConfiguration", "InvalidRequest")
"""How stores say, beside 404, that an object has no lock or its bucket no such thing."""


class S3Pruner:
    """``store`` is the bucket, opened with the pruner's credential; ``mode`` is how locks are extended."""

    def __init__(self, store: S3Store, mode: Mode = "compliance") -> None:
        self.name = store.name
        self._store, self._mode = store, mode

    def versions(self, prefix: str) -> list[Version]:
        """See ``ports.Pruner``. A bucket without versions calls its only one ``null``."""
        found = []
        for page in self._store.pages("list_object_versions", prefix):
            found += [_version(item, "object") for item in page.get("Versions", [])]
            found += [_version(item, "mark") for item in page.get("DeleteMarkers", [])]
        return sorted(found, key=lambda one: (one.key, one.latest, one.modified))

    def unfinished(self, prefix: str) -> list[Version]:
        """See ``ports.Pruner``. All are listed, for MinIO takes a prefix for a whole key here."""
        pages = self._store.pages("list_multipart_uploads", "")
        uploads = [one for page in pages for one in page.get("Uploads", []) if one["Key"].startswith(prefix)]
        found = (Version(one["Key"], one["UploadId"], one["Initiated"].timestamp(), True, "upload") for one in uploads)
        return sorted(found, key=lambda one: (one.key, one.modified))

    def locked_until(self, one: Version) -> float:
        """See ``ports.Pruner``. A HEAD would not do: some stores leave the lock of an older version out of it."""
        if one.what != "object":
            return 0.0
        hold = self._told("get_object_legal_hold", one).get("LegalHold", {})
        if hold.get("Status") == "ON":
            return math.inf
        until = self._told("get_object_retention", one).get("Retention", {}).get("RetainUntilDate")
        return float(until.timestamp()) if until else 0.0

    def remove(self, one: Version) -> None:
        """See ``ports.Pruner``."""
        try:
            if one.what == "upload":
                self._store.call("give up", "abort_multipart_upload", one.key, UploadId=one.version)
            else:
                self._store.call("remove", "delete_object", one.key, **_of(one))
        except NotFound as error:
            _unless_the_bucket_is_gone(error)

    def extend(self, one: Version, until: float) -> None:
        """See ``ports.Pruner``."""
        if one.what != "object" or self.locked_until(one) >= until:
            return
        retention = {"Mode": self._mode.upper(), "RetainUntilDate": datetime.fromtimestamp(math.ceil(until), UTC)}
        self._store.call("lock", "put_object_retention", one.key, Retention=retention, **_of(one))

    def _told(self, operation: str, one: Version) -> dict[str, Any]:
        try:
            return dict(self._store.call("look into", operation, one.key, **_of(one)))
        except NotFound as error:
            _unless_the_bucket_is_gone(error)
        except Permanent as error:
            if not any(code in str(error) for code in _NOT_LOCKED):
                raise
        return {}


def _unless_the_bucket_is_gone(error: NotFound) -> None:
    """What is not there is not there; a bucket that is not there is an error."""
    if "NoSuchBucket" in str(error):
        raise error


def _version(item: dict[str, Any], what: Literal["object", "mark"]) -> Version:
    modified = item["LastModified"].timestamp()
    return Version(item["Key"], item.get("VersionId") or "", modified, bool(item.get("IsLatest", True)), what)


def _of(one: Version) -> dict[str, str]:
    return {"VersionId": one.version} if one.version else {}
