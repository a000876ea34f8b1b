"""Mistakes in when a release may begin and by which digests; see ``broken_environments``."""

from __future__ import annotations

from tests.core.broken_environments import Case

_BEFORE = "  rollback: automatic"


def _window(key: str, message: str, **changed: str) -> Case:
    said = {"days": "mon-thu", "start": '"08:00"', "end": '"17:00"', "zone": "Europe/Berlin", **changed}
    line = ", ".join(f"{name}: {value}" for name, value in said.items())
    return Case(_BEFORE, f"  windows:\n@@    - {{{line}}}\n{_BEFORE}", f"release.windows[0].{key}", message)


def _freeze(key: str, message: str, **changed: str) -> Case:
    said = {"start": '"2026-12-21T00:00+01:00"', "end": '"2027-01-04T00:00+01:00"', "why": "Christmas", **changed}
    line = ", ".join(f"{name}: {value}" for name, value in said.items())
    return Case(_BEFORE, f"  freezes:\n@@    - {{{line}}}\n{_BEFORE}", f"release.freezes[0].{key}", message)


BROKEN = {
    "a day that is none": _window("days", "`fry` is no day", days="mon-fry"),
    "a time that is none": _window("start", 'write it as "08:00", quoted', start='"8h"'),
    "a zone that is none": _window("zone", "is no time zone; did you mean `Europe/Berlin`?", zone="Europe/Berlim"),
    "a window of no length": _window("end", "08:00 is the start, too", end='"08:00"'),
    "a freeze without a zone": _freeze("end", "not a moment with its zone", end='"2027-01-04T00:00"'),
    "a digest that is none": Case(
        _BEFORE, f"@@  digests: {{backend: sha256:abc}}\n{_BEFORE}", "release.digests.backend", "64 hexadecimal digits"
    ),
    "a digest of nobody": Case(
        _BEFORE,
        f"@@  digests: {{bakend: sha256:{'a' * 64}}}\n{_BEFORE}",
        "release.digests.bakend",
        "is not among release.services; did you mean `backend`?",
    ),
    "a Job by its tag alone": Case(
        "require_digest: false", "require_digest: true", "release.migration.image", "is named by its tag alone"
    ),
    "a freeze that ends before it begins": _freeze("end", "nothing is frozen", end='"2026-12-20T00:00+01:00"'),
}
ELSEWHERE = {"a Job by its tag alone": "    image: ghcr.io/onlyvips/migrate"}
