"""Redis on the lab comes back by ``onlyvips restore``: the live one that lost its keys, and into another server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import redis

from onlyvips.errors import Refused
from onlyvips.wiring import restores
from onlyvips.wiring.restores import Asked
from tests.conftest import Lab
from tests.redis_server import contents, serving
from tests.system.platform import Platform, told
from tests.system.test_redis_restore import HERE, stored

pytestmark = pytest.mark.lab
LIVE = ("--kind", "redis", "--target", "live", *HERE)


@pytest.fixture(scope="module")
def taken(module_platform: Platform) -> str:
    """The name of a backup that was just taken."""
    done = module_platform.onlyvips("backup", "run", "--kind", "redis", "--local", *HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(told(done)["backup"])


def flip(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def leftovers() -> list[str]:
    return [str(one) for place in ("/dev/shm", "/tmp") for one in Path(place).glob("onlyvips-restore-*")]


def test_the_live_redis_that_lost_all_keys_has_them_again_though_two_copies_are_bad(
    lab: Lab, module_platform: Platform, taken: str
) -> None:
    url = lab.env["ONLYVIPS_LAB_REDIS_URL"]
    before = contents(url)
    flip(stored(lab, "s3-a", taken))
    flip(stored(lab, "directory", taken))
    with redis.Redis.from_url(url) as client:
        client.flushall()
    (told_why,) = restores.plan(Asked("quick", "redis", "latest", "live")).refusals
    assert f"say --at {taken}" in told_why
    planned = restores.plan(Asked("quick", "redis", taken, "live"))
    assert (planned.overwritten, planned.refusals, planned.at) == ((), (), taken)
    assert planned.values["databases"]["db0"]["target"] == 0
    done = module_platform.onlyvips("restore", "run", "--local", "--at", taken, *LIVE)
    assert done.returncode == 0, done.stdout + done.stderr
    found = told(done)
    assert (found["keys"], found["expired"], found["databases"]) == (len(before), 0, ["db0", "db3"])
    assert contents(url) == before
    assert leftovers() == []
    repaired = module_platform.onlyvips("backup", "repair", taken, *HERE)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr


def wreck(url: str) -> None:
    """Keys deleted, changed, new, kept for another time; one database gone."""
    with redis.Redis.from_url(url) as client, redis.Redis.from_url(url, db=3) as other:
        client.delete("counter", *(f"user_profile:{number}" for number in range(0, 2000, 2)))
        client.set("bytes", "changed")
        client.persist("content_list:1")
        client.sadd("tags", "new")
        client.mset({f"new:{number}": "x" for number in range(30)})
        other.flushdb()


def test_a_wrecked_live_redis_becomes_what_the_backup_says_once_that_is_asked_for(
    lab: Lab, module_platform: Platform, taken: str
) -> None:
    url = lab.env["ONLYVIPS_LAB_REDIS_URL"]
    before = contents(url)
    wreck(url)
    damage = contents(url)
    planned = told(module_platform.onlyvips("restore", "plan", "--at", taken, *LIVE))
    assert (planned["overwritten"], planned["refusals"]) == (["db0"], [])
    with pytest.raises(Refused, match="--overwrite 'db0'"):
        restores.allow(asked := Asked("quick", "redis", taken, "live"), restores.plan(asked))
    assert contents(url) == damage
    done = module_platform.onlyvips("restore", "run", "--local", "--at", taken, "--overwrite", "db0", *LIVE)
    assert done.returncode == 0, done.stdout + done.stderr
    found = told(done)
    assert (found["keys"], found["removed"]) == (len(before), 30)
    assert contents(url) == before
    (safety,) = re.findall(r"Safety backup: (\S+)\.", " ".join(found["told"]))
    manifest = Path(lab.env["ONLYVIPS_LAB_DIRECTORY"]) / "quick" / "redis" / safety / "manifest.json"
    (record,) = json.loads(manifest.read_bytes())["objects"]
    assert record["namespaces"][0]["documents"] == len(damage)


def test_another_server_gets_every_key_and_the_live_one_by_a_reference_and_a_cluster_are_refused(
    lab: Lab, module_platform: Platform, taken: str, tmp_path: Path
) -> None:
    url = lab.env["ONLYVIPS_LAB_REDIS_URL"]
    reference = tmp_path / "url"
    options = ("--kind", "redis", "--target", f"file:{reference}", "--at", taken, *HERE)
    asked = Asked("quick", "redis", taken, f"file:{reference}")
    reference.write_text(url.replace("127.0.0.1", "localhost"))
    with pytest.raises(Refused, match="The target is the live Redis"):
        restores.run(asked, lambda doing, size: None)
    with serving(lab, tmp_path / "node", cluster_enabled="yes") as node:
        reference.write_text(node.url)
        with pytest.raises(Refused, match="one node of a cluster"):
            restores.run(asked, lambda doing, size: None)
    with serving(lab, tmp_path / "other", requirepass="geheim") as other:
        reference.write_text(other.url)
        done = module_platform.onlyvips("restore", "run", "--local", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert contents(other.url) == contents(url)
        assert "geheim" not in done.stdout + done.stderr
