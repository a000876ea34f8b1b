"""What was found when a copy was read back, and where that is kept: evidence beside the backups, not inside them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

_IN_A_VERIFICATION = re.compile(r"[^/]+/evidence/verify/(?P<backup>.+-e\d+)/(?P<name>[^/]+)/(?P<when>[^/]+Z)-[gb]")

Checks = Mapping[tuple[str, str], tuple[str, bool]]
"""(backup's prefix, destination) → when it was last read back whole, or found bad; and whether it was good."""


@dataclass(frozen=True)
class Damage:
    """An object of a copy that is not what the manifest says."""

    key: str
    why: str


@dataclass(frozen=True)
class Verification:
    """What was found when a copy was read back. ``objects`` of ``of`` were read, ``size`` bytes; ``how`` is
    ``stored`` (their ciphertext was hashed) or ``decrypted``. ``away``: it could not be read, so nothing is known."""

    backup: str
    kind: str
    destination: str
    at: str
    how: str
    objects: int
    of: int
    size: int
    damage: tuple[Damage, ...] = ()
    away: str = ""

    @property
    def good(self) -> bool:
        """Everything that was read is as it was written."""
        return not self.damage and not self.away

    @property
    def whole(self) -> bool:
        """Every object was read."""
        return self.objects == self.of


def verification_key(prefix: str, destination: str, when: str, good: bool, nonce: str) -> str:
    """Where the result of a read-back is kept: the name says how it ended, so that a listing tells it."""
    environment, _, rest = prefix.rstrip("/").partition("/")
    return f"{environment}/evidence/verify/{rest}/{destination}/{when}-{'good' if good else 'bad'}-{nonce}.json"


def latest(keys: Iterable[str]) -> Checks:
    """What the keys of verifications say, the newest of each copy."""
    newest: dict[tuple[str, str], tuple[str, bool]] = {}
    for key in keys:
        if found := _IN_A_VERIFICATION.match(key):
            about = (f"{key.partition('/')[0]}/{found['backup']}/", found["name"])
            said = (found["when"], f"{found['when']}-good-" in key)
            newest[about] = max(newest.get(about, ("", True)), said, key=lambda one: (one[0], not one[1]))
    return newest


def superseded(keys: Iterable[str], backups: Container[str], keep: int) -> list[str]:
    """The keys of verifications that nobody needs any more: of backups whose prefix is not among ``backups``, and all
    but the newest ``keep`` of each copy."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for key in keys:
        if told := _IN_A_VERIFICATION.match(key):
            prefix = f"{key.partition('/')[0]}/{told['backup']}/"
            found[prefix, told["name"]].append((told["when"], key))
    gone = []
    for (prefix, _), results in found.items():
        ranked = [key for _, key in sorted(results)]
        gone += ranked[:-keep] if prefix in backups else ranked
    return sorted(gone)
