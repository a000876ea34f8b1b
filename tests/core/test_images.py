"""Tags and digests: read from what is asked for, and held against what a node says that a pod runs."""

from __future__ import annotations

import pytest

from onlyvips.core import images

REPOSITORY = "ghcr.io/onlyvips/backend"
ASKED, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


@pytest.mark.parametrize(
    ("version", "tag", "digest"),
    [("v3", "v3", ""), (f"v3@{ASKED}", "v3", ASKED), ("v3@sha256:abc", "v3", ""), ("v3@", "v3", "")],
)
def test_a_version_is_a_tag_and_may_be_a_digest(version: str, tag: str, digest: str) -> None:
    assert (images.tag_of(version), images.digest_of(version)) == (tag, digest)
    assert images.with_digest(tag, digest) == (version if digest else tag)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("v0.9.0", "backend-v0-9-0-1a2b3c"),
        ("v0.9.0-RC_1.", "backend-v0-9-0-rc-1-1a2b3c"),
        (f"v1-{'a' * 120}", f"backend-v1-{'a' * 45}-1a2b3c"),
    ],
)
def test_a_release_has_a_name_that_kubernetes_takes_whatever_the_tag_is(version: str, name: str) -> None:
    assert images.named("backend", version, "1a2b3c") == name and len(name) <= 63


def pod(image_id: str, name: str = "api") -> dict[str, object]:
    containers = [{"name": "api", "image": f"{REPOSITORY}:v3@{ASKED}"}, {"name": "proxy", "image": "envoy:1.30"}]
    return {"spec": {"containers": containers}, "status": {"containerStatuses": [{"name": name, "imageID": image_id}]}}


@pytest.mark.parametrize("scheme", ["", "docker-pullable://"])
def test_another_digest_of_the_same_repository_is_another_image(scheme: str) -> None:
    assert images.other_image(pod(f"{scheme}{REPOSITORY}@{OTHER}"), REPOSITORY, ASKED) == OTHER
    assert images.other_image(pod(f"{scheme}{REPOSITORY}@{ASKED}"), REPOSITORY, ASKED) == ""


@pytest.mark.parametrize("image_id", ["", OTHER, f"mirror.example/backend@{OTHER}", REPOSITORY])
def test_what_cannot_be_compared_is_no_other_image(image_id: str) -> None:
    assert images.other_image(pod(image_id), REPOSITORY, ASKED) == ""


def test_other_containers_and_pods_that_say_nothing_yet_are_not_compared() -> None:
    assert images.other_image(pod(f"{REPOSITORY}@{OTHER}", "proxy"), REPOSITORY, ASKED) == ""
    assert images.other_image({"spec": {"containers": []}}, REPOSITORY, ASKED) == ""
