"""The evidence of a release: in every store that takes it, once, and of a release that is over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.errors import Refused, Transient
from onlyvips.steps.evidence import keep_evidence, key_of
from tests.core.decisions import PLAN, RECORD
from tests.simulators.clock import SimClock

RECORD = replace(RECORD, phase="evidence", result="promoted")


def without_key() -> Any:
    raise Refused("env:KEY is not set.")


def test_it_says_who_took_it_and_who_did_not(tmp_path: Path) -> None:
    store = DirectoryStore("near", tmp_path)
    kept = keep_evidence({"near": lambda: store, "far": without_key}, SimClock(), PLAN, RECORD)
    assert kept.stores == ("near",)
    assert kept.observed == f"evidence {key_of(RECORD)} in near; not kept by far: env:KEY is not set."
    release = json.loads(b"".join(store.read(kept.key)))["release"]
    assert (release["open"], release["phase"], release["evidence"]) == (False, "closed", kept.key)


def test_what_another_attempt_wrote_stays_and_counts(tmp_path: Path) -> None:
    store = DirectoryStore("near", tmp_path)
    first = keep_evidence({"near": lambda: store}, SimClock(), PLAN, RECORD)
    before = b"".join(store.read(first.key))
    assert keep_evidence({"near": lambda: store}, SimClock(), PLAN, replace(RECORD, reason="else")) == first
    assert b"".join(store.read(first.key)) == before


def test_when_no_store_takes_it_the_release_stays_open() -> None:
    with pytest.raises(Transient, match="No store took the evidence.*far: env:KEY is not set.*reconcile"):
        keep_evidence({"far": without_key}, SimClock(), PLAN, RECORD)
