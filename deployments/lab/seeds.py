"""What a lab has before its servers start: keys, tokens, folders, cached data."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pyrage
import redis
import repository
import stores
import yaml
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from home import Home, Settings, write
from pymongo import MongoClient
from pymongo.errors import PyMongoError

OPLOG_SIZE, OPLOG_ENTRIES, OPLOG_TRIMMED = 1 << 30, 20_000, 10.0
"""Bytes (FerretDB asks for a size), entries, and the seconds after which what is over that is removed."""
MEDIA = "onlyvips-media"
"""The bucket of the platform's media, at s3-a."""
AWS_KEY = "lab"
"""moto asks for a key, and takes any."""


def sow(home: Home, settings: Settings, databases: dict[str, Path]) -> None:
    """Everything at once; what is there already stays. `databases` are files for empty folders."""
    for bucket in (*stores.BUCKETS, MEDIA):
        (home.data / "s3-a" / bucket).mkdir(parents=True, exist_ok=True)
    for folder in ("s3-a-versions", "minio", "directory", "mongodb", "prefect", "redis"):
        (home.data / folder).mkdir(exist_ok=True)
    for folder, file in databases.items():
        if file.exists() and not any((home.data / folder).iterdir()):
            shutil.copyfile(file, home.data / folder / file.name)
    stores.write_accounts(home, settings)
    write_cluster_keys(home, settings)
    repository.make(home.data / "repository")


def fill_ssm(url: str, secrets: Mapping[str, str]) -> None:
    """The platform's parameters; moto keeps them in memory, so they are new at every start."""
    keys = {"aws_access_key_id": AWS_KEY, "aws_secret_access_key": AWS_KEY}
    client = boto3.client("ssm", endpoint_url=url, region_name="eu-central-1", **keys)
    for name, value in secrets.items():
        path = f"/onlyvips/lab/{name}"
        client.put_parameter(Name=path, Value=value, Type="SecureString", Tags=[{"Key": "owner", "Value": "backend"}])
    client.put_parameter(Name="/onlyvips/lab/domains", Value="api.onlyvips.com", Type="StringList")
    client.close()


def begin_oplog(uri: str) -> None:
    """FerretDB logs what is written once this capped collection is there; nothing when it is. Never left empty."""
    with MongoClient[dict[str, Any]](uri) as client:
        if "oplog.rs" not in client.local.list_collection_names():
            client.local.create_collection("oplog.rs", capped=True, size=OPLOG_SIZE, max=OPLOG_ENTRIES)
            client.local.startup_log.insert_one({"startTime": datetime.now(UTC)})


def keep_oplog(uri: str) -> None:
    """Begin it, and from then on keep it short: every question about it makes FerretDB read all of it."""

    def trim() -> None:
        with MongoClient[dict[str, Any]](uri) as client:
            while True:
                time.sleep(OPLOG_TRIMMED)
                with suppress(PyMongoError):  # it may be down, or have no oplog just now
                    client.local.command("compact", "oplog.rs")

    begin_oplog(uri)
    threading.Thread(target=trim, name="oplog", daemon=True).start()


def end_oplog(uri: str) -> None:
    """No log of what comes until it begins anew: a timeline of slices ends with it."""
    with MongoClient[dict[str, Any]](uri) as client:
        client.local["oplog.rs"].drop()


def fill_media(url: str, access: str, secret: str) -> None:
    """Some media where there are none: small ones, an empty one, odd names, and one that is uploaded in parts."""
    config = Config(s3={"addressing_style": "path"})
    keys = {"aws_access_key_id": access, "aws_secret_access_key": secret}
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config, **keys)
    if not client.list_objects_v2(Bucket=MEDIA, MaxKeys=1).get("Contents"):
        for number in range(200):
            client.put_object(Bucket=MEDIA, Key=f"photos/{number % 10}/{number}.jpg", Body=noise(number, 20_000))
        for name in ("empty", "photos/größe ünïcode.jpg", ".well-known/assetlinks.json"):
            client.put_object(Bucket=MEDIA, Key=name, Body=noise(len(name), 0 if name == "empty" else 500))
        parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
        client.upload_fileobj(io.BytesIO(noise(0, 12 << 20)), MEDIA, "videos/intro.mp4", Config=parts)
    client.close()


def noise(seed: int, size: int) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return hashlib.shake_128(seed.to_bytes(4, "big")).digest(size)


def fill_redis(url: str) -> None:
    """Keys of every type, in two databases, some of which expire; what is there already stays."""
    with redis.Redis.from_url(url) as cache, redis.Redis.from_url(url, db=3) as other:
        if cache.dbsize():
            return
        cache.mset({f"user_profile:{number}": f"profile {number} " * 20 for number in range(2000)})
        cache.set("content_list:1", "[1, 2, 3]", ex=86_400)
        cache.set("counter", 41)
        cache.set("bytes", bytes(range(256)))
        cache.rpush("queue", *range(500), "x" * 10_000)
        cache.hset("session:1", mapping={"user": "1", "role": "shower"})
        cache.hset("analytics", mapping={f"day:{number}": number * 7 for number in range(1000)})
        cache.sadd("online", 1, 2, 3)
        cache.sadd("tags", *(f"tag {number}" for number in range(1000)))
        cache.zadd("leaderboard", {f"user:{number}": number / 7 for number in range(1000)})
        for number in range(300):
            cache.xadd("events", {"number": number}, id=f"{number + 1}-0")
        cache.xgroup_create("events", "workers", "0")
        cache.xreadgroup("workers", "first", {"events": ">"}, count=20)
        cache.pfadd("visitors", *range(1000))
        other.mset({f"job:{number}": number for number in range(50)})
        other.expire("job:1", 86_400)


def write_cluster_keys(home: Home, settings: Settings) -> None:
    """The administrator's token and kubeconfig, and the key that signs service accounts' tokens."""
    token = settings.secrets["admin-token"]
    write(home.keys / "admin.token", token)
    write(home.keys / "tokens.csv", f'{token},admin,admin,"system:masters"\n')
    if not (home.keys / "service-accounts.pem").exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        write(home.keys / "service-accounts.pem", pem.decode())
    cluster = {
        "server": f"https://127.0.0.1:{settings.ports['apiserver']}",
        "certificate-authority": str(home.data / "apiserver" / "apiserver.crt"),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin", "namespace": "production"}}],
        "current-context": "lab",
    }
    write(home.kubeconfig, yaml.safe_dump(config))


def age_recipients(home: Home) -> list[str]:
    """The public keys of the lab's two age identities, which are made when they are missing."""
    recipients = []
    for number in (1, 2):
        path = home.keys / f"age-{number}.txt"
        if not path.exists():
            write(path, f"{pyrage.x25519.Identity.generate()}\n")
        recipients.append(str(pyrage.x25519.Identity.from_str(path.read_text().strip()).to_public()))
    return recipients


def drill_keys(home: Home) -> tuple[str, str]:
    """The pair that signs the lab's records of drills, which is made when it is missing: private, public."""
    path = home.keys / "drill.key"
    if not path.exists():
        seed = ed25519.Ed25519PrivateKey.generate().private_bytes_raw()
        write(path, f"ed25519-private:{base64.b64encode(seed).decode()}\n")
    text = path.read_text().strip()
    key = ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(text.partition(":")[2]))
    return text, f"ed25519:{base64.b64encode(key.public_key().public_bytes_raw()).decode()}"
