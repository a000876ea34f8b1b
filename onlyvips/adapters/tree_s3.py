"""Tree in an S3 bucket: obstore moves what is small, the ordinary store what is large."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence

import obstore

from onlyvips.adapters.bucket_s3 import Address, Bucket, is_missing
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.ports import Held, ObjectStore

_CANNOT_COPY = re.compile(r"status code: (400|500|501)")
"""How stores answer that do not copy by themselves: S3 of more than 5 GiB, versitygw for an account in a bucket that
has no ACL, others ever."""


class S3Tree:
    """Plain objects of one bucket. ``objects`` is the same bucket as the backups' store; where it locks what it writes,
    everything is written by it, for obstore can set no lock."""

    def __init__(self, objects: S3Store, address: Address, timeout: float = 60.0) -> None:
        self.name = objects.name
        self.objects: ObjectStore = objects
        self._store, self._bucket = objects, Bucket(address, timeout)

    def listing(self, prefix: str) -> Iterator[Sequence[Held]]:
        for page in self._bucket.pages(prefix):
            yield [Held(one.key, one.size, one.etag) for one in page]

    def put(self, objects: Sequence[tuple[str, bytes]]) -> list[str]:
        async def one(pair: tuple[str, bytes]) -> str:
            key, data = pair
            if self._store.lock_of(key):
                return await asyncio.to_thread(self._store.put_tagged, key, data)
            return (await obstore.put_async(self._bucket.store, key, data, use_multipart=False))["e_tag"] or ""

        return self._bucket.each(one, objects, lambda pair: f"cannot write {pair[0]}")

    def copy(self, pairs: Sequence[tuple[str, str]]) -> None:
        async def one(pair: tuple[str, str]) -> None:
            if self._store.lock_of(pair[1]):
                await asyncio.to_thread(self._stream, *pair)
                return
            try:
                await obstore.copy_async(self._bucket.store, *pair)
            except obstore.exceptions.GenericError as error:
                if not _CANNOT_COPY.search(str(error)):
                    raise
                await asyncio.to_thread(self._stream, *pair)

        self._bucket.each(one, pairs, lambda pair: f"cannot copy {pair[0]} to {pair[1]}")

    def remove(self, keys: Sequence[str]) -> None:
        try:
            obstore.delete(self._bucket.store, list(keys))
        except (obstore.exceptions.BaseError, OSError) as error:
            raise self._bucket.explained(error, f"cannot remove {len(keys)} objects") from error

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        async def one(key: str) -> bytes | None:
            try:
                return bytes(await (await obstore.get_async(self._bucket.store, key)).bytes_async())
            except FileNotFoundError as error:
                if is_missing(error):
                    return None
                raise

        return self._bucket.each(one, keys, lambda key: f"cannot read {key}")

    def _stream(self, source: str, target: str) -> None:
        upload = self.objects.upload(target, over=True)
        try:
            for chunk in self.objects.read(source):
                upload.write(chunk)
            upload.finish()
        except BaseException:
            upload.abort()
            raise
