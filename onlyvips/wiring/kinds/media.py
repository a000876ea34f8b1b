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


def source_of(loaded: Environment) -> MediaSource:
    """The environment's media. Raises Refused where there are none."""
    reader = loaded.backup.media
    if reader is None:
        raise Refused(f"{loaded.name} has no media to back up: see backup.media.")
    if reader.kind == "directory":
        return DirectoryMedia(Path(environments.endpoint(loaded, reader.path or "")))
    return BucketMedia(address_of(loaded, reader), reader.prefix or "")


def address_of(loaded: Environment, reader: MediaReader) -> Address:
    """The environment's bucket of media."""
    url, access, secret = (
        environments.endpoint(loaded, value or "") for value in (reader.url, reader.access_key, reader.secret_key)
    )
    return Address("media", url, reader.bucket or "", reader.region or "", access, secret)


def _check(loaded: Environment) -> None:
    """Refused when the media do not answer, or are in a place of the backups."""
    for name, place in destinations_of(loaded).items():
        if where_of(loaded) == place or is_below(where_of(loaded), place) or is_below(place, where_of(loaded)):
            raise Refused(f"The media and the destination {name} are one place: a copy beside the original is none.")
    try:
        source_of(loaded).describe()
    except (Permanent, Transient) as error:
        raise Refused(f"{error} Nothing was read.") from error


def where_of(loaded: Environment) -> tuple[str, str]:
    """Where the media are: the URL of a store and a bucket, or "" and a path."""
    reader = loaded.backup.media
    assert reader is not None
    if reader.kind == "directory":
        return "", resolved(environments.endpoint(loaded, reader.path or ""))
    return environments.endpoint(loaded, reader.url or "").rstrip("/"), reader.bucket or ""


def destinations_of(loaded: Environment) -> dict[str, tuple[str, str]]:
    """Where each destination is, likewise."""
    found = {}
    for one in environments.backup_plan(loaded).destinations:
        url, path = environments.endpoint(loaded, one.url), environments.endpoint(loaded, one.path)
        found[one.name] = ("", resolved(path)) if one.kind == "directory" else (url.rstrip("/"), one.bucket)
    return found


def resolved(path: str) -> str:
    """A path without links."""
    return str(Path(path).resolve())


def is_below(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether the first is a directory in the second."""
    return one[0] == other[0] == "" and Path(other[1]) in Path(one[1]).parents


def _begin(loaded: Environment, taking: Taking) -> Session:
    return MediaSession(source_of(loaded), trees_of(loaded), taking.plan, taking.run)


KIND = Kind(_check, _begin)
