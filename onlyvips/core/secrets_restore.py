"""A restore of secrets: which parameters differ, whether a snapshot fits a Vault, and how it is told. Pure.

Names are told to who asks; values are nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from onlyvips.core.backup_report import size
from onlyvips.core.keys import release
from onlyvips.core.points import Point
from onlyvips.core.restored import instead_of
from onlyvips.errors import Refused

VAULT = "vault"
"""What a restore of Vault writes over: everything in it."""


@dataclass(frozen=True)
class Parameter:
    """One of SSM: ``put`` is what PutParameter takes to make it, ``version`` how often it was written."""

    put: Mapping[str, Any]
    version: int

    def __repr__(self) -> str:
        return f"Parameter({self.put['Name']!r}, version={self.version})"  # never the value


def parameters_of(data: bytes) -> dict[str, Parameter]:
    """What the lines of a backup say, by name. Raises Refused for what is none."""
    try:
        lines = [json.loads(line) for line in data.splitlines()]
        return {line["put"]["Name"]: Parameter(line["put"], int(line["version"])) for line in lines}
    except (ValueError, KeyError, TypeError):
        # Without its cause, which may quote a value.
        raise Refused("The backup holds no lines of parameters of SSM. Nothing was changed.") from None


@dataclass(frozen=True)
class Difference:
    """A parameter that is there otherwise; ``fields`` are the names of what differs."""

    name: str
    there: int
    backup: int
    fields: tuple[str, ...]


@dataclass(frozen=True)
class SsmPlan:
    """What is written: ``new`` with their versions in the backup, ``changed``. What is ``same`` is not, nor ``others``,
    which are only there."""

    environment: str
    point: Point
    region: str
    new: Mapping[str, int]
    changed: tuple[Difference, ...]
    same: tuple[str, ...]
    others: tuple[str, ...]
    flaws: tuple[str, ...] = ()

    @property
    def overwritten(self) -> tuple[str, ...]:
        """Names of what is there and is written."""
        return tuple(one.name for one in self.changed)


def plan_ssm(
    environment: str,
    point: Point,
    region: str,
    wanted: Mapping[str, Parameter],
    there: Mapping[str, Parameter],
    flaws: tuple[str, ...] = (),
) -> SsmPlan:
    """``there`` is all that is below the paths."""
    both = sorted(set(wanted) & set(there))
    changed = [Difference(n, there[n].version, wanted[n].version, differing(wanted[n], there[n])) for n in both]
    return SsmPlan(
        environment,
        point,
        region,
        {name: wanted[name].version for name in sorted(set(wanted) - set(there))},
        tuple(one for one in changed if one.fields),
        tuple(one.name for one in changed if not one.fields),
        tuple(sorted(set(there) - set(wanted))),
        flaws,
    )


def differing(wanted: Parameter, there: Parameter) -> tuple[str, ...]:
    """Names of what differs. An advanced parameter cannot become a standard one again, which changes nothing in it."""
    mine, theirs = ({key: value for key, value in one.put.items() if value} for one in (wanted, there))
    if (mine.get("Tier"), theirs.get("Tier")) == ("Standard", "Advanced"):
        mine["Tier"] = "Advanced"
    return tuple(sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key)))


def check_ssm(plan: SsmPlan, paths: tuple[str, ...]) -> None:
    """Raise Refused for what SSM cannot be given back."""
    outside = [
        name
        for name in (*plan.new, *plan.overwritten)
        if not any(path == "/" or name.startswith(f"{path}/") for path in paths)
    ]
    if outside:
        raise Refused(
            f"{', '.join(outside)} of the backup are not below {', '.join(paths)}, so what is there of them is not "
            "known: nothing was changed; add their path to backup.secrets.ssm.paths."
        )
    if typed := [one.name for one in plan.changed if "Type" in one.fields]:
        raise Refused(
            f"{', '.join(typed)}: of another type than in the backup, which SSM never changes: nothing was changed; "
            "remove them by hand (aws ssm delete-parameter), then run the restore."
        )


def ssm_lines(plan: SsmPlan) -> Iterator[str]:
    """A plan, line by line."""
    manifest = plan.point.manifest
    yield f"To between {manifest.started} and {manifest.finished}, out of the backup {plan.point.name}"
    yield f"  into SSM in {plan.region}"
    for name, version in plan.new.items():
        yield f"  new: {name}, version {version} in the backup"
    for one in plan.changed:
        yield f"  differs: {one.name} ({', '.join(one.fields)}), version {one.there} there, {one.backup} in the backup"
    for name in plan.others:
        yield f"  stays, the backup has it not: {name}"
    yield f"  the same: {len(plan.same)} parameters, which are not written"
    if not plan.changed:
        yield "  overwritten: nothing"
    for flaw in plan.flaws:
        yield f"  note: a copy is bad: {flaw}"
    yield from (f"  note: {note}" for note in plan.point.notes)


def ssm_json(plan: SsmPlan) -> dict[str, Any]:
    """A plan in plain values, which may be kept: without names."""
    return {
        "environment": plan.environment,
        "backup": plan.point.manifest.prefix,
        "reached": plan.point.manifest.finished,
        "size": plan.point.size,
        "new": len(plan.new),
        "changed": len(plan.changed),
        "same": len(plan.same),
        "others": len(plan.others),
        "flaws": list(plan.flaws),
        "notes": list(plan.point.notes),
    }


@dataclass(frozen=True)
class RestoredParameters:
    """What was done; all of the backup were read back equal."""

    backup: str
    reached: str
    made: int
    changed: int
    same: int
    others: int
    flaws: tuple[str, ...]
    seconds: float


def ssm_done(found: RestoredParameters) -> str:
    """What was done, in a few sentences."""
    every = found.made + found.changed + found.same
    told = f"Restored {found.backup} to {found.reached}: {found.made} parameters made, {found.changed} changed, "
    told += f"{found.same} were the same; all {every} read back equal, in {found.seconds:.1f} s."
    if found.others:
        told += f" {found.others} that the backup does not have stay."
    return f"{told}{instead_of(found.flaws)} Start again what read the old values, and take a new backup."


# --- Vault -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VaultPlan:
    """A snapshot, and the Vault that takes it; ``target`` is what that says of itself."""

    environment: str
    point: Point
    target: Mapping[str, str]

    @property
    def force(self) -> bool:
        """Whether it is another cluster, whose seal cannot know the snapshot."""
        return self.point.manifest.fact("cluster_id", "unknown") != self.target["cluster_id"]

    @property
    def overwritten(self) -> tuple[str, ...]:
        """Always everything."""
        return (VAULT,)


def check_vault(plan: VaultPlan) -> None:
    """Raise Refused where that Vault could not open what it is given."""
    manifest, target = plan.point.manifest, plan.target
    if release(target["version"]) < release(manifest.server.version):
        raise Refused(
            f"The Vault to restore into is {target['version']}, the backup is of {manifest.server.version}: an older "
            "one may not read it, so nothing was changed; give one of that version or later."
        )
    if (seal := manifest.fact("seal", "unknown")) != target["seal"]:
        raise Refused(
            f"The backup is of a Vault whose seal is {seal}, that of the target is {target['seal']}: it could never be "
            f"unsealed, so nothing was changed; give the target the seal of the backup's ({seal}) first."
        )


def vault_lines(plan: VaultPlan) -> Iterator[str]:
    """A plan, line by line."""
    manifest, target = plan.point.manifest, plan.target
    whose = manifest.fact("cluster", "unknown")
    yield f"To between {manifest.started} and {manifest.finished}, out of the backup {plan.point.name}"
    yield f"  to be read: {size(plan.point.size)}, Vault's own snapshot of {whose}, Vault {manifest.server.version}"
    which = "another" if plan.force else "the same"
    yield f"  into Vault {target['version']}, cluster {target['cluster']}: {which} one"
    yield "  written over: everything in it, secrets, policies, log-ins and tokens, ours too"
    if plan.force:
        seal = manifest.fact("seal", "unknown")
        yield f"  by force, for its seal is another: it is unsealed then by the keys of {whose} ({seal}), which are in"
        yield "  no backup: have them ready before"
    yield from (f"  note: {note}" for note in plan.point.notes)


def vault_json(plan: VaultPlan) -> dict[str, Any]:
    """A plan in plain values."""
    return {
        "environment": plan.environment,
        "backup": plan.point.manifest.prefix,
        "reached": plan.point.manifest.finished,
        "size": plan.point.size,
        "force": plan.force,
        "target": dict(plan.target),
        "notes": list(plan.point.notes),
    }


@dataclass(frozen=True)
class RestoredVault:
    """What was done. ``read_back`` are bytes of a snapshot that it gave after it, 0 where ``unread`` says why not."""

    backup: str
    reached: str
    force: bool
    sealed: bool
    read_back: int
    unread: str
    flaws: tuple[str, ...]
    seconds: float


def vault_done(found: RestoredVault) -> str:
    """What was done, in a few sentences."""
    told = f"Restored {found.backup} to {found.reached}: Vault took its snapshot{' by force' if found.force else ''}"
    told += f", in {found.seconds:.1f} s."
    if found.sealed:
        told += (
            " It is sealed now: unseal it with the keys of the cluster that was backed up, then see that it answers."
        )
    elif found.unread:
        told += f" It says that it is the cluster of the backup, and gave no snapshot back: {found.unread}"
    else:
        told += (
            f" It says that it is the cluster of the backup, and gave a whole snapshot back ({size(found.read_back)})."
        )
    return f"{told}{instead_of(found.flaws)} Log-ins and tokens are those of then: log in anew, and take a new backup."


def result(found: RestoredParameters | RestoredVault) -> dict[str, Any]:
    """The same in plain values."""
    return asdict(found)
