"""ObjectStore in an S3 bucket.

Every part carries its SHA-256, which the store checks and confirms; the object appears at once, and only where no
object of its name was. The client never retries.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import urllib3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
)
from botocore.exceptions import (
    ConnectionError as NotConnected,
)

from onlyvips.adapters import session_aws
from onlyvips.adapters.s3_part import Part
from onlyvips.core.locking import LockPlan
from onlyvips.errors import Conflict, NotFound, OnlyVipsError, Permanent, Transient, UnknownOutcome
from onlyvips.ports import Stored, Upload

_MEBIBYTE = 1024 * 1024
_MOST_PARTS = 10_000
_SENDING = ("put_object", "upload_part")
_PASSING = {"SlowDown", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted", "ServiceUnavailable"}
_ADVICE = {
    "NoSuchBucket": "make the bucket, or correct the environment",
    "NoSuchKey": "there is no such object: look it up in another copy",
    "AccessDenied": "give this credential the right to do it",
    "InvalidAccessKeyId": "correct the access key",
    "XAdminUserNotFound": "correct the access key",  # versitygw's word for it
    "SignatureDoesNotMatch": "correct the secret key",
    "BadDigest": "the bytes changed on their way: check the network and take the backup again",
    "QuotaExceeded": "make room or raise the quota",
}


class S3Store:
    """Objects of one bucket. ``part_size`` (at least 5 MiB) bounds memory per upload and, times 10,000, an object.

    Of what is uploaded to several stores at once, a part is in memory once: each keeps the blocks that it was given.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        bucket: str,
        region: str,
        access_key: str,
        secret_key: str,
        *,
        part_size: int = 16 * _MEBIBYTE,
        timeout: float = 60.0,
        lock: LockPlan | None = None,
    ) -> None:
        """``timeout``: seconds of silence, while connecting, sending or reading. With a ``lock``, each object that it
        is about is locked from the moment it appears. Raises Permanent for a bad address."""
        self.name = name
        self.part_size = part_size
        self._lock = lock
        self._endpoint, self._bucket = re.sub(r"//[^/@]*@", "//", endpoint), bucket
        client = partial(
            session_aws.client,
            "s3",
            endpoint_url=endpoint or None,
            region_name=region or "us-east-1",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
        )
        try:
            self._client: Any = client(config=_config(timeout))
            # Their SHA-256 is in a header that is signed: signing the bytes too would hash them once more.
            self._sender: Any = client(config=_config(timeout, payload_signing_enabled=False))
        except (ValueError, BotoCoreError):
            # Without its cause: that quotes the address, which may hold a password.
            raise Permanent(
                f"{name}: its address is no URL of an S3 store: correct the environment, or what it refers to."
            ) from None

    def upload(self, key: str, *, over: bool = False) -> Upload:
        return self.upload_if(key, **({} if over else {"IfNoneMatch": "*"}))

    def upload_if(self, key: str, **condition: str) -> Upload:
        """Begin writing ``key``, which appears on ``condition``."""
        return _S3Upload(self, key, condition)

    def put_new(self, key: str, data: bytes) -> Stored:
        return self.put(key, data, IfNoneMatch="*")

    def put(self, key: str, data: bytes, **condition: str) -> Stored:
        """Write a small object on ``condition``."""
        return self.put_part(key, Part(data), **condition)

    def put_part(self, key: str, data: Part, **condition: str) -> Stored:
        """Write an object in one request."""
        answer = self._put(key, data, **condition)
        return Stored(key, len(data), data.digest().hex(), answer.get("VersionId", ""))

    def put_tagged(self, key: str, data: bytes) -> str:
        """Write a small object in the place of what is there; returns its ETag."""
        return str(self._put(key, Part(data))["ETag"])

    def _put(self, key: str, data: Part, **condition: str) -> dict[str, Any]:
        more = {**condition, **self.said_of(key)}
        checksum = _text(data.digest())
        answer: dict[str, Any] = self.call("write", "put_object", key, Body=data, ChecksumSHA256=checksum, **more)
        self.confirm(key, answer, checksum)
        return answer

    def read(self, key: str) -> Iterator[bytes]:
        yield from self.chunks(key, self.call("read", "get_object", key))

    def chunks(self, key: str, answer: Any) -> Iterator[bytes]:
        """The bytes of an answer to ``get_object``."""
        with contextlib.closing(answer["Body"]) as body, self._explained("read", key):
            yield from body.iter_chunks(_MEBIBYTE)

    def head(self, key: str) -> Stored | None:
        try:
            with self._explained("look for", key):
                found = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except NotFound:
            with self._explained("look into", key):  # a HEAD cannot say whether the key or the bucket is missing
                self._client.head_bucket(Bucket=self._bucket)
            return None
        checksum = found.get("ChecksumSHA256", "-")
        sha256 = "" if "-" in checksum else b64decode(checksum).hex()
        return Stored(key, found["ContentLength"], sha256, found.get("VersionId", ""), _locked(found))

    def list(self, prefix: str) -> list[Stored]:
        pages = self.pages("list_objects_v2", prefix)
        found = [Stored(item["Key"], item["Size"]) for page in pages for item in page.get("Contents", [])]
        return sorted(found, key=lambda stored: stored.key)

    def cannot_lock(self) -> str:
        """See ``ports.Lockable``."""
        try:
            found = self.bucket_setting("get_object_lock_configuration")
        except NotFound as error:
            if "ObjectLockConfigurationNotFoundError" not in str(error):
                raise
            found = {}
        if found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled":
            return ""
        return f"bucket {self._bucket} at {self._endpoint} has no object lock"

    def said_of(self, key: str) -> dict[str, Any]:
        """What else a request says that writes ``key``."""
        return self.lock_of(key)

    def lock_of(self, key: str) -> dict[str, Any]:
        """What a request says that writes ``key``, so that it is locked; nothing where it is not to be."""
        if self._lock is None or not (span := self._lock.span(key)):
            return {}
        until = datetime.fromtimestamp(math.ceil(time.time() + span), UTC)
        return {"ObjectLockMode": self._lock.mode.upper(), "ObjectLockRetainUntilDate": until}

    def pages(self, operation: str, prefix: str) -> Iterator[dict[str, Any]]:
        """The pages of a listing of the bucket."""
        with self._explained("list", prefix):
            yield from self._client.get_paginator(operation).paginate(Bucket=self._bucket, Prefix=prefix)

    def call(self, verb: str, operation: str, key: str, **arguments: Any) -> Any:
        """One request about ``key`` ("" for the whole bucket), its failure translated."""
        about = {"Bucket": self._bucket, "Key": key} if key else {"Bucket": self._bucket}
        with self._explained(verb, key):
            client = self._sender if operation in _SENDING else self._client
            return getattr(client, operation)(**about, **arguments)

    def bucket_setting(self, operation: str) -> Any:
        """What the bucket is set to, by ``get_bucket_versioning`` and the like."""
        return self.call("look into", operation, "")

    def confirm(self, key: str, answer: dict[str, Any], checksum: str) -> None:
        """Raise unless the store says that what it has is what we sent."""
        found = answer.get("ChecksumSHA256")
        if found != checksum:
            said = f"says SHA-256 {found}, sent was {checksum}" if found else "does not confirm SHA-256"
            raise Permanent(f"{self.where(key)}: the store {said}: use one that keeps S3's additional checksums.")

    def where(self, key: str) -> str:
        """An object's place, for people."""
        return f"{self.name}: bucket {self._bucket}, key {key or '(all)'} at {self._endpoint}"

    @contextmanager
    def _explained(self, verb: str, key: str) -> Iterator[None]:
        what = f"{self.where(key)}: cannot {verb} it"
        try:
            yield
        except ClientError as error:
            raise _from_answer(error, what) from error
        except (EndpointConnectionError, ConnectTimeoutError) as error:
            raise Transient(f"{what}, for nothing answers there: start the store or correct its address.") from error
        except (NotConnected, HTTPClientError, urllib3.exceptions.HTTPError) as error:
            sentence = f"{what}, for the connection broke or timed out ({type(error).__name__}): look at the store"
            if verb == "write":
                raise UnknownOutcome(f"{sentence}, and read {key} before writing again.") from error
            raise Transient(f"{sentence}.") from error
        except BotoCoreError as error:
            raise Permanent(f"{what}: {error}; correct the environment.") from error


