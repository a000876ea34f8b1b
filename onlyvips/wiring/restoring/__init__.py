"""Every kind of backup that can be restored: one module each."""

from __future__ import annotations

from collections.abc import Mapping

from onlyvips.wiring.restoring import configuration, media, mongodb, redis, secrets
from onlyvips.wiring.restoring.kind import LIVE, Asked, Done, Kind, Planned

BUILT: Mapping[str, Kind] = {
    "mongodb": mongodb.KIND,
    "redis": redis.KIND,
    "media": media.KIND,
    "configuration": configuration.KIND,
    "secrets": secrets.KIND,
}

__all__ = ["BUILT", "LIVE", "Asked", "Done", "Kind", "Planned"]
