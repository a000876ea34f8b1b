"""SnapshotSource of AWS Systems Manager's parameters: what is below some paths, as JSON lines.

One line a parameter, by name: ``put`` is what PutParameter (``aws ssm put-parameter --cli-input-json``) takes to make
it again, value and all; beside it stand ``version`` and ``modified``. Older versions of a value and labels are not in
it. The values are nowhere else: not in facts, errors or logs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NotConnected

from onlyvips.adapters import session_aws
from onlyvips.errors import OnlyVipsError, Permanent, Transient
from onlyvips.ports import Clock

_AT_ONCE = 10
"""Values that SSM gives in one answer."""
_PACE = 0.1
"""Seconds between requests: tags take one a parameter, and SSM throttles an account, its services included."""
_TAKEN_OVER = ("Name", "Description", "Type", "KeyId", "Tier", "AllowedPattern", "DataType")
_RIGHTS = (
    "the rights ssm:DescribeParameters on all, ssm:GetParameters and ssm:ListTagsForResource on what is below the "
    "paths, and kms:Decrypt on its keys"
)
_CREDENTIALS = {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "ExpiredTokenException",
    "IncompleteSignature",
}

Parameters = dict[str, dict[str, Any]]
"""What DescribeParameters says, by name: no values."""


class SsmSnapshot:
    """All parameters below ``paths`` in one region. ``endpoint`` is for what is not AWS itself."""

    def __init__(
        self,
        region: str,
        paths: Sequence[str],
        access_key: str,
        secret_key: str,
        clock: Clock,
        *,
        endpoint: str = "",
        timeout: float = 60.0,
    ) -> None:
        """``timeout``: seconds of silence. Raises Permanent for a bad address."""
        self._region, self._paths, self._clock = region, tuple(paths), clock
        self._held: int | None = None
        try:
            self._client: Any = session_aws.client(
                "ssm",
                endpoint_url=endpoint or None,
                region_name=region,
                aws_access_key_id=access_key,
                aws_secret_access_key=secret_key,
                config=Config(
                    retries={"total_max_attempts": 1, "mode": "standard"}, connect_timeout=timeout, read_timeout=timeout
                ),
            )
        except (ValueError, BotoCoreError):
            # Without its cause: that quotes the address, which may hold a password.
            raise Permanent("The address of SSM is no URL: correct backup.secrets, or what it refers to.") from None

    def describe(self) -> Mapping[str, str]:
        """See ``ports.SnapshotSource``; ``parameters`` is how many, their names are told nowhere."""
        count = len(self._something()) if self._held is None else self._held
        version = str(self._client.meta.service_model.api_version)
        return {"dialect": "ssm", "version": version, "region": self._region, "parameters": str(count)}

    def snapshot(self) -> Iterator[bytes]:
        """See ``ports.SnapshotSource``: sorted by name. Raises Transient when anything changed meanwhile."""
        listed = self._something()
        yield from self._lines(listed)
        self._held = len(listed)

    # --- what is asked of SSM

    def _lines(self, listed: Parameters) -> Iterator[bytes]:
        names = iter(sorted(listed))
        while batch := list(islice(names, _AT_ONCE)):
            values = self._values(batch, listed)
            for name in batch:
                yield _line(listed[name], values[name], self._tags(name))
        if self._listed() != listed:
            raise self._changed()

    def _something(self) -> Parameters:
        """What is listed. Raises Permanent where a path has nothing."""
        listed = self._listed()
        for path in self._paths:
            if not any(path == "/" or name.startswith(f"{path}/") for name in listed):
                raise Permanent(
                    f"SSM in {self._region} has no parameter below {path}, and nothing is no backup: correct the paths "
                    "or the region in backup.secrets."
                )
        return listed

    def _listed(self) -> Parameters:
        filters = [{"Key": "Path", "Option": "Recursive", "Values": list(self._paths)}]
        listed: Parameters = {}
        with self._explained("list the parameters"):
            for page in self._paced(
                self._client.get_paginator("describe_parameters").paginate(
                    ParameterFilters=filters, PaginationConfig={"PageSize": 50}
                )
            ):
                listed |= {found["Name"]: found for found in page["Parameters"]}
        return listed

    def _values(self, names: list[str], listed: Parameters) -> dict[str, str]:
        """Decrypted, and of the versions that were listed."""
        self._clock.sleep(_PACE)
        with self._explained("read the values"):
            found = self._client.get_parameters(Names=names, WithDecryption=True)["Parameters"]
        versions = {one["Name"]: one["Version"] for one in found}
        if versions != {name: listed[name]["Version"] for name in names}:
            raise self._changed()
        return {one["Name"]: one["Value"] for one in found}

    def _tags(self, name: str) -> list[dict[str, str]]:
        self._clock.sleep(_PACE)
        with self._explained("read the tags"):
            found = self._client.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)
        return sorted(found.get("TagList", []), key=lambda tag: str(tag["Key"]))

    def _paced(self, pages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for page in pages:
            yield page
            self._clock.sleep(_PACE)

    def _changed(self) -> Transient:
        return Transient(
            f"Parameters of SSM below {', '.join(self._paths)} changed while they were read, so this would be no moment"
            " that ever was: take it again.",
            delay=10.0,
        )

    @contextmanager
    def _explained(self, verb: str, rights: str = _RIGHTS) -> Iterator[None]:
        what = f"SSM in {self._region}: cannot {verb} below {', '.join(self._paths)}"
        try:
            yield
        except ClientError as error:
            gone = _code(error) == "InvalidResourceId"  # what was listed has no tags any more
            raise (self._changed() if gone else _from_answer(error, what, rights)) from error
        except (NotConnected, HTTPClientError) as error:
            raise Transient(
                f"{what}, for nothing answers there, or not to the end ({type(error).__name__}): see that it can be "
                "reached from here."
            ) from error
        except BotoCoreError as error:
            raise Permanent(f"{what} ({type(error).__name__}): correct backup.secrets.") from error


def _from_answer(error: ClientError, what: str, rights: str = _RIGHTS) -> OnlyVipsError:
    """By status and code alone: what SSM says with it may quote the request."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = _code(error)
    if status == 429 or status >= 500 or code in ("ThrottlingException", "RequestLimitExceeded"):
        return Transient(f"{what} just now ({status} {code}): try again.", delay=10.0)
    if code in _CREDENTIALS:
        advice = "correct the keys that backup.secrets refers to"
    elif status == 403 or code.startswith("AccessDenied"):
        advice = f"give this credential {rights}"
    elif code == "InvalidKeyId":
        advice = "a KMS key of theirs is disabled or gone: enable it, or write those parameters with another"
    else:
        advice = "correct backup.secrets"
    return Permanent(f"{what} ({status} {code}): {advice}.")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _line(described: Mapping[str, Any], value: str, tags: list[dict[str, str]]) -> bytes:
    put: dict[str, Any] = {key: described[key] for key in _TAKEN_OVER if key in described}
    put["Value"] = value
    if texts := [policy["PolicyText"] for policy in described.get("Policies", [])]:
        put["Policies"] = f"[{','.join(texts)}]"
    if tags:
        put["Tags"] = tags
    line = {"put": put, "version": described["Version"], "modified": _moment(described["LastModifiedDate"])}
    return json.dumps(line, sort_keys=True).encode() + b"\n"


def _moment(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
