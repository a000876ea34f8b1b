"""Retention on real servers by the command a person types: dry run, locks, what goes, who may delete."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from onlyvips.errors import Refused
from onlyvips.steps import prune_report
from onlyvips.wiring import backups
from onlyvips.wiring import prune as pruning
from onlyvips.wiring.prune import prune_backups
from tests.conftest import Lab
from tests.system.platform import Platform, told

pytestmark = pytest.mark.lab
HERE = ("-e", "short", "--json")
KEEP = {"last": 2, "locked_for": "10h"}


@pytest.fixture
def short(module_platform: Platform) -> Platform:
    """An environment that keeps two backups of secrets, each locked for ten hours."""
    module_platform.environment("short")
    change(module_platform, lambda backup: backup["retention"].update(secrets=KEEP))
    return module_platform


def change(platform: Platform, how: Callable[[dict[str, Any]], object]) -> None:
    """Change section backup of the environment."""
    file = platform.folder / "short.yaml"
    document = yaml.safe_load(file.read_text())
    how(document["backup"])
    file.write_text(yaml.safe_dump(document))


def take() -> str:
    with backups.taking("short", "secrets", "a test", lambda size, documents: None) as session:
        taken = backups.take_all(session)
    assert not taken.degraded
    return f"{taken.manifest.id}-e{taken.manifest.epoch}"


def pruned(*, dry: bool = False) -> dict[str, Any]:
    """What a prune of kind secrets tells, in this process."""
    return only_kind(prune_report.as_json(prune_backups("short", "secrets", "a test", dry=dry)))


def prune(platform: Platform, *more: str) -> dict[str, Any]:
    """The same by the command that a person types."""
    done = platform.onlyvips("backup", "prune", "--kind", "secrets", *more, *HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    return only_kind(told(done))


def only_kind(report: dict[str, Any]) -> dict[str, Any]:
    (kind,) = report["kinds"]
    return {**kind, "warnings": report["warnings"]}


def listed() -> list[str]:
    found = [one for one in backups.catalog("short").backups if one.kind == "secrets"]
    assert all(copy.complete for one in found for copy in one.copies)
    return [one.name for one in found]


def what(kind: dict[str, Any]) -> dict[str, str]:
    return {one["backup"]: one["what"] for one in kind["backups"]}


def root(lab: Lab) -> Any:
    url, access, secret = (lab.env[f"ONLYVIPS_LAB_S3_B_{part}"] for part in ("URL", "ACCESS_KEY", "SECRET_KEY"))
    keys = {"aws_access_key_id": access, "aws_secret_access_key": secret}
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)


def unlock(lab: Lab, backup: str) -> list[str]:
    """Make the locks of a backup at s3-b run out, as root alone can; returns the keys of its versions."""
    client = root(lab)
    bucket, prefix = "onlyvips-backup", f"short/secrets/{backup}/"
    found = client.list_object_versions(Bucket=bucket, Prefix=prefix)["Versions"]
    for one in found:
        client.put_object_retention(
            Bucket=bucket,
            Key=one["Key"],
            VersionId=one["VersionId"],
            BypassGovernanceRetention=True,
            Retention={"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(seconds=3)},
        )
    client.close()
    time.sleep(4.5)
    return [one["Key"] for one in found]


def traces(lab: Lab, backup: str) -> list[str]:
    """Every version of a backup's objects, at every destination."""
    directory = Path(lab.env["ONLYVIPS_LAB_DIRECTORY"])
    files = [*directory.rglob("*"), *(directory.parent / "s3-a").rglob("*")]
    client = root(lab)
    found = client.list_object_versions(Bucket="onlyvips-backup", Prefix=f"short/secrets/{backup}/")
    client.close()
    behind = [one["Key"] for one in found.get("Versions", []) + found.get("DeleteMarkers", [])]
    return [str(path) for path in files if f"secrets/{backup}/" in str(path) and "evidence" not in str(path)] + behind


