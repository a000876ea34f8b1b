"""The servers that an environment names, as adapters: its database and cluster, and every destination of backups."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from onlyvips import environment as environments
from onlyvips.adapters.bucket_s3 import Address
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.lease_s3 import S3Cell
from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.adapters.oplog_mongodb import MongoOplog
from onlyvips.adapters.pruner_directory import DirectoryPruner
from onlyvips.adapters.pruner_s3 import S3Pruner
from onlyvips.adapters.tree_directory import DirectoryTree
from onlyvips.adapters.tree_s3 import S3Tree
from onlyvips.core.locking import LockPlan
from onlyvips.core.plan import DestinationPlan
from onlyvips.environment import Environment
from onlyvips.errors import Refused
from onlyvips.ports import Cell, Lockable, ObjectStore, Pruner, Tree
from onlyvips.steps.survey import Place


def database_of(loaded: Environment, member: str = "") -> MongoDatabase:
    """The environment's MongoDB; of a replica set one member, ``member`` where that one answers."""
    return MongoDatabase(environments.endpoint(loaded, loaded.endpoints.mongodb), member=member)


def oplog_of(database: MongoDatabase) -> MongoOplog:
    """The transaction log of the same server."""
    return MongoOplog(database, SystemClock())


def kubeconfig_of(loaded: Environment) -> Path | None:
    """Where it is; None for the pod's own account. ``automatic`` looks as kubectl does: KUBECONFIG, then the pod."""
    told = loaded.endpoints.kubeconfig
    if told != "automatic":
        return Path(environments.endpoint(loaded, told)).expanduser()
    if path := os.environ.get("KUBECONFIG"):
        return Path(path).expanduser()
    return None if os.environ.get("KUBERNETES_SERVICE_HOST") else Path("~/.kube/config").expanduser()


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
    return _s3(loaded, destination, part_size, environments.lock_plan(loaded, destination.name))


def _s3(loaded: Environment, destination: DestinationPlan, part_size: int, lock: LockPlan | None = None) -> S3Store:
    return S3Store(**asdict(_address(loaded, destination)), part_size=part_size, lock=lock)


def _address(loaded: Environment, destination: DestinationPlan) -> Address:
    look_up = partial(environments.endpoint, loaded)
    return Address(
        name=destination.name,
        endpoint=look_up(destination.url),
        bucket=destination.bucket,
        region=destination.region,
        access_key=look_up(destination.access_key),
        secret_key=look_up(destination.secret_key),
    )


def trees_of(loaded: Environment) -> list[Tree]:
    """Every destination as a place of plain objects, in the environment's order."""
    plan = environments.backup_plan(loaded)
    return [_tree(loaded, destination, plan.part_size) for destination in plan.destinations]


def _tree(loaded: Environment, destination: DestinationPlan, part_size: int) -> Tree:
    if destination.kind == "directory":
        return DirectoryTree(destination.name, Path(environments.endpoint(loaded, destination.path)))
    lock = environments.lock_plan(loaded, destination.name)
    return S3Tree(_s3(loaded, destination, part_size, lock), _address(loaded, destination))


def lockable_stores(loaded: Environment) -> list[Lockable]:
    """The destinations that promise that what was written there stays."""
    plan = environments.backup_plan(loaded)
    return [_s3(loaded, one, plan.part_size) for one in plan.destinations if environments.lock_plan(loaded, one.name)]


def places_to_prune(loaded: Environment) -> list[Place]:
    """Every destination with who takes away from it. Raises Refused where that is nobody, or who writes there."""
    plans = environments.backup_plan(loaded).destinations
    lacking = [one.name for one in plans if one.kind == "s3" and not one.pruner_access_key]
    if lacking:
        keys = ", ".join(f"backup.destinations.{name}.pruner_access_key" for name in lacking)
        raise Refused(
            f"{loaded.name} has no credential to prune {', '.join(lacking)} with, and who writes backups must not "
            f"delete: nothing was changed; make one that may, and name it in {keys} (and pruner_secret_key)."
        )
    stores = {store.name: store for store in stores_of(loaded)}
    trees = {tree.name: tree for tree in trees_of(loaded)}
    return [Place(stores[one.name], pruner_of(loaded, one), _locks(loaded, one), trees[one.name]) for one in plans]


def _locks(loaded: Environment, destination: DestinationPlan) -> bool:
    return environments.lock_plan(loaded, destination.name) is not None


def pruner_of(loaded: Environment, destination: DestinationPlan) -> Pruner:
    """Who takes away from a destination."""
    if destination.kind == "directory":
        return DirectoryPruner(destination.name, Path(environments.endpoint(loaded, destination.path)))
    access, secret = destination.pruner_access_key, destination.pruner_secret_key
    if environments.endpoint(loaded, access) == environments.endpoint(loaded, destination.access_key):
        raise Refused(
            f"{destination.name} is pruned with the access key that writes there, so who writes could delete: nothing "
            f"was changed; give backup.destinations.{destination.name}.pruner_access_key another one."
        )
    return _s3_pruner(loaded, replace(destination, access_key=access, secret_key=secret))


def writers_as_pruners(loaded: Environment) -> dict[str, Pruner]:
    """For each S3 destination what takes away with the writer's credential: to see that it cannot."""
    plan = environments.backup_plan(loaded)
    return {one.name: _s3_pruner(loaded, one) for one in plan.destinations if one.kind == "s3"}


def _s3_pruner(loaded: Environment, destination: DestinationPlan) -> S3Pruner:
    store = _s3(loaded, destination, environments.backup_plan(loaded).part_size)
    return S3Pruner(store, "governance" if loaded.backup.lock == "governance" else "compliance")


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
