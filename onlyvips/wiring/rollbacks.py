"""Going back to what an earlier release replaced, as a release of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core.manifests import image_of, version_of
from onlyvips.core.past import Past, choose, hurried, pasts
from onlyvips.core.record import Record
from onlyvips.core.referred import KINDS, names_in
from onlyvips.environment import Environment
from onlyvips.errors import Refused
from onlyvips.ports import Cluster, Manifest
from onlyvips.steps import preflight, records
from onlyvips.steps.deployed import Facts
from onlyvips.steps.opening import Site, Start, Target, still_open


def listed(environment: str, service: str) -> list[Past]:
    """What ``service`` can go back to, the newest first."""
    cluster = wiring.cluster_of(wiring.check_service(environment, service))
    return pasts(records.every(cluster, service))


def target_of(environment: str, service: str, to: str) -> Target:
    """What a rollback brings: the recorded Deployment's template, whole. Raises Refused where it is not whole."""
    loaded = wiring.check_service(environment, service)
    if loaded.services[service].strategy == "blue-green":
        raise Refused(
            f"{service} is released by blue-green, whose recorded colours do not come back whole: nothing was changed; "
            f"release the version again: `onlyvips release start -e {environment} -s {service} -v VERSION`."
        )
    if loaded.services[service].chart is not None:
        raise Refused(
            f"The Deployment of {service} is a Helm chart's, and a recorded template is no revision of it: nothing was "
            f"changed; release the version again: `onlyvips release start -e {environment} -s {service} -v VERSION`."
        )
    cluster = wiring.cluster_of(loaded)
    past = choose(pasts(records.every(cluster, service)), service, to)
    kept = cluster.get("ConfigMap", past.snapshot)
    if kept is None or "Deployment" not in kept["data"]:
        raise Refused(f"The snapshot {past.snapshot} is gone, so {past.name} cannot be brought back: nothing changed.")
    deployment = json.loads(kept["data"]["Deployment"])
    _check_references(cluster, past, deployment)
    image = image_of(deployment, loaded.services[service].image)
    return Target(past.snapshot, image, version_of(deployment, past.image))


def _check_references(cluster: Cluster, past: Past, deployment: Manifest) -> None:
    for kind in KINDS:
        names = sorted(names_in(deployment["spec"]["template"], kind))
        if gone := [name for name in names if cluster.get(kind, name) is None]:
            where = "of the secrets" if kind == "Secret" else "of the configuration"
            raise Refused(
                f"{past.name} needs {kind} {', '.join(gone)}, which is gone: nothing was changed; restore it from a "
                f"backup {where}, or go back to another release (`onlyvips release rollback --list`)."
            )


def begin(environment: str, service: str, to: str, start: Start) -> str:
    """Open the release that goes back, or go on with it. Returns its id. Never frozen."""
    loaded = environments.load(environment)
    cluster = wiring.cluster_of(loaded)
    found = records.find_open(cluster, service)
    if found is not None and found.target:  # a retry: what is the newest by now must not change where it goes
        _check_same(found, pasts(records.every(cluster, service)), to)
        target = Target(found.target, found.to_image, found.version)
    else:
        target = target_of(environment, service, to)
    start = replace(start, version=target.version, target=target)
    return wiring.open_here(loaded, site_of(loaded, service, target), start)


def _check_same(found: Record, known: Sequence[Past], to: str) -> None:
    """Raise Refused when the open rollback brings something else than ``to``; any is meant where that is empty."""
    names = [past.name for past in known if past.snapshot == found.target]
    if to and to not in names:
        what = f"{found.id} of {found.service}, which goes back to {' or '.join(names) or found.to_image},"
        where = f"-e {found.environment} -s {found.service}"
        raise still_open(what, f"phase {found.phase}", f"going back to {to}", where)


def site_of(loaded: Environment, service: str, target: Target) -> Site:
    """The site of a rollback: its preflight asks for no store and no database, for it touches neither."""
    site = wiring.site_of(loaded, service, target.version)
    plan = hurried(site.plan)

    def look() -> Facts:
        facts = preflight.check_platform(site.cluster, plan, target.version)
        metrics = wiring.metrics_of(loaded)
        preflight.check_metrics(metrics)
        return preflight.seen(metrics, plan, facts)

    return replace(site, preflight=look)
