"""Adopt a Deployment: a twin carries its traffic while it is made anew with ``track: stable``."""

from __future__ import annotations

from prefect import flow

from tasks import adopting


@flow(name="release-adopt", flow_run_name="adopt {service} on {environment}", persist_result=False)
def release_adopt(environment: str, service: str, back: bool = False) -> list[str]:
    """Give a service's Deployment and Service the label that a canary needs.

    Users see nothing of it; killed anywhere, they are served, and a run of it again goes on from what is there.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        service: Service of that environment, for example backend.
        back: Go back to how it was, while the old Deployment is there; else it goes to the end.
    """
    return adopting.adopt(environment, service, back)
