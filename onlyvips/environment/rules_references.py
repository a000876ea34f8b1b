"""Rules on the Secrets and ConfigMaps of a release: which one a pod's reference means can be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onlyvips.environment.config_of import ConfigOfRelease
from onlyvips.environment.delivery import SecretOfRelease
from onlyvips.environment.model import Environment
from onlyvips.environment.problems import Path
from onlyvips.environment.rule import Broken, rule

_Renamed = Mapping[str, Sequence[SecretOfRelease | ConfigOfRelease]]


def told_apart(environment: Environment) -> Broken:
    """What pods refer to gives way to one new name: no two of a service share `name` or `replaces`."""
    planned = environment.release
    sections: list[tuple[str, _Renamed]] = [("secrets", planned.secrets), ("configs", planned.configs)]
    for key, named in sections:
        for service, some in named.items():
            taken = dict[str, int]()
            for number, one in enumerate(some):
                for stem in dict.fromkeys((one.replaces, one.name)):
                    if (first := taken.setdefault(stem, number)) != number:
                        path: Path = ("release", key, service, number)
                        told = f"`{stem}` is of release.{key}.{service}[{first}] already"
                        yield path, f"{told}, so which of the two a pod gets cannot be told: name each once"


RULES = (rule(told_apart, "release"),)
