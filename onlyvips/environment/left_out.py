"""What a release of another version than the environment's release goes without."""

from __future__ import annotations

from collections.abc import Iterator

from onlyvips.core.images import tag_of
from onlyvips.environment.delivery import Release
from onlyvips.environment.model import Environment
from onlyvips.environment.plans import is_the_release


def left_out(environment: Environment, version: str, service: str = "") -> list[str]:
    """One sentence where ``version`` is not that of the release, and the release has things of its own for ``service``
    ("": for all of them); else none."""
    release, tag = environment.release, tag_of(version)
    things = list(_things(release, service))
    if is_the_release(release, tag) or not things:
        return []
    where = environment.where("release", "version")
    told = ", ".join(things)
    return [f"{where}: the release is {release.version}, so {tag} changes the image alone, without its {told}."]


def _things(release: Release, service: str) -> Iterator[str]:
    if release.migration is not None:
        yield f"migration {release.migration.job}"
    for what, found in (("Secret", release.secrets), ("ConfigMap", release.configs)):
        for owner, several in found.items():
            if service in ("", owner):
                yield from (f"{what} {one.name}" for one in several)
    yield from (f"hook {one.name}" for one in (*release.hooks.before, *release.hooks.after))
    if release.contract is not None and not service:
        yield f"contract migration {release.contract.name}"
