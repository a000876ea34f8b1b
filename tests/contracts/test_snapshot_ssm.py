"""SnapshotSource of AWS SSM, against moto's server: SSM's and IAM's HTTP interface in a process of its own."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from onlyvips.adapters import snapshot_ssm
from onlyvips.adapters.snapshot_ssm import SsmSnapshot
from onlyvips.errors import OnlyVipsError, Permanent, Transient
from tests.moto import HERE, THERE, Moto, serving
from tests.simulators.clock import SimClock

ROOT = "/onlyvips"
VALUES = {f"{ROOT}/many/p{number:02}": f"geheim-{number}" for number in range(12)}


@pytest.fixture(scope="module")
def process() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def server(process: str) -> Iterator[Moto]:
    found = Moto(process)
    found.tell("reset")
    for name, value in VALUES.items():
        found.put(name, value)
    yield found
    found.close()


def lines(source: SsmSnapshot) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(source.snapshot()).splitlines()]


def test_ssm_says_where_it_is_and_how_many_parameters_there_are_but_no_names(server: Moto):
    told = server.source(ROOT).describe()
    assert told == {"dialect": "ssm", "version": "2014-11-06", "region": HERE, "parameters": "12"}


def test_after_a_snapshot_the_count_is_of_what_that_holds(server: Moto):
    source = server.source(ROOT)
    assert len(lines(source)) == 12
    server.put(f"{ROOT}/new", "x")
    assert source.describe()["parameters"] == "12"


def test_every_parameter_below_the_path_is_a_line_sorted_by_name(server: Moto):
    server.put(f"{ROOT}/a", "é\n\x7f\U0001f511")
    server.put("/onlyvips-other/x", "not ours")
    server.put("flat", "not ours")
    found = {line["put"]["Name"]: line["put"]["Value"] for line in lines(server.source(ROOT))}
    assert found == {f"{ROOT}/a": "é\n\x7f\U0001f511", **VALUES}
    assert list(found) == sorted(found)


def test_the_same_parameters_are_the_same_bytes(server: Moto):
    assert b"".join(server.source(ROOT).snapshot()) == b"".join(server.source(ROOT).snapshot())


def test_several_paths_are_one_snapshot_and_the_root_is_everything(server: Moto):
    server.put("/other/x", "x")
    server.put("flat", "x")
    assert len(lines(server.source(ROOT, "/other"))) == 13
    assert len(lines(server.source("/"))) == 14


def test_a_line_says_all_that_it_takes_to_make_the_parameter_again(server: Moto):
    tags = [{"Key": "owner", "Value": "backend"}, {"Key": "area", "Value": "jwt"}]
    rest = {"Description": "signs", "AllowedPattern": "x*", "Tier": "Advanced", "KeyId": "alias/ours"}
    server.put("/one/key", "x" * 5000, Tags=tags, **rest)
    server.put("/one/key", "x" * 4999, Overwrite=True, **rest)
    (line,) = lines(server.source("/one"))
    assert line["version"] == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["modified"])
    named = {"Name": "/one/key", "Value": "x" * 4999, "Type": "SecureString", "DataType": "text"}
    assert line["put"] == {**named, **rest, "Tags": tags[::-1]}


def test_put_parameter_line_by_line_brings_all_back_in_another_region(server: Moto):
    server.put(f"{ROOT}/list", "a,b", Type="StringList", Tags=[{"Key": "k", "Value": "v"}])
    server.put(f"{ROOT}/plain", " x ", Type="String", Description="d")
    kept = lines(server.source(ROOT))
    for line in kept:
        server.client(region=THERE).put_parameter(**line["put"])
    assert [line["put"] for line in lines(server.source(ROOT, region=THERE))] == [line["put"] for line in kept]
    ours = server.client(region=THERE).get_parameter(Name=f"{ROOT}/many/p07", WithDecryption=True)["Parameter"]
    assert (ours["Value"], ours["Type"]) == ("geheim-7", "SecureString")


def test_policies_come_as_put_parameter_takes_them():
    """By the form that AWS documents; moto gives another."""
    texts = ['{"Type":"Expiration","Version":"1.0"}', '{"Type":"NoChangeNotification","Version":"1.0"}']
    policies = [{"PolicyText": text, "PolicyType": "x", "PolicyStatus": "Pending"} for text in texts]
    described = {"Name": "/a", "Version": 1, "LastModifiedDate": datetime(2026, 8, 1, tzinfo=UTC), "Policies": policies}
    line = json.loads(snapshot_ssm._line(described, "v", []))
    assert json.loads(line["put"]["Policies"]) == [json.loads(text) for text in texts]
    assert line["modified"] == "2026-08-01T00:00:00.000Z"


# --- one moment, or none

CHANGES: dict[str, Callable[[Any], object]] = {
    "a new value": lambda ssm: ssm.put_parameter(Name=f"{ROOT}/many/p11", Value="other", Overwrite=True),
    "a new parameter": lambda ssm: ssm.put_parameter(Name=f"{ROOT}/new", Value="other", Type="SecureString"),
    "one less": lambda ssm: ssm.delete_parameter(Name=f"{ROOT}/many/p11"),
    "one made anew": lambda ssm: (
        ssm.delete_parameter(Name=f"{ROOT}/many/p11"),
        ssm.put_parameter(Name=f"{ROOT}/many/p11", Value="other", Type="SecureString"),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("after", [0.25, 1.0, 1.55])
def test_a_change_while_it_is_read_is_noticed(server: Moto, change: str, after: float):
    """After the list, before some of the values, and when all but the last tag were read."""
    clock = SimClock()
    clock.after(after, lambda: CHANGES[change](server.client()))
    with pytest.raises(Transient, match="changed while they were read.*take it again") as raised:
        list(server.source(ROOT, clock=clock).snapshot())
    assert clock.monotonic() >= after
    assert not re.search(r"other|geheim|p11", str(raised.value))


def test_what_changed_before_or_after_is_no_matter(server: Moto):
    clock = SimClock()
    clock.after(1000.0, lambda: CHANGES["a new value"](server.client()))
    CHANGES["one less"](server.client())
    assert len(list(server.source(ROOT, clock=clock).snapshot())) == 11


def test_ssm_is_asked_at_most_ten_times_a_second(server: Moto):
    clock = SimClock()
    list(server.source(ROOT, clock=clock).snapshot())
    assert clock.monotonic() > 0.1 * (12 + 3)


# --- what is refused


def test_nothing_below_a_path_is_an_error_and_never_an_empty_backup(server: Moto):
    for paths in (["/none"], [ROOT, "/none"], ["/only"]):
        with pytest.raises(Permanent, match=f"no parameter below {paths[-1]}, and nothing is no backup"):
            list(server.source(*paths).snapshot())


def test_a_credential_without_the_right_or_with_a_wrong_key_is_told_what_it_needs(server: Moto):
    server.client("iam").create_user(UserName="reader")
    key = server.client("iam").create_access_key(UserName="reader")["AccessKey"]
    server.tell("reset-auth", b"0")
    try:
        for secret in (key["SecretAccessKey"], "wrong-secret"):
            source = SsmSnapshot(HERE, [ROOT], key["AccessKeyId"], secret, SimClock(), endpoint=server.url)
            with pytest.raises(Permanent, match=r"ssm:DescribeParameters.*kms:Decrypt") as raised:
                source.describe()
            assert secret not in str(raised.value)
    finally:
        server.tell("reset-auth", b"inf")


@pytest.mark.parametrize(
    ("status", "code", "kind", "sentence"),
    [
        (400, "ThrottlingException", Transient, "just now .400 ThrottlingException.: try again"),
        (500, "InternalServerError", Transient, "try again"),
        (400, "AccessDeniedException", Permanent, "give this credential the rights ssm:DescribeParameters"),
        (400, "UnrecognizedClientException", Permanent, "correct the keys that backup.secrets refers to"),
        (400, "InvalidKeyId", Permanent, "a KMS key of theirs is disabled or gone"),
        (400, "ValidationException", Permanent, "correct backup.secrets"),
    ],
)
def test_what_aws_says_becomes_what_to_do(status: int, code: str, kind: type[OnlyVipsError], sentence: str):
    answer: Any = {"Error": {"Code": code, "Message": "geheim"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = snapshot_ssm._from_answer(ClientError(answer, "GetParameters"), "SSM: cannot")
    assert type(error) is kind
    assert re.search(sentence, str(error))
    assert "geheim" not in str(error)


def test_an_ssm_that_is_away_may_be_asked_again():
    source = SsmSnapshot(HERE, [ROOT], "any", "any", SimClock(), endpoint="http://127.0.0.1:1")
    with pytest.raises(Transient, match="nothing answers there"):
        source.describe()


def test_an_address_that_is_no_url_is_not_shown():
    with pytest.raises(Permanent, match="no URL") as raised:
        SsmSnapshot(HERE, [ROOT], "any", "any", SimClock(), endpoint="geheim")
    assert "geheim" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_nothing_of_the_users_own_aws_set_up_is_read(server: Moto, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    assert server.source(ROOT).describe()["parameters"] == "12"
