"""MediaSink in an S3 bucket: obstore writes what is small, the ordinary store what is large or oddly named.

Each object is sent with its SHA-256, which the store checks, and on the condition that what is there is what was seen.
"""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError

from onlyvips.adapters.bucket_s3 import Address, Bucket, is_plain
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.core.media import Item
from onlyvips.errors import Conflict, NotFound
from onlyvips.ports import Upload
from onlyvips.ports.media import Putting

_LONGEST = 1024
"""Bytes of a key in S3."""


class BucketSink:
    """Objects of a bucket whose key begins with ``prefix``. Their type is that which their name says."""

    def __init__(self, address: Address, prefix: str = "", timeout: float = 60.0) -> None:
        self._bucket, self._prefix = Bucket(address, timeout), prefix
        where = asdict(address) | {"access_key": address.access_key, "secret_key": address.secret_key}
        self._store = _Typed(**where, timeout=timeout)

    def cannot_have(self, keys: Collection[str], there: Collection[str]) -> Mapping[str, str]:
        longest = _LONGEST - len(self._prefix.encode())
        return {key: "its name is too long for S3" for key in sorted(keys) if len(key.encode()) > longest}

    def room(self) -> int | None:
        return None

    @contextmanager
    def writing(self) -> Iterator[None]:
        yield

    def put(self, objects: Sequence[Putting]) -> list[str]:
        return self._bucket.each(self._put, objects, lambda one: f"cannot write {one[0]}")

    async def _put(self, one: Putting) -> str:
        key, data, over = self._prefix + one[0], one[1], one[2]
        try:
            if not is_plain(key):
                await asyncio.to_thread(self._store.put, key, data, **_condition(over))
                return ""
            await obstore.put_async(
                self._bucket.store,
                key,
                data,
                use_multipart=False,
                mode="create" if over is None else {"e_tag": over.etag},
                attributes={"Content-Type": _type(key)},
            )
        except (AlreadyExistsError, PreconditionError, Conflict, NotFound) as error:
            if isinstance(error, NotFound) and over is None:
                raise
            return f"{key} came, went or changed meanwhile, so it was not written"
        return ""

    def upload(self, key: str, over: Item | None) -> Upload:
        return self._store.upload_if(self._prefix + key, **_condition(over))


class _Typed(S3Store):
    """A store that says of each object which type it is."""

    def said_of(self, key: str) -> dict[str, Any]:
        return {"ContentType": _type(key)}


def _condition(over: Item | None) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if over is None else {"IfMatch": over.etag}


def _type(key: str) -> str:
    found, encoding = mimetypes.guess_type(key.rpartition("/")[2], strict=False)
    return found if found and not encoding else "application/octet-stream"
