"""The record of a release: written and read exactly, refused when it is another program's."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.phases import phases_of
from onlyvips.core.record import Command, Look, Record, Step, Value, from_json, to_json
from onlyvips.core.report import step_line
from onlyvips.errors import Permanent
from tests.core.decisions import RECORD

TEXT = st.text(max_size=30)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.builds(
    Value, TEXT, st.integers(0), st.integers(0), NUMBER, NUMBER, NUMBER, NUMBER, st.sampled_from(["pass", "fail"]), TEXT
)
LOOKS = st.builds(
    Look, NUMBER, st.integers(0, 3), st.integers(0, 100), NUMBER, st.just("pass"), TEXT, st.tuples(VALUES) | st.just(())
)
RECORDS = st.builds(
    replace,
    st.just(RECORD),
    phase=st.sampled_from(phases_of("canary")),
    operator=TEXT,
    weight=st.integers(0, 100),
    stage_since=NUMBER,
    secrets=st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
    looks=st.lists(LOOKS, max_size=3).map(tuple),
    steps=st.lists(st.builds(Step, TEXT, TEXT, NUMBER, st.none() | NUMBER, TEXT), max_size=3).map(tuple),
    commands=st.lists(st.builds(Command, st.just("abort"), TEXT, NUMBER, TEXT), max_size=2).map(tuple),
    holders=st.lists(TEXT, max_size=2).map(tuple),
)


@given(RECORDS)
def test_what_is_written_is_what_is_read(record: Record) -> None:
    assert from_json(to_json(record)) == record
    assert to_json(from_json(to_json(record))) == to_json(record)


def test_it_is_plain_json_that_says_its_schema() -> None:
    data = json.loads(to_json(RECORD))
    assert (data["schema"], data["id"], data["phase"]) == (1, "r1", "prepare")


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(to_json(RECORD)), **changes})


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_another_schema_is_refused_by_name(schema: Any) -> None:
    with pytest.raises(Permanent, match=f"has schema {schema}, this program reads 1"):
        from_json(changed(schema=schema))


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{", '{"schema": 1}', changed(surprise=1), changed(looks=[{"at": 1}]), changed(secrets=[["a"]])],
)
def test_what_is_not_a_record_is_refused_and_not_to_be_deleted(text: str) -> None:
    with pytest.raises(Permanent, match="cannot be read|has schema"):
        from_json(text)


def test_an_intent_is_there_before_it_is_done() -> None:
    meant = RECORD.intend("set weight 10 %", "stage 1", 5.0)
    assert meant.steps == (Step("set weight 10 %", "stage 1", 5.0),)
    assert meant.finish("10 %", 6.0).steps == (Step("set weight 10 %", "stage 1", 5.0, 6.0, "10 %"),)


def test_an_act_that_is_tried_again_stays_one_step_and_counts_its_tries() -> None:
    meant = RECORD.intend("write evidence", "promoted", 5.0).intend("write evidence", "still", 9.0)
    assert meant.steps == (Step("write evidence", "still", 5.0, tries=2),)
    done = meant.finish("kept", 10.0)
    assert done.steps == (Step("write evidence", "still", 5.0, 10.0, "kept", 2),)
    assert "tried 2 times" in step_line(done.steps[0]) and "tried" not in step_line(Step("stop", "", 1.0, 2.0))
    assert len(done.intend("write evidence", "once more", 11.0).steps) == 2
    assert from_json(to_json(done)) == done


def test_the_first_abort_counts() -> None:
    first, second = Command("abort", "Ada", 1.0, "odd"), Command("abort", "Bob", 2.0, "me too")
    assert replace(RECORD, commands=(first, second)).aborted == first
    assert RECORD.aborted is None
