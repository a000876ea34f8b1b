"""Which image a version is: its tag, and the digest that says what is in it, where one was given. Pure.

A reference with both (``repository:tag@sha256:…``) is pulled by its digest; the tag is for people.
"""

from __future__ import annotations

import re

from onlyvips.core.manifests import Manifest, repository_of

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_MOST = 63
_SHORT = len("sha256:") + 12


def tag_of(version: str) -> str:
    """The tag of a version as it is asked for: ``v3`` of ``v3@sha256:…``."""
    return version.partition("@")[0]


def is_label(tag: str) -> bool:
    """Whether a tag can be the label ``version`` of pods, as Kubernetes writes values of labels."""
    return _LABEL.fullmatch(tag) is not None


def named(what: str, version: str, suffix: str) -> str:
    """The name of a release of ``what``: also a label's value and a part of names, so 63 characters at most."""
    told = re.sub("[^a-z0-9]+", "-", f"{what}-{version.lower()}")[: _MOST - 1 - len(suffix)]
    return f"{told.rstrip('-')}-{suffix}"


def digest_of(reference: str) -> str:
    """The digest at the end of a version, an image or what a node says of one; "" where there is none."""
    found = reference.rpartition("@")[2] if "@" in reference else ""
    return found if is_digest(found) else ""


def is_digest(text: str) -> bool:
    """Whether it is a digest as registries write it."""
    return _DIGEST.fullmatch(text) is not None


def with_digest(image: str, digest: str) -> str:
    """The image, or version, with its digest, where there is one."""
    return f"{image}@{digest}" if digest else image


def short(digest: str) -> str:
    """A digest for a headline; "" where there is none."""
    return f" ({digest[:_SHORT]}…)" if digest else ""


def other_image(pod: Manifest, repository: str, digest: str) -> str:
    """What the node says that the pod runs of ``repository``, where it is another digest than this one; else "".

    ``imageID`` of a container's status is ``[docker-pullable://]repository@sha256:…`` where the image was pulled; some
    runtimes give the digest of an image's configuration alone, or of another repository that has the same image, and
    those cannot be compared.
    """
    ours = {one["name"] for one in pod["spec"].get("containers", []) if repository_of(one["image"]) == repository}
    for status in (pod.get("status") or {}).get("containerStatuses") or []:
        found = str(status.get("imageID") or "").rpartition("://")[2]
        if status["name"] in ours and repository_of(found) == repository and digest_of(found) not in ("", digest):
            return digest_of(found)
    return ""
