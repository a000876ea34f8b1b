"""What every section of an environment's file has in common: frozen, no unknown keys, no guessed types."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from onlyvips.core.kinds import parse_kind


class Section(BaseModel):
    """One mapping of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


def _written(pattern: str, says: str) -> AfterValidator:
    """Text that matches all of ``pattern``; the error ``says`` how it is written and never shows the text."""
    shape = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not shape.fullmatch(text):
            raise ValueError(f"not written as expected: {says}")
        return text

    return AfterValidator(check)


def _kind(text: str) -> str:
    parse_kind(text)
    return text


_NAME = r"[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?"
_IMAGE = r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+"

Text = Annotated[str, _written(r"[^\x00-\x1f\x7f-\x9f]{1,500}", "one line of text, without control characters")]
"""One line for people (it is printed on terminals)."""
Name = Annotated[str, _written(_NAME, "a name of lower-case letters, digits and -, at most 53 long")]
"""A Kubernetes name; ten characters of the 63 are kept for our suffixes (``-canary``, a hash)."""
Bucket = Annotated[str, _written(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's name, 3 to 63 of a-z, 0-9, . and -")]
Identifier = Annotated[str, _written(r"[A-Za-z_][A-Za-z0-9_.-]*", "a word of letters, digits, _, . and -")]
"""A metric, a collection, a key of a Secret."""
ParameterPath = Annotated[str, _written(r"/|(/[A-Za-z0-9_.-]+){1,14}", "/, or a path such as /onlyvips/production")]
"""Where parameters of AWS SSM begin."""
Image = Annotated[str, _written(_IMAGE, "an image without a tag, such as ghcr.io/onlyvips/backend: a release names it")]
"""An image's repository; the release names the version."""
_TAGGED = rf"{_IMAGE}(:[\w.-]+(@sha256:[0-9a-f]{{64}})?|@sha256:[0-9a-f]{{64}})"
TaggedImage = Annotated[str, _written(_TAGGED, "an image with a tag or a digest")]
"""An image with a tag, a digest or both."""
Digest = Annotated[str, _written(r"sha256:[0-9a-f]{64}", "a digest: sha256: and 64 hexadecimal digits")]
"""What an image is, as its registry says."""
_VALUE = r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*"
ValuePath = Annotated[str, _written(_VALUE, "a chart's value such as backend.image.tag")]
"""Where a value of a Helm chart is."""
Version = Annotated[str, _written(r"v[0-9]+(\.[0-9]+){0,2}", "a version such as v0.9.0")]
HeaderName = Annotated[str, _written(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}", "a header's name, such as X-Tester")]
HeaderValue = Annotated[str, _written(r"[!-~]([ -~]{0,254}[!-~])?", "a header's value of plain letters, at most 256")]
Email = Annotated[str, _written(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an address such as devops@onlyvips.com")]
KubernetesKind = Annotated[str, AfterValidator(_kind)]
"""``Deployment``, or ``cert-manager.io/v1/Certificate``."""
Whole = Annotated[int, Strict(), Field(ge=1)]
"""A whole number, at least 1."""
Count = Annotated[int, Strict(), Field(ge=0, le=10_000)]
"""A whole number, none at all too."""
Flag = Annotated[bool, Strict()]
