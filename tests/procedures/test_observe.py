"""What a driver believes that the router can see, timed by its own clock."""

from __future__ import annotations

from dataclasses import replace

from onlyvips.core.manifests import RELEASE
from onlyvips.core.world import Workload
from onlyvips.steps.observe import Observer
from tests.procedures.theatre import CAPACITY, GOOD, IMAGE, PLAN, Theatre

PROPAGATION = PLAN.waits.propagation


def observed(observer: Observer, theatre: Theatre) -> Workload:
    theatre_record = theatre.record()
    found = observer.world(theatre_record).stable
    assert found is not None
    return found


def after_a_release() -> tuple[Theatre, Observer]:
    theatre = Theatre(hpa=False)
    theatre.process("first").release(GOOD)
    return theatre, Observer(theatre.cluster, theatre.clock, PLAN)


def test_a_driver_that_has_just_started_has_seen_nothing_for_long_enough() -> None:
    theatre, observer = after_a_release()
    first = observed(observer, theatre)
    assert (first.ready, first.visible) == (CAPACITY, 0) and first.quiet < 1
    theatre.clock.sleep(PROPAGATION)
    later = observed(observer, theatre)
    assert (later.ready, later.visible) == (CAPACITY, CAPACITY) and later.quiet >= PROPAGATION


def test_a_pod_that_leaves_starts_the_quiet_anew_also_one_of_the_old_version() -> None:
    theatre, observer = after_a_release()
    observed(observer, theatre)

    def roll(live: dict) -> None:  # type: ignore[type-arg]
        live["spec"]["template"]["metadata"]["annotations"] = {}
        live["spec"]["template"]["spec"]["containers"][0]["image"] = f"{IMAGE}:v0.9.1"

    theatre.cluster.change("Deployment", "backend", roll)
    quiet = []
    while not (seen := observed(observer, theatre)).complete or seen.ready < CAPACITY:
        quiet.append(seen.quiet)
        theatre.clock.sleep(0.1)
    assert seen.quiet < PROPAGATION, "the last old pod has just left, whatever the new ones did"
    assert sum(1 for before, after in zip(quiet, quiet[1:], strict=False) if after < before) >= CAPACITY - 1


def test_a_pod_that_was_restarted_unseen_counts_anew() -> None:
    theatre, observer = after_a_release()
    observed(observer, theatre)
    theatre.clock.sleep(PROPAGATION)
    pod = theatre.cluster.list("Pod", {"track": "stable"})[0]["metadata"]["name"]

    def restarted(live: dict) -> None:  # type: ignore[type-arg]
        live["status"]["conditions"][0]["lastTransitionTime"] = theatre.cluster.timestamp()

    theatre.cluster.change("Pod", pod, restarted)
    seen = observed(observer, theatre)
    assert (seen.ready, seen.visible) == (CAPACITY, CAPACITY - 1) and seen.quiet < 1


def test_a_pod_that_is_being_ended_is_not_ready_whatever_it_says() -> None:
    theatre, observer = after_a_release()
    pod = theatre.cluster.list("Pod", {"track": "stable"})[0]["metadata"]["name"]
    ending = theatre.cluster.timestamp()
    theatre.cluster.change("Pod", pod, lambda live: live["metadata"].update(deletionTimestamp=ending))
    assert observed(observer, theatre).ready == CAPACITY - 1


def test_what_the_controller_has_not_seen_yet_is_not_complete() -> None:
    theatre, observer = after_a_release()
    assert observed(observer, theatre).complete

    def edit(live: dict) -> None:  # type: ignore[type-arg]
        live["spec"]["template"]["spec"]["containers"][0]["image"] = f"{IMAGE}:v0.9.1"

    theatre.cluster.change("Deployment", "backend", edit)
    assert not observed(observer, theatre).complete


def test_a_deployment_that_is_being_deleted_is_gone() -> None:
    theatre, observer = after_a_release()
    ending = theatre.cluster.timestamp()
    theatre.cluster.change("Deployment", "backend", lambda live: live["metadata"].update(deletionTimestamp=ending))
    assert observer.world(theatre.record()).stable is None


def test_going_back_leaves_a_secret_that_stable_was_given_by_hand() -> None:
    theatre, observer = after_a_release()
    record = replace(theatre.record(), phase="rollback")
    theatre._make("Secret", "unused", {RELEASE: record.id})

    def by_hand(live: dict) -> None:  # type: ignore[type-arg]
        live["spec"]["template"]["metadata"]["annotations"] = {}

    theatre.cluster.change("Deployment", "backend", by_hand)
    new = dict(record.secrets)["backend-jwt-0000000000"]
    left = {each for each in observer.world(record).leftovers if each.startswith("Secret")}
    assert left == {"Secret/unused", *(f"Secret/{one.copy}" for one in record.kept if one.kind == "Secret")}
    assert new in theatre.secrets()
