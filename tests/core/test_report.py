"""A release told to people: what it serves on, who drives it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips.core import report
from onlyvips.core.record import Driver
from tests.core.decisions import ABORT, RECORD

BACK = replace(RECORD, phase="closed", result="rolled-back")


@pytest.mark.parametrize("reason", ["look 1 of stage 1 failed: 20 % errors", "the canary is gone: somebody removed it"])
def test_a_release_that_went_back_for_its_canary_says_what_serves(reason: str) -> None:
    assert "backend serves on img:v1." in report.advice(replace(BACK, reason=reason))


@pytest.mark.parametrize(
    "reason", ["stable was changed by somebody else to img:v7", "somebody took stable back from the new version"]
)
def test_when_somebody_changed_stable_nobody_knows_what_serves(reason: str) -> None:
    told = report.advice(replace(BACK, reason=reason))
    assert "img:v1" not in told
    assert "look at its Deployment" in told


def test_a_killed_driver_is_told_with_the_last_renewal() -> None:
    told = report.driver(RECORD, Driver("run one", "2026-11-23T12:03:44.123456Z"))
    assert told.startswith("Driver: run one, its Lease last renewed 12:03:44 UTC.")
    assert "reconcile -e test` watches" in told
    assert report.driver(RECORD, Driver("", "")) == "Driver: none: nobody drives it."


def test_a_reason_that_is_a_sentence_ends_once() -> None:
    told = report.headline(replace(BACK, reason="Job migration-v090 failed: read its logs."))
    assert told.endswith("read its logs")


def test_what_a_person_said_of_stable_is_not_taken_for_a_hand_edit() -> None:
    said = replace(BACK, reason="Ada asked for an abort: stable is slow, somebody said", commands=(ABORT,))
    assert "backend serves on img:v1." in report.advice(said)


def test_advice_can_be_typed_as_it_stands() -> None:
    told = report.advice(replace(RECORD, phase="canary"))
    assert "`onlyvips release abort -e test -s backend`" in told
    assert "`onlyvips release reconcile -e test -s backend`" in told


def test_a_release_that_was_closed_by_hand_is_not_said_to_be_open() -> None:
    by_hand = replace(RECORD, phase="closed")
    assert report.headline(by_hand).endswith("was closed by hand")
    assert report.advice(by_hand) == "Nothing to do."
