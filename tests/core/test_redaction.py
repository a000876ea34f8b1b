"""What a difference of the configuration does not show: by names, by looks, inside of texts."""

from __future__ import annotations

from typing import Any

import pytest

from onlyvips.core.configuration_restore import Change, diff
from onlyvips.core.redaction import hidden

HEX = "0f" * 16
DIGEST = "sha256:" + "ab12" * 16
IMAGE = f"ghcr.io/onlyvips/backend@{DIGEST}"


@pytest.mark.parametrize(
    "name",
    ["password", "DB_PASSWORD", "token", "ENCRYPTION_KEY", "apiKey", "SMTP_PW", "pw", "dbPwd", "SENTRY_DSN", "key"],
)
def test_what_a_name_tells_to_be_secret_is_not_shown(name: str) -> None:
    assert hidden({name: "hunter2"}, None, "live") == {name: "(not shown)"}
    if name != "key":
        assert hidden([{"name": name, "value": "hunter2"}], None, "live") == [{"name": name, "value": "(not shown)"}]


@pytest.mark.parametrize(
    "value",
    [
        {"secretName": "jwt", "LEVEL": "debug", "topologyKey": "zone", "n": 1},
        {"secretKeyRef": {"name": "jwt", "key": "JWT"}, "items": [{"key": "a", "path": "b"}]},
        [{"key": "a", "operator": "Exists"}],
        [IMAGE, DIGEST, f"image: {IMAGE} # {DIGEST}", "a plain text", "replicas: 3\nport: 80", "https://h/path?x=1"],
    ],
)
def test_what_is_no_secret_is_shown(value: Any) -> None:
    assert hidden(value, None, "live") == value


@pytest.mark.parametrize(
    "value", ["Ab1" * 10, "eyJhbGciOiJ9.e30.x", HEX, HEX.upper(), "-----BEGIN PRIVATE KEY-----\nx"]
)
def test_what_looks_like_a_key_is_not_shown(value: str) -> None:
    assert hidden([value], None, "live") == ["(not shown)"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password: hunter2", "password: (not shown)"),
        ("a: 1\npassword: hunter two\nlevel: info", "a: 1\npassword: (not shown)\nlevel: info"),
        ("Server=db;Password=hunter2;Database=x", "Server=db;Password=(not shown);Database=x"),
        ('{"password": "hunter\\" 2", "level": "info"}', '{"password": (not shown), "level": "info"}'),
        ("token: |\n  hunter2\n\n  hunter3\nlevel: info", "token: |\n  (not shown)\n\n  (not shown)\nlevel: info"),
        ("credentials:\n  - hunter2\nlevel: info", "credentials:\n  (not shown)\nlevel: info"),
        ('{\n "tokens": {\n  "a": "hunter2"\n },\n "b": 1\n}', '{\n "tokens": {\n  (not shown)\n },\n "b": 1\n}'),
        ("smtp_pw = hunter2", "smtp_pw = (not shown)"),
        (f"seed {HEX} of {IMAGE}", f"seed (not shown) of {IMAGE}"),
        (f"A={HEX}\nB=debug", "A=(not shown)\nB=debug"),
        ("redis://u:hunter2@h/0", "redis://(not shown)@h/0"),
    ],
)
def test_what_is_secret_in_a_text_is_not_shown_and_the_rest_of_it_is(text: str, shown: str) -> None:
    assert hidden(text, None, "live") == shown


def test_it_is_seen_that_two_differ_and_that_they_do_not() -> None:
    assert hidden({"token": "a"}, {"token": "b"}, "live") == {"token": "(not shown: live)"}
    assert hidden({"token": "a"}, {"token": "a"}, "live") == {"token": "(not shown)"}
    assert hidden("password: a\nx: 1", "password: b\nx: 1", "live") == "password: (not shown: live)\nx: 1"
    assert hidden("password: a\nx: 1", "password: a\nx: 2", "live") == "password: (not shown)\nx: 1"


def test_a_file_in_a_config_map_is_compared_line_by_line() -> None:
    def settings(*lines: str) -> dict[str, Any]:
        return {"kind": "ConfigMap", "data": {"application.yaml": "\n".join(lines)}}

    before = settings("server:", "  port: 1", "  name: a", "  x: y", "database:", "  password: hunter1", "")
    after = settings("server:", "  port: 2", "  name: a", "  x: y", "database:", "  password: hunter2", "")
    told = list(diff(Change("ConfigMap/settings", after, before, after, False)))
    changed = [line.replace(" ", "") for line in told if line[0] in "-+" and line[:3] not in ("---", "+++")]
    assert changed == [
        '-"port:1",',
        '+"port:2",',
        '-"password:(notshown:live)",',
        '+"password:(notshown:ofthebackup)",',
    ]
