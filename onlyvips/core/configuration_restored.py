"""What a restore of the configuration is about to do and what it did, for people and for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onlyvips.core.configuration_restore import Change, diff
from onlyvips.core.points import Point
from onlyvips.core.restored import instead_of
from onlyvips.errors import Refused


@dataclass(frozen=True)
class ConfigurationPlan:
    """``changes`` are in the order in which they are made; ``same`` stand as the backup has them; ``others`` are there
    and not in it; ``secrets`` says what is missing of those; ``wrong`` why objects cannot be written."""

    point: Point
    namespace: str
    changes: tuple[Change, ...]
    same: tuple[str, ...]
    others: tuple[str, ...]
    secrets: tuple[str, ...]
    wrong: tuple[str, ...]
    notes: tuple[str, ...]
    flaws: tuple[str, ...]

    @property
    def overwritten(self) -> tuple[str, ...]:
        """What is there and would be changed."""
        return tuple(one.name for one in self.changes if not one.creates)


@dataclass(frozen=True)
class RestoredConfiguration:
    """What was made and changed; ``same`` stood so already. ``flaws`` are copies that were not used."""

    backup: str
    created: tuple[str, ...]
    changed: tuple[str, ...]
    same: int
    others: int
    secrets: tuple[str, ...]
    flaws: tuple[str, ...]
    seconds: float


def check_plan(plan: ConfigurationPlan, at: str) -> None:
    """Raise Refused for what the server would not take, and for ``latest``: the same command, run again after it
    died, would mean another backup, of the ruins."""
    if plan.wrong:
        raise Refused(f"The server would not take all of it, so nothing was changed: {' · '.join(plan.wrong)}")
    if plan.changes and at == "latest":
        raise Refused(
            "Into the live namespace a backup is restored by its name, for another, of what is there now, may become "
            f"the latest meanwhile: nothing was changed; say --at {plan.point.name}."
        )


def lines(plan: ConfigurationPlan, *, differences: bool = True) -> Iterator[str]:
    """A plan, line by line. ``differences``: with what the backup encrypts, so for who asks, and for no log."""
    manifest = plan.point.manifest
    yield f"Configuration of namespace {plan.namespace} of the backup {plan.point.name}, of {manifest.finished}"
    for verb, some in (
        ("created", [one for one in plan.changes if one.creates]),
        ("changed", [one for one in plan.changes if not one.creates]),
    ):
        yield f"  {verb}: {', '.join(one.name for one in some) or 'nothing'}"
        for one in some:
            yield from (f"    {line}" for line in (diff(one) if differences else ()))
            for manager, fields in one.owners.items():
                yield f"    {manager} owns {', '.join(fields)}"
    yield f"  as in the backup already: {len(plan.same)} objects"
    yield f"  there and not in the backup, they stay: {', '.join(plan.others) or 'nothing'}"
    for secret in plan.secrets:
        yield f"  {secret}: bring it back by kind secrets (docs/runbooks/restore.md); it is never made empty"
    yield from (f"  {line}" for line in _repository(plan.point))
    for note in plan.notes:
        yield f"  note: {note}"


def _repository(point: Point) -> Iterator[str]:
    """Which revision of git the backup has, and how to get it."""
    if not (revision := point.manifest.fact("revision")):
        yield "git: this backup has no repository"
        return
    yield f"git: revision {revision}, in {point.manifest.prefix}objects/0003-repository.bundle.zst.age of any copy:"
    yield "  age -d -i IDENTITY < 0003-repository.bundle.zst.age | zstd -d > repository.bundle"
    yield f"  git clone repository.bundle repository && git -C repository checkout {revision}"


def as_json(plan: ConfigurationPlan) -> dict[str, Any]:
    """A plan in plain values."""
    return {
        "backup": plan.point.manifest.prefix,
        "finished": plan.point.manifest.finished,
        "size": plan.point.size,
        "created": [one.name for one in plan.changes if one.creates],
        "changed": list(plan.overwritten),
        "owners": {one.name: {key: list(each) for key, each in one.owners.items()} for one in plan.changes},
        "same": list(plan.same),
        "others": list(plan.others),
        "secrets": list(plan.secrets),
        "revision": plan.point.manifest.fact("revision"),
        "notes": list(plan.notes),
        "flaws": list(plan.flaws),
    }


def diffs(plan: ConfigurationPlan) -> dict[str, list[str]]:
    """The differences: they hold what the backup encrypts, so they are for who asks, and are kept nowhere."""
    return {one.name: list(diff(one)) for one in plan.changes}


def done(found: RestoredConfiguration) -> str:
    """What was done, in a few sentences."""
    told = (
        f"Restored the configuration of {found.backup}: created {_named(found.created)}, changed "
        f"{_named(found.changed)}, each read back as the server took it; {found.same} objects stood so already, in "
        f"{found.seconds:.1f} s."
    )
    if found.others:
        told += f" {found.others} objects that the backup has not were left as they are."
    if found.secrets:
        told += f" Secrets: {'; '.join(found.secrets)}; bring them back by kind secrets."
    told += instead_of(found.flaws)
    return told


def _named(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def result(found: RestoredConfiguration) -> dict[str, Any]:
    """The same in plain values."""
    return asdict(found)
