"""How this process looks for garbage."""

from __future__ import annotations

import gc
import weakref

import pytest

from onlyvips.adapters.memory_python import passing_by_what_is_loaded


class Knot:
    """Garbage that only the collector finds, once nobody holds it."""

    def __init__(self) -> None:
        self.itself = self


def test_the_collector_passes_by_what_was_there_and_finds_what_came_since():
    old = Knot()
    old_is_there = weakref.ref(old)
    with passing_by_what_is_loaded():
        new = Knot()
        new_is_there = weakref.ref(new)
        del old, new
        gc.collect()
        assert old_is_there() is not None and new_is_there() is None
    gc.collect()
    assert old_is_there() is None


def test_it_finds_everything_again_after_a_failure():
    with pytest.raises(ZeroDivisionError), passing_by_what_is_loaded():
        raise ZeroDivisionError
    assert gc.get_freeze_count() == 0
