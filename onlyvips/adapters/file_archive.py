"""A file as mongodump --archive writes it, plain, by --gzip, or packed by zstd afterwards."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from onlyvips.errors import Refused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PORTION = 1 << 20
_PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"\x28\xb5\x2f\xfd": zstd.open}
_AGE = b"age-encryption.org"


def read_archive(path: Path) -> Iterator[bytes]:
    """Its bytes, unpacked. Raises Refused for what cannot be read, is encrypted, or packed and not whole."""
    try:
        with _opened(path) as file:
            while portion := file.read(_PORTION):
                yield portion
    except (OSError, EOFError, zstd.ZstdError) as error:
        raise Refused(f"{path} cannot be read as an archive: {error}. Nothing is made of it.") from error


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        head = file.read(len(_AGE))
    if head == _AGE:
        raise Refused(f"{path} is encrypted by age: decrypt it first (age -d -i IDENTITY). Nothing was changed.")
    opener = next((made for magic, made in _PACKED.items() if head.startswith(magic)), Path.open)
    found: IO[bytes] = opener(path, "rb")
    return found
