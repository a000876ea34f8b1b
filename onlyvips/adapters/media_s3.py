"""MediaSource in an S3 bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import obstore

from onlyvips.adapters.bucket_s3 import Address, Bucket, is_plain
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.core.media import Item, Left
from onlyvips.errors import Conflict, NotFound, Transient


class BucketMedia:
    """The objects of a bucket whose key begins with ``prefix``, under what follows it."""

    def __init__(self, address: Address, prefix: str = "", timeout: float = 60.0) -> None:
        self._bucket, self._prefix = Bucket(address, timeout), prefix
        where = (address.name, address.endpoint, address.bucket, address.region)
        self._odd = S3Store(*where, address.access_key, address.secret_key, timeout=timeout)

    def describe(self) -> Mapping[str, str]:
        next(self._bucket.pages(self._prefix))
        where = {"bucket": self._bucket.address.bucket} | ({"prefix": self._prefix} if self._prefix else {})
        return {"dialect": "s3", "version": "2006-03-01", **where}

    def pages(self) -> Iterator[Sequence[Item | Left]]:
        start = len(self._prefix)
        for page in self._bucket.pages(self._prefix):
            found = (Item(one.key[start:], one.size, one.etag, "", one.modified) for one in page)
            yield [item for item in found if item.key]

    def look(self, key: str) -> Item | None:
        try:
            return _item(key, self._head(self._prefix + key))
        except NotFound:
            return None

    def read(self, items: Sequence[Item]) -> list[tuple[Item, bytes] | Left]:
        return self._bucket.each(self._read, items, lambda item: f"cannot read {item.key}")

    async def _read(self, item: Item) -> tuple[Item, bytes] | Left:
        key = self._prefix + item.key
        try:
            if is_plain(key):
                answer = await obstore.get_async(self._bucket.store, key)
                found, data = _item(item.key, answer.meta), bytes(await answer.bytes_async())
            else:
                found, data = await asyncio.to_thread(self._read_oddly, item)
        except (FileNotFoundError, NotFound) as error:
            if "NoSuchKey" not in str(error):
                raise
            return Left(item.key, "it was gone when it was read")
        if len(data) != found.size:
            told = f"{item.key} ended after {len(data)} of {found.size} bytes"
            raise Transient(f"{self._bucket.address.where}: {told}.")
        return found, data

    def stream(self, item: Item) -> Iterator[bytes]:
        key, size = self._prefix + item.key, 0
        answer = self._odd.call("read", "get_object", key, IfMatch=item.etag)
        for chunk in self._odd.chunks(key, answer):
            size += len(chunk)
            yield chunk
        if size != item.size or answer["ETag"] != item.etag:
            raise Conflict(f"{self._bucket.address.where}: {item.key} changed while it was read.")

    def _read_oddly(self, item: Item) -> tuple[Item, bytes]:
        key = self._prefix + item.key
        answer = self._odd.call("read", "get_object", key)
        return _item(item.key, answer), b"".join(self._odd.chunks(key, answer))

    def _head(self, key: str) -> Any:
        return self._odd.call("look for", "head_object", key)


def _item(key: str, told: Any) -> Item:
    """Of what obstore or boto3 say of an object."""
    if "ETag" in told:
        version = told.get("VersionId", "")
        return Item(key, told["ContentLength"], told["ETag"], version, told["LastModified"].timestamp())
    return Item(key, told["size"], told["e_tag"] or "", told["version"] or "", told["last_modified"].timestamp())
