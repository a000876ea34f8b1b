"""Reconcile a whole environment: each service has its turn, whatever becomes of the others."""

from __future__ import annotations

import traceback

from onlyvips import wiring
from onlyvips.core import reconciled
from onlyvips.core.reconciled import Reconciled
from onlyvips.errors import Driven, OnlyVipsError
from onlyvips.wiring import owing


def services(environment: str, service: str = "") -> list[str]:
    """Those that there are, or ``service`` alone. Raises Refused, with the nearest name, for one that there is not."""
    loaded = wiring.check_service(environment, service)
    return [service] if service else list(loaded.services)


def one(environment: str, service: str, holder: str) -> Reconciled:
    """One service: finished when nobody drives it, left alone while its driver lives; people are told what they are
    owed of closed ones. Raises nothing: a defect that one record meets must not leave the canary of another service
    where it is."""
    found = _one(environment, service, holder)
    if found.outcome != "failed":  # what kept it from its work keeps it from telling, too
        owing.tell(environment, service)
    return found


def _one(environment: str, service: str, holder: str) -> Reconciled:
    try:
        return reconciled.of(service, *wiring.reconcile(environment, service, holder=holder))
    except Driven as alive:
        return Reconciled(service, "left alone", str(alive))
    except OnlyVipsError as error:
        return Reconciled(service, "failed", str(error))
    except Exception as error:  # noqa: BLE001 - told as what it is, and the exit code says that it failed
        traceback.print_exc()
        told = f"a defect of this program ({type(error).__name__}: {error})"
        return Reconciled(service, "failed", f"{told}: go back by hand, as docs/runbooks/release.md says.")
