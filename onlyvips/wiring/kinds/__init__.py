"""Every kind of backup that can be taken: one module each."""

from __future__ import annotations

from collections.abc import Mapping

from onlyvips.wiring.kinds import configuration, media, mongodb, oplog, redis, secrets
from onlyvips.wiring.kinds.kind import Kind

BUILT: Mapping[str, Kind] = {
    "mongodb": mongodb.KIND,
    "oplog": oplog.KIND,
    "redis": redis.KIND,
    "media": media.KIND,
    "configuration": configuration.KIND,
    "secrets": secrets.KIND,
}

__all__ = ["BUILT", "Kind"]
