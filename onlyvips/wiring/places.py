"""The servers that an environment names, as adapters: its database, and every destination of backups and evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from onlyvips import environment as environments
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.lease_s3 import S3Cell
from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.core.plan import DestinationPlan
from onlyvips.environment import Environment
from onlyvips.errors import Refused
from onlyvips.ports import Cell, ObjectStore


def database_of(loaded: Environment) -> MongoDatabase:
    """The environment's MongoDB."""
    return MongoDatabase(environments.endpoint(loaded, loaded.endpoints.mongodb))


def stores_of(loaded: Environment) -> list[ObjectStore]:
    """Every destination of backups and evidence, in the environment's order."""
    plan = environments.backup_plan(loaded)
    return [store_of(loaded, destination, plan.part_size) for destination in plan.destinations]


def openers(loaded: Environment) -> dict[str, Callable[[], ObjectStore]]:
    """Every destination by name, each opened, with its credentials, only when it is written to."""
    plan = environments.backup_plan(loaded)
    return {one.name: partial(store_of, loaded, one, plan.part_size) for one in plan.destinations}


def store_of(loaded: Environment, destination: DestinationPlan, part_size: int) -> ObjectStore:
    """One destination, by its plan."""
    if destination.kind == "directory":
        return DirectoryStore(destination.name, Path(environments.endpoint(loaded, destination.path)))
    return _s3(loaded, destination, part_size)


def _s3(loaded: Environment, destination: DestinationPlan, part_size: int) -> S3Store:
    look_up = partial(environments.endpoint, loaded)
    return S3Store(
        name=destination.name,
        endpoint=look_up(destination.url),
        bucket=destination.bucket,
        region=destination.region,
        access_key=look_up(destination.access_key),
        secret_key=look_up(destination.secret_key),
        part_size=part_size,
    )


def lease_cell(loaded: Environment, kind: str) -> Cell:
    """Where the right to write backups of ``kind`` is held."""
    plan = environments.lease_plan(loaded)
    bucket = replace(plan.destination, bucket=plan.bucket)
    return S3Cell(_s3(loaded, bucket, loaded.backup.part_size), f"{loaded.name}/{kind}.json")


def place_of(loaded: Environment, destination: DestinationPlan, key: str) -> str:
    """Where a key is at a destination, for people."""
    try:
        if destination.kind == "s3":
            return f"{environments.endpoint(loaded, destination.url)}/{destination.bucket}/{key}"
        return f"file://{environments.endpoint(loaded, destination.path)}/{key}"
    except Refused:
        return f"{destination.name}: {key}"  # its address is a setting that this process has not got
