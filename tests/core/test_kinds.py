"""How kinds are written in an environment."""

from __future__ import annotations

import pytest

from onlyvips.core.kinds import GROUPS, KindName, asked_twice, parse_kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Deployment", KindName("apps", "", "Deployment")),
        ("ConfigMap", KindName("", "", "ConfigMap")),
        ("HTTPRoute", KindName("gateway.networking.k8s.io", "", "HTTPRoute")),
        ("v1/Secret", KindName("", "v1", "Secret")),
        ("apps/v1/Deployment", KindName("apps", "v1", "Deployment")),
        ("cert-manager.io/v1alpha2/Certificate", KindName("cert-manager.io", "v1alpha2", "Certificate")),
    ],
)
def test_a_kind_is_written_by_a_known_name_or_with_group_and_version(text: str, kind: KindName):
    assert parse_kind(text) == kind


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Deploymnt", "did you mean `Deployment`?"),
        ("Certificate", "write it as group/version/Kind"),
        ("apps/Deployment", "group/version/Kind"),
        ("deployments", "group/version/Kind"),
        ("", "group/version/Kind"),
        ("Pod", "Pod is no configuration: controllers make it"),
        ("apps/v1/ReplicaSet", "ReplicaSet is no configuration: a Deployment makes it"),
        ("batch/v1/Job", "would run it again"),
    ],
)
def test_what_is_no_kind_or_no_configuration_is_told(text: str, told: str):
    with pytest.raises(ValueError, match="^.+") as caught:
        parse_kind(text)
    assert told in str(caught.value)


def test_a_kind_is_asked_for_once_in_whatever_version():
    assert asked_twice(["Deployment", "apps/v1/Deployment", "v1/Secret", "Secret", "Service"]) == [1, 3]
    assert asked_twice(GROUPS) == []
