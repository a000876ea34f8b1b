"""SnapshotSource of Redis: one suite for the simulator and for the lab's real Redis."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from onlyvips.adapters.snapshot_redis import RedisSnapshot
from onlyvips.core.rdb import Rdb
from onlyvips.errors import OnlyVipsError, Permanent, Refused, Transient
from onlyvips.steps.redis_snapshots import new_reader
from tests.redis_server import Server, contents, serving
from tests.simulators.redis import PASSWORD, SimulatedRedis

SECRET = "hunter2-geheim"


def taken(source: RedisSnapshot) -> tuple[bytes, Rdb]:
    """A snapshot, and what the check of it says."""
    snapshot, reader = b"".join(source.snapshot()), new_reader()
    reader.feed(snapshot)
    return snapshot, reader.finish()


@dataclass
class Simulated:
    url: str
    server: SimulatedRedis

    def keep(self, database: int, key: bytes, value: bytes) -> None:
        self.server.databases.setdefault(database, {})[key] = value

    def restores(self, snapshot: bytes) -> bool:
        return self.server.restores(snapshot)

    def sends_a_length(self) -> None:
        self.server.length_is_known = True


@dataclass
class Real:
    lab: Any
    server: Server
    folder: Path
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = self.server.url

    def keep(self, database: int, key: bytes, value: bytes) -> None:
        with self.server.client(database) as client:
            client.set(key, value)

    def restores(self, snapshot: bytes) -> bool:
        """Into a server of its own, which has then what this one has."""
        other = self.folder / "other"
        other.mkdir()
        (other / "dump.rdb").write_bytes(snapshot)
        with serving(self.lab, other) as back:
            return contents(back.url) == contents(self.url) != {}

    def sends_a_length(self) -> None:
        with self.server.client() as client:
            client.config_set("repl-diskless-sync", "no")


@pytest.fixture
def redis() -> SimulatedRedis:
    return SimulatedRedis()


@pytest.fixture
def simulated(redis: SimulatedRedis) -> Iterator[Simulated]:
    with redis.serving() as url:
        yield Simulated(url, redis)


@pytest.fixture
def real(lab: Any, tmp_path: Path) -> Iterator[Real]:
    with serving(lab, tmp_path / "redis", requirepass=PASSWORD) as server:
        place = Real(lab, server, tmp_path)
        place.keep(0, b"a", b"1")
        yield place


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.lab)])
def place(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


# --- the contract


def test_redis_says_who_it_is(place: Any):
    told = RedisSnapshot(place.url).describe()
    assert (told["dialect"], told["role"]) == ("redis", "master")
    assert re.match(r"\d+\.\d+", told["version"])


@pytest.mark.parametrize("length", [False, True], ids=["up to a mark", "of a length"])
def test_a_snapshot_has_every_database_and_redis_itself_loads_it(place: Any, length: bool):
    if length:
        place.sends_a_length()
    place.keep(0, "ünï".encode(), bytes(range(256)) * 1000)
    place.keep(7, b"elsewhere", b"")
    snapshot, found = taken(RedisSnapshot(place.url))
    assert {one.number: one.keys for one in found.databases} == {0: 2, 7: 1}
    assert place.restores(snapshot)


def test_a_snapshot_comes_in_pieces_of_bounded_size(place: Any):
    place.keep(0, b"big", bytes(3 << 20))
    sizes = [len(chunk) for chunk in RedisSnapshot(place.url).snapshot()]
    assert max(sizes) <= 2 * 256 * 1024


def test_a_snapshot_may_be_given_up_and_taken_again(place: Any):
    for number in range(2000):
        place.keep(0, b"%d" % number, b"x" * 1000)
    source = RedisSnapshot(place.url)
    first = source.snapshot()
    assert list(islice((chunk for chunk in first if chunk), 1))
    first.close()  # type: ignore[attr-defined]
    assert taken(source)[1].keys == 2001


def test_a_wrong_password_is_told_and_not_shown(place: Any):
    for url in (place.url.replace(PASSWORD, SECRET), place.url.replace(f":{PASSWORD}@", "")):
        for ask in (RedisSnapshot(url).describe, lambda url=url: list(RedisSnapshot(url).snapshot())):
            with pytest.raises(Permanent, match="it does not let us in: correct user and password") as raised:
                ask()
            assert SECRET not in str(raised.value) and url not in str(raised.value)


# --- real servers that are not as they should be


@pytest.fixture
def start(lab: Any, tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as stack:
        yield lambda name, **settings: stack.enter_context(serving(lab, tmp_path / name, **settings))


def filled(server: Server) -> Server:
    with server.client() as client:
        client.set("a", 1)
    return server


@pytest.mark.lab
def test_a_node_of_a_cluster_is_refused_by_name(start: Any):
    with pytest.raises(Refused, match="it is one node of a cluster, which is not all of it"):
        RedisSnapshot(start("node", cluster_enabled="yes").url).describe()


@pytest.mark.lab
def test_a_sentinel_is_refused_by_name(start: Any):
    watched = start("watched")
    sentinel = start("sentinel", sentinel_of=watched.port)
    with pytest.raises(Refused, match="it is a Sentinel.*name the server that it watches"):
        RedisSnapshot(sentinel.url).describe()


@pytest.mark.lab
def test_a_replica_is_read_only_where_it_is_allowed_and_only_with_its_link(start: Any):
    primary = filled(start("primary"))
    replica = start("replica", replicaof=f"127.0.0.1 {primary.port}")
    with replica.client() as client:
        while client.info("replication")["master_link_status"] != "up":
            time.sleep(0.02)
        with pytest.raises(Refused, match=r"is a replica: name its primary, or write `backup\.redis\.replica: true`"):
            RedisSnapshot(replica.url).describe()
        source = RedisSnapshot(replica.url, replica=True)
        assert source.describe()["role"] == "slave"
        assert taken(source)[1].keys == 1
        client.replicaof("127.0.0.1", 1)
    source = RedisSnapshot(replica.url, replica=True)  # the one before tells of what it read
    for ask in (source.describe, lambda: list(source.snapshot())):
        with pytest.raises(Transient, match="without a link to its primary, so its data are stale"):
            ask()


@pytest.mark.lab
def test_a_server_without_keys_is_no_backup(start: Any):
    with pytest.raises(Refused, match="it has no keys, and nothing is no backup"):
        RedisSnapshot(start("empty").url).describe()


@pytest.mark.lab
@pytest.mark.parametrize("command", ["PSYNC", "REPLCONF", "INFO"])
def test_a_user_who_may_not_is_told_which_rights_it_needs(start: Any, command: str):
    server = filled(start("acl"))
    with server.client() as client:
        rights = [f"+{name}" for name in ("info", "replconf", "psync") if name != command.lower()]
        client.execute_command("ACL", "SETUSER", "backup", "on", f">{SECRET}", *rights)
    source = RedisSnapshot(server.url.replace("redis://", f"redis://backup:{SECRET}@"))
    with pytest.raises(Permanent, match=r"its ACL forbids it: give this user \+psync \+replconf \+info") as raised:
        list(source.snapshot())
    assert SECRET not in str(raised.value)


@pytest.mark.lab
def test_the_rights_that_the_sentence_names_are_enough(start: Any):
    server = filled(start("acl"))
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "backup", "on", f">{SECRET}", "+psync", "+replconf", "+info")
    source = RedisSnapshot(server.url.replace("redis://", f"redis://backup:{SECRET}@"))
    assert source.describe()["version"] and taken(source)[1].keys == 1


@pytest.mark.lab
def test_a_server_that_forbids_replication_is_refused_as_managed_ones_are(start: Any):
    with pytest.raises(Refused, match="does not know INFO, REPLCONF or PSYNC, as managed Redis"):
        list(RedisSnapshot(filled(start("managed", rename_command='PSYNC ""')).url).snapshot())


@pytest.mark.lab
@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_a_server_that_computes_no_checksum_is_walked_to_the_end(start: Any, diskless: str):
    server = filled(start("bare", rdbchecksum="no", repl_diskless_sync=diskless))
    found = taken(RedisSnapshot(server.url))[1]
    assert (found.crc64, found.keys) == ("0" * 16, 1)


@pytest.mark.lab
def test_a_snapshot_comes_by_tls_from_a_server_that_is_trusted_alone(start: Any, tmp_path: Path):
    authority = certificate(tmp_path)
    files = {"tls_cert_file": authority, "tls_key_file": tmp_path / "key.pem", "tls_ca_cert_file": authority}
    server = start("tls", tls_auth_clients="no", **files)
    filled(server)
    with server.client() as client:
        client.config_set("port", 0)
        client.config_set("tls-port", server.port)
    url = f"rediss://127.0.0.1:{server.port}"
    with pytest.raises(Permanent, match="its certificate is not to be trusted from here"):
        RedisSnapshot(url).describe()
    source = RedisSnapshot(f"{url}?ssl_ca_certs={authority}")
    assert source.describe()["version"] and taken(source)[1].keys == 1


def certificate(folder: Path) -> Path:
    """Of 127.0.0.1, signed by its own key, which is beside it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (folder / "certificate.pem").write_bytes(made.public_bytes(pem))
    return folder / "certificate.pem"


