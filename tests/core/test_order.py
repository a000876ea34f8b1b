"""Services in an order in which what another one needs comes before it."""

from __future__ import annotations

import pytest

from onlyvips.core.order import in_order
from onlyvips.errors import Refused


def test_without_needs_the_order_is_the_one_that_was_given() -> None:
    assert in_order(["c", "a", "b"], {}) == ("c", "a", "b")


def test_what_is_needed_comes_first_and_the_rest_stays_as_it_was_given() -> None:
    assert in_order(["miniapp", "panel", "backend"], {"miniapp": ["backend"]}) == ("panel", "backend", "miniapp")


def test_a_cycle_is_refused_with_its_way() -> None:
    with pytest.raises(Refused, match=r"a needs b needs a|b needs a needs b"):
        in_order(["a", "b"], {"a": ["b"], "b": ["a"]})