def standing() -> tuple[tuple[str, ...], list[str]]:
    """Which copies of secrets are immutable, and what the audit finds wrong with them."""
    report = backups.audit_backups("short", "nothing", lambda size: None)
    (one,) = [each for each in report.standings if each.kind == "secrets"]
    return one.immutable, [each.what for each in report.findings if each.kind == "secrets"]


def test_what_is_beyond_the_policy_stays_while_it_is_locked_and_then_goes_as_the_dry_run_said(short: Platform) -> None:
    lab = short.lab
    for one in listed():
        unlock(lab, one)
    made = [take() for _ in range(3)]
    first = made[0]
    locked = pruned()
    assert what(locked)[first] == "keep" and set(made) <= set(listed())
    (why,) = [one["why"] for one in locked["backups"] if one["backup"] == first]
    assert len(why) == 1 and why[0].startswith("it would go, and is locked until 20")
    assert locked["warnings"] == ["directory: a directory cannot promise that who writes there does not delete."]

    assert len(unlock(lab, first)) == 5  # the object, three records of copies, the manifest
    dry = prune(short, "--dry-run")
    assert what(dry)[first] == "remove" and first in listed()
    done = prune(short)
    assert done["removed"] == [name for name, action in what(dry).items() if action == "remove"]
    assert listed() == made[1:] == [name for name, action in what(dry).items() if action == "keep"]
    assert traces(lab, first) == []
    assert (Path(lab.env["ONLYVIPS_LAB_DIRECTORY"]) / done["evidence"]).exists()
    assert pruned()["removed"] == []


def test_the_audit_counts_a_copy_as_immutable_while_its_objects_are_locked_and_prune_locks_them_again(
    short: Platform,
) -> None:
    newest = take()
    assert standing() == (("s3-b",), [])
    unlock(short.lab, newest)
    immutable, wrong = standing()
    assert immutable == ()
    assert any(f"the copy of {newest} at s3-b is not locked" in one for one in wrong)
    assert [(one["destination"], newest in one["prefix"]) for one in pruned()["locks"]] == [("s3-b", True)]
    assert standing() == (("s3-b",), [])


def test_prune_is_refused_by_name_without_a_credential_of_its_own(short: Platform) -> None:
    keys = [f"pruner_{part}_key" for part in ("access", "secret")]
    change(short, lambda backup: [backup["destinations"]["s3-b"].pop(key) for key in keys])
    done = short.onlyvips("backup", "prune", *HERE)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "backup.destinations.s3-b.pruner_access_key" in told(done)["error"]


def test_a_writer_that_can_delete_is_found_out_and_told(short: Platform) -> None:
    keys = {f"{part}_key": f"env:ONLYVIPS_LAB_S3_A_{part.upper()}_KEY" for part in ("access", "secret")}
    change(short, lambda backup: backup["destinations"]["s3-a"].update(keys))
    (told_of,) = [one for one in pruned()["warnings"] if one.startswith("s3-a")]
    assert "the credential that writes backups can delete there, tried just now" in told_of


def test_a_bucket_without_lock_where_it_is_promised_is_refused_before_anything_is_read(short: Platform) -> None:
    change(short, lambda backup: backup["destinations"]["s3-b"].update(bucket="onlyvips-leases"))
    with pytest.raises(Refused, match="has no object lock: nothing was read") as raised:
        take()
    told_of = str(raised.value)
    assert told_of.startswith("s3-b is immutable in the environment, and bucket onlyvips-leases at http://127.0.0.1:")


def test_a_kind_that_somebody_writes_is_left_alone_and_told(short: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_PATIENCE", 0.0)
    with backups.taking("short", "secrets", "Ada", lambda size, documents: None):
        report = prune_backups("short", "secrets", "a test", dry=False)
    assert not report.ok and report.results[0].found is None
    assert "Ada writes the secrets backups of short and is alive" in report.results[0].why
