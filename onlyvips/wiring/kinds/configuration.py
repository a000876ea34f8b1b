"""Kind configuration: the declared objects of the platform's namespace, and the repository that they come from."""

from __future__ import annotations

from pathlib import Path

from onlyvips import environment as environments
from onlyvips.adapters.inventory_kubernetes import KubernetesInventory
from onlyvips.adapters.revision_git import GitRevision
from onlyvips.core.kinds import KindName, parse_kind
from onlyvips.core.manifest import Manifest
from onlyvips.environment import Environment
from onlyvips.errors import Permanent, Refused
from onlyvips.ports.configuration import Inventory, Revision
from onlyvips.steps import configuration
from onlyvips.steps.backup import Session
from onlyvips.wiring.kinds.kind import Kind, Taking
from onlyvips.wiring.places import kubeconfig_of


def _sources(loaded: Environment) -> tuple[Inventory, Revision | None, list[KindName]]:
    """The cluster, the repository where there is one, and the kinds. Raises Refused where nobody says which."""
    asked = loaded.backup.configuration
    if asked is None:
        raise Refused(f"{loaded.name} does not say which objects are its configuration: see backup.configuration.")
    try:
        inventory = KubernetesInventory(kubeconfig_of(loaded), loaded.platform.namespace)
    except Permanent as error:
        raise Refused(str(error)) from error
    where = asked.repository and Path(environments.endpoint(loaded, asked.repository)).expanduser()
    return inventory, GitRevision(where) if where else None, [parse_kind(text) for text in asked.kinds]


def _check(loaded: Environment) -> None:
    configuration.check_configuration(*_sources(loaded))


def _begin(loaded: Environment, taking: Taking) -> Session:
    return configuration.configuration(*_sources(loaded), taking.stores, taking.plan, taking.run, taking.begun)


def _changed(loaded: Environment, last: Manifest) -> bool:
    facts = {fact.name: fact.value for fact in last.facts}
    return configuration.read_moment(*_sources(loaded)).compared != configuration.compared(facts)


KIND = Kind(_check, _begin, _changed)