# --- what only the simulator does when it is told


def test_a_server_before_6_2_goes_on_sending_and_is_left_after_the_rdb(redis: SimulatedRedis, simulated: Simulated):
    redis.knows_rdb_only, redis.goes_on_with = False, b"*1\r\n$4\r\nPING\r\n"
    for length in (False, True):
        redis.length_is_known = length
        assert simulated.restores(taken(RedisSnapshot(simulated.url))[0])


def test_signs_of_life_before_an_rdb_are_passed_on_as_nothing(redis: SimulatedRedis, simulated: Simulated):
    redis.signs_of_life = 3
    for length in (False, True):
        redis.length_is_known = length
        chunks = list(RedisSnapshot(simulated.url).snapshot())
        assert chunks[:6] == [b""] * 6
        assert simulated.restores(b"".join(chunks))


@pytest.mark.parametrize("length", [False, True], ids=["up to a mark", "of a length"])
@pytest.mark.parametrize("after", [0, 1, 30, 40, -1])
def test_a_connection_that_drops_in_the_middle_may_be_asked_again(
    redis: SimulatedRedis, simulated: Simulated, length: bool, after: int
):
    redis.length_is_known, redis.cuts_after = length, after
    with pytest.raises(Transient, match="not to the end.*it closed the connection.*try again"):
        list(RedisSnapshot(simulated.url).snapshot())


