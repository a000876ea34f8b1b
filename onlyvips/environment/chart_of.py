"""The Helm chart of a service."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from onlyvips.environment.base import Name, Section, Text, ValuePath
from onlyvips.environment.quantities import Duration
from onlyvips.environment.references import PathReference


def _repository(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("https", "http") or not url.hostname or "@" in url.netloc or url.query:
        raise ValueError("a chart's repository is a URL without user or password: Helm's own login keeps those")
    return text


class Chart(Section):
    """The Helm release that owns the service's Deployment (``platform.helm_release`` where none is named), and the
    chart that it is upgraded from: ``path``, or ``name`` and ``version``, in ``repository`` where one is needed.

    ``image_value`` is the value with the image's tag, ``release_value`` the one that the pods' annotation
    ``onlyvips.com/release`` is made of, ``secret_values`` those with names of ``release.secrets``. ``timeout`` is for
    one call of Helm.
    """

    release: Name | None = None
    path: PathReference | None = None
    name: Text | None = None
    version: Text | None = None
    repository: Annotated[Text, AfterValidator(_repository)] | None = None
    image_value: ValuePath
    release_value: ValuePath
    secret_values: dict[Name, ValuePath] = {}
    timeout: Duration = 60.0