def _config(timeout: float, **s3: Any) -> Config:
    return Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=timeout,  # a new connection sends its whole request under this one, not under the other
        read_timeout=timeout,
        max_pool_connections=64,
        s3={"addressing_style": "path", **s3},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _from_answer(error: ClientError, what: str) -> OnlyVipsError:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code", "")
    if code == "PreconditionFailed":
        return Conflict(f"{what}, for it exists; an object is written once.")
    if code in _PASSING or status == 429 or (status >= 500 and status not in (501, 507)):
        return Transient(f"{what} just now ({status} {code}): try again.", delay=5.0)
    kind = NotFound if status == 404 else Permanent
    said = str(error.response.get("Error", {}).get("Message", ""))[:200].rstrip(".")
    return kind(f"{what} ({status} {code}): {_ADVICE.get(code) or said or 'look at the store'}.")


def _locked(head: dict[str, Any]) -> float:
    """Until when what a HEAD tells of is locked."""
    if head.get("ObjectLockLegalHoldStatus") == "ON":
        return math.inf
    until = head.get("ObjectLockRetainUntilDate")
    return until.timestamp() if until else 0.0


def _text(digest: bytes) -> str:
    return b64encode(digest).decode()


class _S3Upload:
    """Collects the blocks of a part at a time; what fits into one part is a single PUT."""

    def __init__(self, store: S3Store, key: str, condition: dict[str, str]) -> None:
        self._store, self._key, self._condition = store, key, condition
        self._part = Part()
        self._id = ""
        self._parts: list[dict[str, Any]] = []
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self._size += len(chunk)
        rest = memoryview(chunk)
        while rest:
            if len(self._part) == self._store.part_size:
                self._send()
            rest = self._part.take(rest, self._store.part_size)

    def finish(self) -> Stored:
        if not self._id:
            return self._store.put_part(self._key, self._part, **self._condition)
        self._send()
        whole = hashlib.sha256(b"".join(b64decode(part["ChecksumSHA256"]) for part in self._parts)).digest()
        checksum = f"{_text(whole)}-{len(self._parts)}"
        answer = self._store.call(
            "write",
            "complete_multipart_upload",
            self._key,
            UploadId=self._id,
            MultipartUpload={"Parts": self._parts},
            ChecksumSHA256=checksum,
            **self._condition,
        )
        self._id = ""
        self._store.confirm(self._key, answer, checksum)
        return Stored(self._key, self._size, self._hash.hexdigest(), answer.get("VersionId", ""))

    def abort(self) -> None:
        self._part = Part()
        if self._id:
            with contextlib.suppress(NotFound):
                self._store.call("abort", "abort_multipart_upload", self._key, UploadId=self._id)
            self._id = ""

    def _send(self) -> None:
        if not self._id:
            how = {"ChecksumAlgorithm": "SHA256", "ChecksumType": "COMPOSITE", **self._store.said_of(self._key)}
            self._id = self._store.call("write", "create_multipart_upload", self._key, **how)["UploadId"]
        number = len(self._parts) + 1
        if number > _MOST_PARTS:
            raise Permanent(
                f"{self._key} is larger than {_MOST_PARTS} parts of {self._store.part_size}: raise part_size."
            )
        part, self._part = self._part, Part()
        checksum = _text(part.digest())
        answer = self._store.call(
            "write", "upload_part", self._key, UploadId=self._id, PartNumber=number, Body=part, ChecksumSHA256=checksum
        )
        self._store.confirm(self._key, answer, checksum)
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum})
