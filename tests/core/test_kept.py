"""What old pods read by name: its seal, whose change it is, and how it stands in a record."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core import group as groups
from onlyvips.core.kept import Kept, Witness, after_hook, before_hook, compare, left_sentence, seal_of
from onlyvips.core.manifests import fingerprint
from onlyvips.core.record import from_json, to_json
from onlyvips.core.referred import is_generation, mentions
from tests.core.decisions import RECORD

KEPT = Kept("Secret", "jwt", "jwt-0123456789")
KEY = "Secret/jwt"


def secret(**values: bytes) -> dict[str, Any]:
    return {"kind": "Secret", "data": {key: b64encode(value).decode() for key, value in values.items()}}


def test_a_seal_is_that_of_the_name_which_a_release_gives_the_same_values() -> None:
    assert seal_of(secret(A="ü".encode())) == fingerprint({"A": "ü"})
    assert seal_of({"kind": "ConfigMap", "data": {"A": "x"}}) == fingerprint({"A": "x"})
    assert (seal_of(None), KEPT.seal) == ("", "0123456789")


def test_any_difference_of_what_it_holds_is_one_of_the_seal_and_nothing_else_is() -> None:
    made = [secret(A=b"x"), secret(A=b"y"), secret(A=b"\xff"), secret(B=b"x"), secret(), secret(A=b"x", B=b"")]
    made += [{"kind": "ConfigMap", "binaryData": {"A": "eA=="}}, {"kind": "ConfigMap", "data": {"A": "eA=="}}]
    assert len({seal_of(one) for one in made}) == len(made)
    assert seal_of({**secret(A=b"x"), "metadata": {"labels": {"a": "b"}}, "immutable": True}) == seal_of(secret(A=b"x"))


@pytest.mark.parametrize(
    ("seal", "witness", "whose"),
    [
        ("0123456789", Witness(), "same"),
        ("0123456789", Witness(strange=(KEY,)), "same"),
        ("aaaaaaaaaa", Witness(), "theirs"),
        ("aaaaaaaaaa", Witness(wrote=((KEY, "aaaaaaaaaa"),)), "ours"),
        ("bbbbbbbbbb", Witness(wrote=((KEY, "aaaaaaaaaa"),)), "theirs"),
        ("aaaaaaaaaa", Witness(strange=(KEY,), wrote=((KEY, "aaaaaaaaaa"),)), "theirs"),
        ("", Witness(wrote=((KEY, ""),)), "theirs"),
    ],
)
def test_only_what_a_hook_left_and_nobody_touched_since_is_ours(seal: str, witness: Witness, whose: str) -> None:
    assert compare(KEPT, seal, witness) == whose


def test_what_a_hook_began_with_is_seen_once_so_that_a_second_attempt_takes_its_work_for_nobody_elses() -> None:
    before = before_hook(Witness(), "smoke", [KEPT], {KEY: KEPT.seal})
    again = before_hook(before, "smoke", [KEPT], {KEY: "aaaaaaaaaa"})
    assert again == before == Witness("smoke")
    after = after_hook(again, [KEPT], {KEY: "aaaaaaaaaa"})
    assert after.wrote == ((KEY, "aaaaaaaaaa"),)
    late = before_hook(after, "second", [KEPT], {KEY: "bbbbbbbbbb"})
    assert late.strange == (KEY,) and after_hook(late, [KEPT], {KEY: "cccccccccc"}).wrote == after.wrote


def test_a_sentence_says_where_it_is_unless_it_is_its_own_copy() -> None:
    assert "what it held is in Secret jwt-0123456789" in left_sentence(KEPT, "aaaaaaaaaa")
    assert "what it held" not in left_sentence(replace(KEPT, name=KEPT.copy), "aaaaaaaaaa")
    assert "was removed by somebody" in left_sentence(KEPT, "")


def test_records_keep_it_and_those_of_before_are_read_without_it() -> None:
    witness = Witness("smoke", (KEY,), ((KEY, "aaaaaaaaaa"),))
    record = replace(RECORD, kept=(KEPT,), witness=witness, left=(KEY,), configs=(("a", "a-1"),))
    assert from_json(to_json(record)) == record
    group = groups.Group(
        "all-v1-1", "e", "v1", "Ada", "p", 0.0, ("a",), witness=witness, left=(KEY,), decision="failed"
    )
    assert groups.from_json(groups.to_json(group)) == group
    assert "not as before, for somebody changed it since: Secret jwt" in groups.headline(group)
    assert "but for Secret jwt" in groups.advice(replace(group, closed=True))


def test_a_generation_is_a_stem_with_a_hash_and_whatever_names_one_mentions_it() -> None:
    assert is_generation("a-0123456789", "a") and is_generation("a", "b", "a")
    assert not is_generation("a-public", "a") and not is_generation("ba-0123456789", "a")
    assert mentions({"spec": {"x": [{"name": "a-0123456789"}, "b.c"], "n": 1}}) >= {"a-0123456789", "b.c"}
