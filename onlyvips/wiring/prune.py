"""Retention of an environment carried out: surveyed, and, but for a dry run, done under each kind's lease."""

from __future__ import annotations

import secrets

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.core.catalog import KINDS
from onlyvips.environment import Environment
from onlyvips.errors import Driven, OnlyVipsError, Refused
from onlyvips.steps.prune import By, may_delete, prune
from onlyvips.steps.prune_report import PruneReport, Result
from onlyvips.steps.survey import Place, Rules, survey
from onlyvips.wiring.backups import check_lease, writing
from onlyvips.wiring.living import lively
from onlyvips.wiring.places import places_to_prune, writers_as_pruners

_PATIENCE, _PAUSE = 120.0, 5.0
"""Seconds that a prune waits for a writer of the same kind (a slice is taken in some seconds), and between looks."""


def prune_backups(environment: str, kind: str, holder: str, *, dry: bool) -> PruneReport:
    """Prune one kind, or all for "". A kind that somebody goes on writing is left alone, and the report says so.

    Raises Refused for a kind without retention, and where no credential may delete; Transient while a destination is
    away. Nothing was changed then.
    """
    loaded = environments.load(environment)
    kinds = _kinds(loaded, kind)
    places = places_to_prune(loaded)
    if dry:
        found = [
            Result(one, survey(places, loaded.name, one, _rules(loaded), _now(), probes=one == kinds[0]))
            for one in kinds
        ]
        return PruneReport(loaded.name, True, tuple(found), tuple(_declared(loaded)))
    for one in kinds:
        check_lease(loaded, one)
    warnings = [*_declared(loaded), *_tried(loaded, places)]
    results = [_prune_one(loaded, places, one, holder, probes=one == kinds[0]) for one in kinds]
    return PruneReport(loaded.name, False, tuple(results), tuple(warnings))


def _prune_one(loaded: Environment, places: list[Place], kind: str, holder: str, *, probes: bool) -> Result:
    clock = SystemClock()
    until = clock.monotonic() + _PATIENCE
    while True:
        try:
            with writing(loaded, kind, holder) as lease, lively(lease.progress) as alive:
                found = survey(places, loaded.name, kind, _rules(loaded), _now(), probes=probes)
                return Result(kind, found, prune(found, places, By(clock, secrets.token_bytes, alive, holder)))
        except Driven as error:
            if clock.monotonic() >= until:
                return Result(kind, why=f"{error} Prune it again once that is over.")
        clock.sleep(_PAUSE)


def _kinds(loaded: Environment, kind: str) -> list[str]:
    retention = environments.retention_policies(loaded)
    known = [one for one in KINDS if one in retention]
    if kind and kind not in known:
        told = f"{loaded.name} has no retention for kind `{kind}`{environments.nearest(kind, known)}"
        raise Refused(f"{told}; see backup.retention.")
    return [kind] if kind else known


def _rules(loaded: Environment) -> Rules:
    return Rules(environments.retention_policies(loaded), loaded.backup.longest_run)


def _now() -> float:
    return SystemClock().now()


# --- who may delete --------------------------------------------------------------------------------------------------


def _declared(loaded: Environment) -> list[str]:
    """Places that cannot keep a writer from deleting, by what they are."""
    return [
        f"{name}: a directory cannot promise that who writes there does not delete."
        for name, place in loaded.backup.destinations.items()
        if place.kind == "directory"
    ]


def _tried(loaded: Environment, places: list[Place]) -> list[str]:
    """Places where who writes can delete too, found out by trying."""
    found, nonce = [], secrets.token_hex(8)
    writers = writers_as_pruners(loaded)
    for place in places:
        if place.name not in writers:
            continue
        try:
            if may_delete(place.store, writers[place.name], nonce):
                found.append(
                    f"{place.name}: the credential that writes backups can delete there, tried just now: take "
                    "s3:DeleteObject and s3:DeleteObjectVersion away from it."
                )
        except OnlyVipsError as error:
            found.append(f"{place.name}: whether who writes there can delete is not known: {error}")
    return found
