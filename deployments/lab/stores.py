"""Who may do what in the lab's two object stores: a writer that cannot delete, a pruner that can, both without root."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError
from home import Home, Settings, write
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

BACKUPS, LEASES = BUCKETS = ("onlyvips-backup", "onlyvips-leases")
_LOOK = ("s3:ListBucket", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration")
_WRITE = ("s3:GetObject", "s3:PutObject", "s3:PutObjectRetention", "s3:GetObjectRetention", "s3:AbortMultipartUpload")
_LOOK_BEHIND = ("s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads")
_PRUNE = (
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:AbortMultipartUpload",
    "s3:GetObjectRetention",
    "s3:GetObjectLegalHold",
    "s3:PutObjectRetention",
)


def statements(account: str, **principal: Any) -> list[dict[str, Any]]:
    """What the policy of the ``writer`` or the ``pruner`` allows. Neither may bypass a lock."""
    of_bucket, of_objects = (_LOOK, _WRITE) if account == "writer" else (_LOOK_BEHIND, _PRUNE)
    buckets = BUCKETS if account == "writer" else (BACKUPS,)
    return [
        {"Effect": "Allow", **principal, "Action": list(actions), "Resource": [f"arn:aws:s3:::{bucket}{tail}"]}
        for bucket in buckets
        for actions, tail in ((of_bucket, ""), (of_objects, "/*"))
    ]


def policy(found: list[dict[str, Any]]) -> dict[str, Any]:
    """A policy document."""
    return {"Version": "2012-10-17", "Statement": found}


def write_accounts(home: Home, settings: Settings) -> None:
    """The accounts of versitygw, in the file that it reads them from."""
    accounts = {}
    for account in ("writer", "pruner"):
        access, secret = (settings.secrets[f"s3-a-{account}-{part}"] for part in ("access", "secret"))
        accounts[access] = {"access": access, "secret": secret, "role": "user"}
    write(home.keys / "s3-a" / "users.json", json.dumps({"accessAccounts": accounts}))


def admit_to_versitygw(url: str, secrets: Mapping[str, str]) -> None:
    """Each bucket's policy; versitygw has no other way to admit an account."""
    client = _root(url, "s3-a", secrets)
    for bucket in BUCKETS:
        found = [
            statement
            for account in ("writer", "pruner")
            for statement in statements(account, Principal=[secrets[f"s3-a-{account}-access"]])
            if statement["Resource"][0].split(":::")[1].partition("/")[0] == bucket
        ]
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy(found)))
    client.close()


def admit_to_minio(address: str, secrets: Mapping[str, str]) -> None:
    """The bucket of backups with versions and object lock, and the accounts with a policy each."""
    client = _root(f"http://{address}", "s3-b", secrets)
    for bucket in BUCKETS:
        _make_in_minio(client, bucket)
    client.close()
    root = StaticProvider(secrets["s3-b-access"], secrets["s3-b-secret"])
    admin = MinioAdmin(endpoint=address, credentials=root, secure=False)
    for account in ("writer", "pruner"):
        access, secret = (secrets[f"s3-b-{account}-{part}"] for part in ("access", "secret"))
        admin.user_add(access, secret)
        admin.policy_add(account, policy=policy(statements(account)))
        admin.policy_set(account, user=access)


def _root(url: str, store: str, secrets: Mapping[str, str]) -> Any:
    keys = {"aws_access_key_id": secrets[f"{store}-access"], "aws_secret_access_key": secrets[f"{store}-secret"]}
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)


def _make_in_minio(client: Any, bucket: str) -> None:
    """It says that it is ready a moment before it makes buckets."""
    until = time.monotonic() + 30
    while True:
        try:
            client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=bucket == BACKUPS)
            return
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "BucketAlreadyOwnedByYou":
                return
            if code != "XMinioServerNotInitialized" or time.monotonic() > until:
                raise
        time.sleep(0.2)
