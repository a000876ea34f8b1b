"""The platform's cache in Redis."""

from __future__ import annotations

import redis

from onlyvips.errors import Permanent, Transient


def flush(url: str, timeout: float = 30.0) -> int:
    """Every key of the database that ``url`` names is gone; returns how many there were.

    Raises Permanent for a bad URL (without showing it) or where it is forbidden, Transient where nobody answers.
    """
    try:
        client = redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=min(timeout, 10.0))
    except (ValueError, redis.RedisError):
        raise Permanent("The URL of Redis cannot be understood (not shown): correct endpoints.redis.") from None
    try:
        with client:
            there = int(client.dbsize())
            client.flushdb(asynchronous=True)
            return there
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise Transient(f"Redis did not answer when its cache was to be flushed ({type(error).__name__}).") from error
    except redis.RedisError as error:
        raise Permanent(f"Redis did not let its cache be flushed ({error}): it needs +flushdb and +dbsize.") from error
