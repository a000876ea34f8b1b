"""Parameters of the lab's SSM wrecked and restored by ``onlyvips restore``, with a copy that is bad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.conftest import Lab
from tests.system.platform import Platform, told
from tests.system.test_secrets_restore import HERE as REGION
from tests.system.test_secrets_restore import parameters, ssm

pytestmark = pytest.mark.lab
HERE = ("--kind", "secrets", "-e", "quick", "--json")
JWT, URI, NEW = (f"/onlyvips/lab/{name}" for name in ("jwt", "database/uri", "new"))


def client(lab: Lab) -> Any:
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    return boto3.client("ssm", endpoint_url=lab.env["ONLYVIPS_LAB_SSM_URL"], region_name=REGION, **keys)


def test_parameters_that_were_wrecked_come_back_from_a_good_copy_and_the_others_stay(
    lab: Lab, module_platform: Platform
) -> None:
    taken = told(module_platform.onlyvips("backup", "run", "--local", *HERE))["backup"]
    before, secrets = parameters(ssm(lab, REGION)), client(lab)
    kept = Path(lab.env["ONLYVIPS_LAB_DIRECTORY"]) / "quick" / "secrets" / taken / "objects" / "0001-ssm.jsonl.zst.age"
    data = kept.read_bytes()
    kept.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    secrets.put_parameter(Name=JWT, Value="stolen", Overwrite=True)
    secrets.delete_parameter(Name=URI)
    secrets.put_parameter(Name=NEW, Value="stays", Type="SecureString")
    try:
        options = ("--target", "live", "--at", taken, *HERE)
        planned = told(module_platform.onlyvips("restore", "plan", *options))
        assert (planned["new"], planned["changed"], planned["others"]) == (1, 1, 1)
        assert (planned["overwritten"], planned["refusals"]) == ([JWT], [])
        done = module_platform.onlyvips("restore", "run", "--local", "--yes", "quick", "--overwrite", JWT, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        found = told(done)
        assert (found["made"], found["changed"], found["others"]) == (1, 1, 1)
        assert any(line.startswith("Safety backup: 2") for line in found["told"])
        now = [put for put in parameters(ssm(lab, REGION)) if put["Name"] != NEW]
        assert now == before
        values = [put["Value"] for put in before]
        assert not any(value in json.dumps(planned) + done.stdout + done.stderr for value in values)
    finally:
        kept.write_bytes(data)
        secrets.delete_parameter(Name=NEW)
        secrets.close()
