"""The image that a version means: by its tag, and by its digest where the environment asks for one."""

from __future__ import annotations

from onlyvips.core.images import digest_of, is_digest, tag_of
from onlyvips.core.plan import ReleasePlan
from onlyvips.environment.model import Environment
from onlyvips.errors import Refused


def digest_for(environment: Environment, service: str, version: str) -> str:
    """The digest of ``version``: as it says itself, or as ``release.digests`` says of the release's own version; ""
    where nobody says. Raises Refused for one that is none, and where the two differ."""
    tag, at, given = version.partition("@")
    if at and not is_digest(given):
        raise Refused(f"`{given}` is not a digest: write the version as {tag}@sha256: and 64 hexadecimal digits.")
    said = environment.release.digests.get(service, "") if tag == environment.release.version else ""
    if given and said and given != said:
        where = environment.where("release", "digests", service)
        raise Refused(f"{where}: {tag} is {said} here, and {given} was asked for: nothing was changed; correct one.")
    return given or said


def check_digest(environment: Environment, plan: ReleasePlan, version: str) -> None:
    """Raise Refused for a version without a digest, where the environment asks for one."""
    if not environment.release.require_digest or plan.digest or digest_of(version):
        return
    tag, service = tag_of(version), plan.service.name
    ours = tag == environment.release.version
    also = f", or write it as `release.digests.{service}`" if ours else ""
    raise Refused(
        f"{environment.where('release', 'require_digest')}: an image is released by its digest here, and {service} "
        f"{tag} was asked for by its tag alone, which may be another image tomorrow: nothing was changed; give "
        f"`--version {tag}@sha256:…`, as the build printed it{also}."
    )
