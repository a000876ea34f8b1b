"""ParameterStore of AWS SSM, against moto's server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from onlyvips.adapters.parameters_ssm import SsmParameters
from onlyvips.core.secrets_restore import Parameter, differing
from onlyvips.errors import Conflict, Permanent, Transient
from tests.moto import HERE, THERE, Moto, serving
from tests.simulators.clock import SimClock

ROOT = "/onlyvips"
TAGS = [{"Key": "area", "Value": "jwt"}, {"Key": "owner", "Value": "backend"}]


@pytest.fixture(scope="module")
def process() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def server(process: str) -> Iterator[Moto]:
    found = Moto(process)
    found.tell("reset")
    yield found
    found.close()


def store(server: Moto, region: str = HERE) -> SsmParameters:
    return SsmParameters(region, (ROOT,), "any", "any", SimClock(), endpoint=server.url)


def parameter(name: str, value: str, **more: Any) -> Parameter:
    put = {"Name": f"{ROOT}/{name}", "Value": value, "Type": "SecureString", "DataType": "text", "Tier": "Standard"}
    return Parameter({**put, "KeyId": "alias/aws/ssm", **more}, 1)


def test_none_at_all_is_no_parameters_and_no_error(server: Moto):
    assert store(server).parameters() == {}


def test_it_is_told_apart_by_account_region_and_address(server: Moto):
    assert store(server).identity() == store(server).identity() != store(server, THERE).identity()


def test_what_is_made_is_there_with_all_that_was_said_of_it(server: Moto):
    made = [
        parameter("a", "geheim", Tags=TAGS, Description="signs"),
        parameter("b", "x" * 5000, Tier="Advanced", AllowedPattern="x*"),
        Parameter(
            {"Name": f"{ROOT}/c", "Value": "a,b", "Type": "StringList", "DataType": "text", "Tier": "Standard"}, 1
        ),
    ]
    for one in made:
        store(server).make(one)
    found = store(server).parameters()
    assert {name: dict(one.put) for name, one in found.items()} == {one.put["Name"]: dict(one.put) for one in made}
    assert [one.version for one in found.values()] == [1, 1, 1]


def test_one_that_is_there_is_not_made_again_and_its_value_is_not_shown(server: Moto):
    server.put(f"{ROOT}/a", "theirs")
    with pytest.raises(Conflict, match="somebody else writes") as raised:
        store(server).make(parameter("a", "geheim"))
    assert "geheim" not in str(raised.value) and raised.value.__cause__ is None
    assert store(server).parameters()[f"{ROOT}/a"].put["Value"] == "theirs"


def test_what_is_no_parameter_is_refused_and_its_value_is_not_shown(server: Moto):
    with pytest.raises(Permanent, match="it is no parameter") as raised:
        store(server).make(parameter("a", ["geheim"]))  # type: ignore[arg-type]
    assert "geheim" not in str(raised.value) and raised.value.__cause__ is None and raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("there", "versions"),
    [
        (parameter("a", "old", Tags=TAGS, Description="signs"), 1),
        (parameter("a", "geheim", Tags=TAGS, Description="other"), 1),
        (parameter("a", "geheim", Description="signs"), 0),
        (parameter("a", "geheim", Description="signs", Tags=[*TAGS, {"Key": "new", "Value": "x"}]), 0),
        (parameter("a", "old", Tags=[{"Key": "owner", "Value": "x"}, {"Key": "new", "Value": "x"}]), 1),
        (parameter("a", "geheim", Tags=TAGS, Description="signs", AllowedPattern="g.*"), 1),
    ],
    ids=["value", "description", "no tags", "a tag more", "all", "pattern"],
)
def test_a_change_makes_it_what_is_wanted_and_once_more_nothing(server: Moto, there: Parameter, versions: int):
    wanted = parameter("a", "geheim", Tags=TAGS, Description="signs")
    store(server).make(there)
    for _ in range(2):
        found = store(server).parameters()[f"{ROOT}/a"]
        store(server).change(wanted, found)
        now = store(server).parameters()[f"{ROOT}/a"]
        assert differing(wanted, now) == ()
        assert now.version == 1 + versions


def test_an_advanced_one_stays_advanced(server: Moto):
    store(server).make(parameter("a", "old", Tier="Advanced"))
    store(server).change(parameter("a", "new"), store(server).parameters()[f"{ROOT}/a"])
    found = store(server).parameters()[f"{ROOT}/a"]
    assert (found.put["Tier"], found.put["Value"]) == ("Advanced", "new")
    assert differing(parameter("a", "new"), found) == ()


def test_who_may_not_write_is_told_which_rights_it_needs(server: Moto):
    client = server.client("iam")
    client.create_user(UserName="reader")
    keys = client.create_access_key(UserName="reader")["AccessKey"]
    mine = SsmParameters(HERE, (ROOT,), keys["AccessKeyId"], keys["SecretAccessKey"], SimClock(), endpoint=server.url)
    server.tell("reset-auth", b"0")
    with pytest.raises(Permanent, match="cannot write the parameters .* the rights ssm:PutParameter") as raised:
        mine.make(parameter("a", "geheim"))
    server.tell("reset-auth", b"inf")
    assert "geheim" not in str(raised.value)


def test_a_store_that_is_away_may_be_asked_again():
    away = SsmParameters(HERE, (ROOT,), "any", "any", SimClock(), endpoint="http://127.0.0.1:1")
    for ask in (away.parameters, away.identity, lambda: away.make(parameter("a", "geheim"))):
        with pytest.raises(Transient) as raised:
            ask()
        assert "geheim" not in str(raised.value)
