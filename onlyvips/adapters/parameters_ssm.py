"""ParameterStore of AWS Systems Manager: what the backup reads, written back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from botocore.config import Config
from botocore.exceptions import ParamValidationError

from onlyvips.adapters import session_aws
from onlyvips.adapters.snapshot_ssm import _PACE, SsmSnapshot
from onlyvips.core.secrets_restore import Parameter, differing, parameters_of
from onlyvips.errors import Conflict, Permanent
from onlyvips.ports import Clock

_RIGHTS = (
    "the rights ssm:PutParameter, ssm:AddTagsToResource and ssm:RemoveTagsFromResource on what is below the paths, and "
    "kms:Encrypt on its keys, while it is restored"
)
_EMPTIED = {"Description": "", "AllowedPattern": "", "Policies": "[{}]"}
"""How PutParameter is told that there is none any more."""


class SsmParameters(SsmSnapshot):
    """All parameters below ``paths`` in one region, to be written too."""

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
        """As ``SsmSnapshot``."""
        super().__init__(region, paths, access_key, secret_key, clock, endpoint=endpoint, timeout=timeout)
        self.region, self.paths, self._endpoint = region, self._paths, endpoint
        self._keys = {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key}

    def identity(self) -> str:
        """See ``ports.secrets.ParameterStore``: by the account that STS says."""
        config = Config(retries={"total_max_attempts": 1, "mode": "standard"}, connect_timeout=10, read_timeout=60)
        client: Any = session_aws.client(
            "sts", endpoint_url=self._endpoint or None, region_name=self.region, config=config, **self._keys
        )
        with self._explained("ask whose account it is"):
            account = client.get_caller_identity()["Account"]
        client.close()
        return f"{self._endpoint or 'aws'} {account} {self.region}"

    def parameters(self) -> dict[str, Parameter]:
        """See ``ports.secrets.ParameterStore``."""
        return parameters_of(b"".join(self._lines(self._listed())))

    def make(self, wanted: Parameter) -> None:
        """See ``ports.secrets.ParameterStore``."""
        self._put({key: value for key, value in wanted.put.items() if value}, Overwrite=False)

    def change(self, wanted: Parameter, there: Parameter) -> None:
        """See ``ports.secrets.ParameterStore``. Tags are written after the rest: SSM takes them apart."""
        fields = differing(wanted, there)
        if set(fields) - {"Tags"}:
            put = {key: value for key, value in wanted.put.items() if value and key != "Tags"}
            gone = {key: empty for key, empty in _EMPTIED.items() if there.put.get(key) and not wanted.put.get(key)}
            tier = {"Tier": "Advanced"} if there.put.get("Tier") == "Advanced" else {}
            self._put(put | gone | tier, Overwrite=True)
        if "Tags" in fields:
            self._tag(wanted.put["Name"], _tags(wanted), _tags(there))

    # --- how

    def _put(self, put: Mapping[str, Any], **how: Any) -> None:
        self._clock.sleep(_PACE)
        with self._writing():
            self._client.put_parameter(**put, **how)

    def _tag(self, name: str, wanted: Mapping[str, str], there: Mapping[str, str]) -> None:
        which: dict[str, Any] = {"ResourceType": "Parameter", "ResourceId": name}
        self._clock.sleep(_PACE)
        with self._writing():
            if wanted:
                tags = [{"Key": key, "Value": value} for key, value in wanted.items()]
                self._client.add_tags_to_resource(**which, Tags=tags)
            if gone := sorted(set(there) - set(wanted)):
                self._client.remove_tags_from_resource(**which, TagKeys=gone)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._explained("write the parameters", _RIGHTS):
            try:
                yield
            except self._client.exceptions.ParameterAlreadyExists:
                # Without its cause, which may quote the request.
                raise Conflict(
                    f"SSM in {self.region} has a parameter by now that was not there: somebody else writes; see the "
                    "plan again."
                ) from None
            except ParamValidationError:
                raise Permanent(
                    f"SSM in {self.region} cannot be told what the backup has: it is no parameter."
                ) from None


def _tags(one: Parameter) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in one.put.get("Tags", ())}
