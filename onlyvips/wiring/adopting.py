"""Adoption of an environment's Deployment: what the command and the flow both do."""

from __future__ import annotations

from collections.abc import Callable

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core.adoption import outline
from onlyvips.steps import adoption
from onlyvips.steps.fence import Fence


def foresee(environment: str, service: str) -> list[str]:
    """What an adoption would do, and nothing changed. Raises Refused for what cannot be adopted."""
    site = wiring.site_of(wiring.check_service(environment, service), service, _version(environment))
    adoption.check(site.cluster, site.plan)
    return outline(adoption.Adoption(site.cluster, site.clock, site.plan, None).scene())


def adopt(environment: str, service: str, holder: str, tell: Callable[[str], None], *, back: bool = False) -> None:
    """Adopt the Deployment of ``service``, or go on with that, or go ``back``; ``tell`` hears each step.

    Raises Refused before anything changes, Driven while another process is at work on the service.
    """
    site = wiring.site_of(wiring.check_service(environment, service), service, _version(environment))
    adoption.check(site.cluster, site.plan)
    epoch = site.lease.acquire(holder)
    try:
        adoption.check(site.cluster, site.plan)  # a release may have begun before the lease was ours
        fence = Fence(site.cluster, service, epoch, site.lease.progress)
        adoption.Adoption(site.cluster, site.clock, site.plan, fence).run(tell, back=back)
    finally:
        site.lease.release()


def _version(environment: str) -> str:
    return environments.load(environment).release.version
