"""The evidence of releases: kept in the stores of the backups, read back from whichever of them has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from onlyvips import environment as environments
from onlyvips.adapters import changes_yaml
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.cluster_kubernetes import KubernetesCluster
from onlyvips.core import committed
from onlyvips.core.colours import colour_name
from onlyvips.core.evidence_page import page_of
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.environment import Environment
from onlyvips.errors import Permanent, Refused
from onlyvips.ports import Cluster
from onlyvips.steps import evidence, records
from onlyvips.wiring.places import kubeconfig_of, openers, place_of


def keep(loaded: Environment, plan: ReleasePlan, record: Record) -> evidence.Kept:
    """The document of a release that is over, and its page, into every destination of backups; of a promoted one also
    what it changed, to be committed."""
    kept = evidence.keep_evidence(openers(loaded), SystemClock(), plan, record, drawn)
    if record.result != "promoted":
        return kept
    cluster = KubernetesCluster(kubeconfig_of(loaded), loaded.platform.namespace)
    return evidence.keep_changes(openers(loaded), kept, lambda: _changes(cluster, plan, record))


def _changes(cluster: Cluster, plan: ReleasePlan, record: Record) -> bytes:
    if plan.chart is not None:
        return changes_yaml.dump(committed.values_head(record, plan), committed.values(record, plan))
    name = plan.service.deployment
    if record.colours:  # users are on the other colour by now
        name = colour_name(name, record.colours[1])
    found = cluster.get("Deployment", name)
    if found is None:
        raise Permanent(f"Deployment {name} is gone.")
    return changes_yaml.dump(committed.head(record), committed.patch(found, plan.namespace))


def drawn(document: Mapping[str, Any]) -> str:
    """The page of a document."""
    from onlyvips.adapters import evidence_page  # drawing takes a second to import, and only this needs it

    return evidence_page.page(page_of(document))


def import_drawing() -> None:
    """Import what ``drawn`` needs, while there is nothing else to do."""
    from onlyvips.adapters import evidence_page  # noqa: F401 - no release waits for it at its end


def newest(environment: str, service: str) -> str:
    """The service's newest release that has evidence, as the cluster knows. Raises Refused where there is none."""
    loaded = environments.load(environment)
    cluster = KubernetesCluster(kubeconfig_of(loaded), loaded.platform.namespace)
    found = [record.id for record in records.every(cluster, service) if record.evidence]
    if not found:
        raise Refused(
            f"No release of {service} in {environment} has evidence yet: it is written when a release ends; see "
            f"`onlyvips release status -e {environment} -s {service}`."
        )
    return found[-1]


def document(environment: str, release: str) -> dict[str, Any]:
    """What is kept of ``release``, from the first store that has it. Raises Refused where none has."""
    loaded = environments.load(environment)
    key = evidence.key_at(environment, release)
    found = evidence.find(openers(loaded), key)
    if found is None:
        raise Refused(f"No store has {key}: see `onlyvips release status -e {environment} --all` for the releases.")
    try:
        read: dict[str, Any] = json.loads(found)
    except ValueError as error:
        raise Permanent(f"{key} is no JSON document ({error}): look at it in another store.") from error
    return read


def page(environment: str, release: str) -> tuple[str, bool]:
    """The page of ``release``, and whether it is the one that was kept; else it is made of the document now."""
    loaded = environments.load(environment)
    kept = evidence.find(openers(loaded), evidence.page_key(evidence.key_at(environment, release)))
    return (kept.decode(), True) if kept is not None else (drawn(document(environment, release)), False)


def places(record: Record) -> list[str]:
    """Where the evidence of a release can be read, for people."""
    return _places(record, record.evidence, record.evidence_at) if record.evidence else []


def page_places(record: Record) -> list[str]:
    """Where its page is."""
    return _places(record, evidence.page_key(record.evidence), record.page_at) if record.page_at else []


def _places(record: Record, key: str, names: tuple[str, ...]) -> list[str]:
    plan = environments.backup_plan(loaded := environments.load(record.environment))
    return [place_of(loaded, one, key) for one in plan.destinations if one.name in names or not names]