@pytest.mark.parametrize(
    ("told", "kind", "sentence"),
    [
        ({"loading": 1}, Transient, "it is still loading its data"),
        ({"role": "slave", "master_link_status": "down"}, Transient, "its data are stale: mend the link"),
        (
            {"role": "slave", "master_link_status": "down", "master_sync_in_progress": 1},
            Transient,
            "still being filled by its primary",
        ),
        ({"redis_mode": "sentinel"}, Refused, "it is a Sentinel"),
        ({"redis_mode": "cluster"}, Refused, "one node of a cluster"),
    ],
)
def test_what_info_says_is_believed_before_anything_is_read(
    redis: SimulatedRedis, simulated: Simulated, told: dict[str, Any], kind: type[OnlyVipsError], sentence: str
):
    redis.info = told
    source = RedisSnapshot(simulated.url, replica=True)
    for ask in (source.describe, lambda: list(source.snapshot())):
        with pytest.raises(kind, match=sentence):
            ask()
    assert not any(words.startswith("PSYNC") for words in redis.asked)


def test_after_a_snapshot_it_says_of_whom_that_is_whatever_came_of_the_server(
    redis: SimulatedRedis, simulated: Simulated
):
    source = RedisSnapshot(simulated.url)
    before = source.describe()
    list(source.snapshot())
    redis.info, redis.databases = {"role": "slave", "redis_version": "9.9"}, {}
    assert source.describe() == before


@pytest.mark.parametrize(
    ("command", "said", "kind", "sentence"),
    [
        ("INFO", "LOADING Redis is loading the dataset in memory", Transient, "it is still loading"),
        ("PSYNC", "NOMASTERLINK Can't SYNC while not connected with my master", Transient, "says `NOMASTERLINK Can't"),
        ("PSYNC", "LOADING Redis is loading the dataset in memory", Transient, "says `LOADING"),
        ("PSYNC", "NOPERM this user has no permissions", Permanent, r"its ACL forbids it: give this user \+psync"),
        ("PSYNC", "ERR unknown command 'PSYNC'", Refused, "as managed Redis does not"),
        ("PSYNC", "ERR \x1b[31msomething else", Permanent, r"it says `ERR \[31msomething else`: look into its log"),
        ("REPLCONF", "ERR unknown command 'REPLCONF'", Refused, "as managed Redis does not"),
        ("REPLCONF", "ERR something else", Permanent, "it says `ERR something else`|it says `something else`"),
    ],
)
def test_other_answers_are_told_as_they_are(
    redis: SimulatedRedis, simulated: Simulated, command: str, said: str, kind: type[OnlyVipsError], sentence: str
):
    redis.says = {command: said}
    with pytest.raises(kind, match=sentence):
        list(RedisSnapshot(simulated.url).snapshot())


def test_a_save_that_fails_at_the_server_may_be_asked_again(redis: SimulatedRedis, simulated: Simulated):
    redis.fails_to_save = True
    with pytest.raises(Transient, match="BGSAVE failed, replication can't continue"):
        list(RedisSnapshot(simulated.url).snapshot())


def test_a_redis_that_is_away_may_be_asked_again():
    with pytest.raises(Transient, match=r"127\.0\.0\.1:1: cannot take its RDB now, for it did not answer"):
        RedisSnapshot("redis://127.0.0.1:1").describe()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis",
        "redis:///0",
        f"http://:{SECRET}@h",
        f"redis://:{SECRET}@h:port",
        f"redis://h?{SECRET}=1",
        "unix:///socket",
    ],
)
def test_a_url_that_cannot_be_understood_is_not_shown(url: str):
    with pytest.raises(Permanent, match="The URL of Redis cannot be understood") as raised:
        RedisSnapshot(url)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None
