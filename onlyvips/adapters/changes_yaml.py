"""A manifest as YAML that a person reads and commits."""

from __future__ import annotations

from typing import Any

import yaml


def dump(head: str, manifest: dict[str, Any]) -> bytes:
    """``head``, which is comments, and the manifest, its keys in the order given."""
    body = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=120)
    return f"{head}{body}".encode()
