"""The fence alone: what an epoch lets through, whatever the lease says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onlyvips.core.manifests import epoch_key, epoch_of, object_of, own_metadata
from onlyvips.errors import Fenced
from onlyvips.ports import Manifest
from onlyvips.steps.fence import Fence
from tests.simulators.clock import SimClock
from tests.simulators.cluster import SimCluster

CHANGE = ({"op": "add", "path": "/data/a", "value": "2"},)


def fenced(epoch: int, progress: Callable[[], None] = lambda: None) -> tuple[SimCluster, Fence]:
    """A ConfigMap that epoch 5 stamped, and a fence of ``epoch``."""
    cluster = SimCluster(SimClock())
    cluster.create(object_of("ConfigMap", "it", own_metadata("r1", "backend", 5), data={"a": "1"}))
    return cluster, Fence(cluster, "backend", epoch, progress)


def live(cluster: SimCluster) -> Manifest:
    found = cluster.see("ConfigMap", "it")
    assert found is not None
    return found


WRITES: dict[str, Callable[[Fence], object]] = {
    "patch": lambda fence: fence.patch("ConfigMap", "it", lambda _: CHANGE),
    "stamp": lambda fence: fence.stamp("ConfigMap", "it"),
    "delete": lambda fence: fence.delete("ConfigMap", "it"),
    "create": lambda fence: fence.create(object_of("ConfigMap", "it", own_metadata("r1", "backend", 4), data={})),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_nothing_is_written_to_what_a_higher_epoch_stamped(write: Callable[[Fence], object]) -> None:
    cluster, fence = fenced(epoch=4)
    before = dict(live(cluster))
    with pytest.raises(Fenced, match="ConfigMap it belongs to epoch 5, ours is 4"):
        write(fence)
    assert live(cluster) == before


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_nothing_is_written_by_who_has_lost_the_lease(write: Callable[[Fence], object]) -> None:
    def lost() -> None:
        raise Fenced("Bob took this release over.")

    cluster, fence = fenced(epoch=5, progress=lost)
    before = dict(live(cluster))
    with pytest.raises(Fenced, match="Bob took"):
        write(fence)
    assert live(cluster) == before


def test_what_a_lower_epoch_stamped_bears_ours_before_it_is_changed() -> None:
    cluster, fence = fenced(epoch=6)
    seen: list[tuple[int, str]] = []
    cluster.watchers.append(lambda _, __, now: seen.append((epoch_of(now or {}, "backend"), (now or {})["data"]["a"])))
    fence.patch("ConfigMap", "it", lambda _: CHANGE)
    assert seen == [(6, "1"), (6, "2")]


def test_who_takes_over_between_a_read_and_its_write_wins() -> None:
    cluster, fence = fenced(epoch=5)

    def taken_over_meanwhile(_: Manifest) -> tuple[dict[str, str], ...]:
        notes = {epoch_key("backend"): "6"}
        cluster.change("ConfigMap", "it", lambda now: now["metadata"].update(annotations=notes))
        return CHANGE

    with pytest.raises(Fenced, match="epoch 6, ours is 5"):
        fence.patch("ConfigMap", "it", taken_over_meanwhile)
    assert live(cluster)["data"] == {"a": "1"}
