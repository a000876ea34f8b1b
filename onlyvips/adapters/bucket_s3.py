"""Many objects of an S3 bucket at once: listed by the page, read and written several at a time, without copies on disk.

boto3 takes 0.2 ms of Python for each key that it lists and 2 ms for each object that it moves, so pages are parsed
here and objects are moved by obstore. That one cannot name all keys that S3 allows (``a//b``, ``a/``, ``..``): see
``is_plain``.
"""

from __future__ import annotations

import asyncio
import re
import weakref
import xml.etree.ElementTree as ElementTree
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import unquote_plus, urlsplit

import httpx
import obstore
from botocore.config import Config
from obstore.store import S3Store as Obstore

from onlyvips.adapters import session_aws
from onlyvips.errors import Conflict, NotFound, OnlyVipsError, Permanent, Transient, UnknownOutcome

_PASSING = ("SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout")
T = TypeVar("T")
R = TypeVar("R")
AT_ONCE = 16
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"(?:<Code>|\(code: )([A-Za-z]+)")


@dataclass(frozen=True)
class Address:
    """A bucket, and who may use it."""

    name: str
    endpoint: str = field(repr=False)
    bucket: str
    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)

    @property
    def where(self) -> str:
        """For people, without a password that the address may hold."""
        return f"{self.name}: bucket {self.bucket} at {re.sub(r'//[^/@]*@', '//', self.endpoint)}"


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a bucket lists it; ``modified`` is in unix seconds."""

    key: str
    size: int
    etag: str
    modified: float


def is_plain(key: str) -> bool:
    """Whether obstore names exactly this key."""
    return not any(part in ("", ".", "..") for part in key.split("/"))


def is_missing(error: FileNotFoundError) -> bool:
    """Whether the object is not there; else its bucket is not, or who asks."""
    return "NoSuchKey" in str(error)


class Bucket:
    """``timeout``: seconds of silence. Raises Permanent for an address that is none."""

    def __init__(self, address: Address, timeout: float = 60.0) -> None:
        self.address = address
        secure = not address.endpoint.startswith("http:")  # reading all certificates takes a tenth of a second
        self._http = httpx.Client(timeout=timeout, verify=secure)
        weakref.finalize(self, self._http.close)
        try:
            _ = urlsplit(address.endpoint).port  # raises for one that is no number
            self._client: Any = session_aws.client(
                "s3",
                endpoint_url=address.endpoint or None,
                region_name=address.region or "us-east-1",
                aws_access_key_id=address.access_key,
                aws_secret_access_key=address.secret_key,
                config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
            )
            self.store = _mover(address, timeout)
        except (ValueError, obstore.exceptions.BaseError):
            # Without its cause: that quotes the address, which may hold a password.
            raise Permanent(
                f"{address.name}: its address is no URL of an S3 store: correct the environment, or what it refers to."
            ) from None

    def pages(self, prefix: str) -> Iterator[list[Listed]]:
        """All objects whose key begins with ``prefix``, as the bucket gives them: a thousand a page, by key."""
        asked = {"Bucket": self.address.bucket, "Prefix": prefix, "EncodingType": "url"}
        while True:
            url = self._client.generate_presigned_url("list_objects_v2", Params=asked)
            page, token = _parsed(self._answer(url, prefix), self.address)
            yield page
            if not token:
                return
            asked["ContinuationToken"] = token

    def each(self, action: Callable[[T], Awaitable[R]], items: Sequence[T], what: Callable[[T], str]) -> list[R]:
        """``action`` of each item, several at a time; raises the first failure, once all that was begun has ended."""

        async def run() -> list[R]:
            turns = asyncio.Semaphore(AT_ONCE)
            failed = asyncio.Event()

            async def one(item: T) -> R:
                async with turns:
                    if failed.is_set():
                        raise Transient(f"{self.address.where}: given up, for another object failed.")
                    try:
                        return await action(item)
                    except (obstore.exceptions.BaseError, OSError) as error:
                        failed.set()
                        raise self.explained(error, what(item)) from error

            found = await asyncio.gather(*map(one, items), return_exceptions=True)
            errors = [one for one in found if isinstance(one, BaseException)]
            for error in sorted(errors, key=lambda one: "given up" in str(one)):
                raise error
            return [one for one in found if not isinstance(one, BaseException)]

        return asyncio.run(run())

    def explained(self, error: Exception, what: str) -> OnlyVipsError:
        """An error of obstore in our words; ``what`` is what could not be done, as in "cannot write a/b"."""
        said = str(error)
        status, code = _found(_STATUS, said), _found(_CODE, said)
        told = f"{self.address.where}: {what}"
        if not status and not code:
            told = f"{told}, for the connection broke, timed out, or nothing answers there: look at the store"
            kind = UnknownOutcome if "write" in what and "connect" not in said.lower() else Transient
            return kind(f"{told}.")
        if status == "429" or (status.startswith("5") and status not in ("501", "507")) or code in _PASSING:
            return Transient(f"{told} just now ({status} {code}): try again.", delay=5.0)
        if status == "412":
            return Conflict(f"{told}, for it changed meanwhile.")
        kinds = NotFound if status == "404" else Permanent
        return kinds(f"{told} ({f'{status} {code}'.strip()}): {_advice(code)}.")

    def _answer(self, url: str, prefix: str) -> bytes:
        what = f"{self.address.where}: cannot list {prefix or 'it'}"
        try:
            answer = self._http.get(url)
        except httpx.HTTPError as error:
            raise Transient(f"{what}, for nothing answers there ({type(error).__name__}): look at the store.") from None
        if answer.is_success:
            return answer.content
        code = _found(_CODE, answer.text)
        if answer.status_code == 429 or answer.status_code >= 500:
            raise Transient(f"{what} just now ({answer.status_code} {code}): try again.", delay=5.0)
        raise Permanent(f"{what} ({answer.status_code} {code}): {_advice(code)}.")


def _mover(address: Address, timeout: float) -> Any:
    keys = {"access_key_id": address.access_key, "secret_access_key": address.secret_key}
    told: dict[str, Any] = {"endpoint": address.endpoint} if address.endpoint else {}
    return Obstore(
        address.bucket,
        region=address.region or "us-east-1",
        # A provider, for a token of the process environment would be sent with keys given otherwise.
        credential_provider=lambda: {**keys, "token": None, "expires_at": None},  # type: ignore[arg-type]
        virtual_hosted_style_request=False,
        checksum_algorithm="SHA256",
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=timeout),
            "read_timeout": timedelta(seconds=timeout),
            "timeout": timedelta(seconds=10 * timeout),
        },
        retry_config={"max_retries": 0},
        **told,
    )


def _parsed(body: bytes, address: Address) -> tuple[list[Listed], str]:
    """A page of ListObjectsV2, and where the next one begins ("" for none)."""
    try:
        root = ElementTree.fromstring(body)
        space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
        key, size, etag, when = (space + name for name in ("Key", "Size", "ETag", "LastModified"))
        plain: Callable[[str], str] = unquote_plus if root.findtext(f"{space}EncodingType") == "url" else str
        page = [
            Listed(
                plain(one.findtext(key) or ""),
                int(one.findtext(size) or 0),
                one.findtext(etag) or "",
                datetime.fromisoformat(one.findtext(when) or "").timestamp(),
            )
            for one in root.iter(f"{space}Contents")
        ]
        return page, root.findtext(f"{space}NextContinuationToken") or ""
    except (ElementTree.ParseError, ValueError) as error:
        raise Permanent(f"{address.where}: what it lists is no list of S3 ({error}): correct its address.") from error


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""


def _advice(code: str) -> str:
    return {
        "NoSuchBucket": "make the bucket, or correct the environment",
        "AccessDenied": "give this credential the right to do it",
        "InvalidAccessKeyId": "correct the access key",
        "XAdminUserNotFound": "correct the access key",
        "SignatureDoesNotMatch": "correct the secret key",
        "QuotaExceeded": "make room or raise the quota",
        "NoSuchKey": "there is no such object: look it up in another copy",
    }.get(code, "look at the store")
