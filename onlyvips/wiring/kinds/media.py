"""Kind media: the platform's bucket or directory of media, as plain objects."""

from __future__ import annotations

from pathlib import Path

from onlyvips import environment as environments
from onlyvips.adapters.bucket_s3 import Address
from onlyvips.adapters.media_directory import DirectoryMedia
from onlyvips.adapters.media_s3 import BucketMedia
from onlyvips.environment import Environment
from onlyvips.environment.protection import MediaReader
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports import MediaSource
from onlyvips.steps.backup import Session
from onlyvips.steps.media import MediaSession
from onlyvips.wiring.kinds.kind import Kind, Taking
from onlyvips.wiring.places import trees_of


def _source(loaded: Environment) -> MediaSource:
    """The environment's media. Raises Refused where there are none."""
    reader = loaded.backup.media
    if reader is None:
        raise Refused(f"{loaded.name} has no media to back up: see backup.media.")
    if reader.kind == "directory":
        return DirectoryMedia(Path(environments.endpoint(loaded, reader.path or "")))
    return BucketMedia(_address(loaded, reader), reader.prefix or "")


def _address(loaded: Environment, reader: MediaReader) -> Address:
    url, access, secret = (
        environments.endpoint(loaded, value or "") for value in (reader.url, reader.access_key, reader.secret_key)
    )
    return Address("media", url, reader.bucket or "", reader.region or "", access, secret)


def _check(loaded: Environment) -> None:
    """Refused when the media do not answer, or are in a place of the backups."""
    for name, place in _destinations(loaded).items():
        if _where(loaded) == place or _is_below(_where(loaded), place) or _is_below(place, _where(loaded)):
            raise Refused(f"The media and the destination {name} are one place: a copy beside the original is none.")
    try:
        _source(loaded).describe()
    except (Permanent, Transient) as error:
        raise Refused(f"{error} Nothing was read.") from error


def _where(loaded: Environment) -> tuple[str, str]:
    reader = loaded.backup.media
    assert reader is not None
    if reader.kind == "directory":
        return "", _resolved(environments.endpoint(loaded, reader.path or ""))
    return environments.endpoint(loaded, reader.url or "").rstrip("/"), reader.bucket or ""


def _destinations(loaded: Environment) -> dict[str, tuple[str, str]]:
    found = {}
    for one in environments.backup_plan(loaded).destinations:
        url, path = environments.endpoint(loaded, one.url), environments.endpoint(loaded, one.path)
        found[one.name] = ("", _resolved(path)) if one.kind == "directory" else (url.rstrip("/"), one.bucket)
    return found


def _resolved(path: str) -> str:
    return str(Path(path).resolve())


def _is_below(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether the first is a directory in the second."""
    return one[0] == other[0] == "" and Path(other[1]) in Path(one[1]).parents


def _begin(loaded: Environment, taking: Taking) -> Session:
    return MediaSession(_source(loaded), trees_of(loaded), taking.plan, taking.run)


KIND = Kind(_check, _begin)
