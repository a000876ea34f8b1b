"""What is refused before anything changes, each by its sentence; the same on real servers is in ``tests/system``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from onlyvips.errors import Refused, Transient
from onlyvips.steps import preflight, records
from tests.procedures.theatre import GOOD, PLAN, Theatre

Live = dict[str, Any]


def refused(theatre: Theatre, sentence: str) -> None:
    """A release is refused with ``sentence`` and "nothing was changed", and that is true."""
    process = theatre.process("first")
    with pytest.raises(Refused, match=sentence) as told:
        process.release(GOOD)
    assert "nothing was changed" in str(told.value)
    assert process.writes == 0 and records.every(theatre.cluster) == []


@pytest.mark.parametrize(
    ("kind", "name"), [("Deployment", "backend"), ("Service", "backend"), ("HTTPRoute", "onlyvips")]
)
def test_what_a_controller_writes_by_itself_is_refused_by_the_controllers_name(kind: str, name: str) -> None:
    theatre = Theatre()
    managers = [{"manager": "kubectl"}, {"manager": "argocd-controller"}]
    theatre.cluster.change(kind, name, lambda live: live["metadata"].update(managedFields=managers))
    refused(theatre, f"{kind} {name} is written by argocd-controller")


def test_a_person_with_kubectl_is_no_foreign_manager() -> None:
    theatre = Theatre()
    managers = [{"manager": "kubectl"}, {"manager": "helm"}]
    theatre.cluster.change("Deployment", "backend", lambda live: live["metadata"].update(managedFields=managers))
    theatre.process("first").release(GOOD)
    theatre.assert_outcome("promoted")


def untrack_pods(live: Live) -> None:
    del live["spec"]["template"]["metadata"]["labels"]["track"]


def untrack_selector(live: Live) -> None:
    del live["spec"]["selector"]["matchLabels"]["track"]


def untrack_front(live: Live) -> None:
    live["spec"]["selector"] = {"app": "backend"}


@pytest.mark.parametrize(
    ("kind", "how", "where"),
    [
        ("Deployment", untrack_selector, "the selector of Deployment backend"),
        ("Deployment", untrack_pods, "the pod labels of Deployment backend"),
        ("Service", untrack_front, "the selector of Service backend"),
    ],
    ids=["selector", "pods", "Service"],
)
def test_each_place_that_lacks_track_is_named(kind: str, how: Callable[[Live], None], where: str) -> None:
    theatre = Theatre()
    found = theatre.cluster.get(kind, "backend")
    assert found is not None
    how(found)
    theatre.cluster._objects[kind, "backend"] = found  # as if it had been made so: selectors cannot be changed
    theatre.cluster._copies.clear()
    refused(theatre, f"A canary needs `track: stable` in {where}, or")


@pytest.mark.parametrize("kind", ["Deployment", "Service"])
def test_a_canary_that_is_there_without_a_release_is_refused_by_its_name(kind: str) -> None:
    theatre = Theatre()
    theatre._make(
        kind, "backend-canary", spec={"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": {}}
    )
    refused(theatre, f"{kind} backend-canary is there already, without an open release")


@pytest.mark.parametrize(
    ("name", "weight", "what"),
    [("shadow", 1, "also leads to shadow"), ("backend-canary", 25, "gives 20 % to backend-canary already")],
)
def test_a_rule_that_leads_elsewhere_too_is_refused(name: str, weight: int, what: str) -> None:
    theatre = Theatre()
    more = {"name": name, "port": 8000, "weight": weight}
    theatre.cluster.change("HTTPRoute", "onlyvips", lambda live: live["spec"]["rules"][1]["backendRefs"].append(more))
    refused(theatre, f"Rule backend of HTTPRoute onlyvips {what}")


@pytest.mark.parametrize(("backends", "to"), [([], "nobody"), ([{"name": "shadow", "port": 80}], "shadow")])
def test_a_rule_that_does_not_lead_to_the_service_is_refused(backends: list[Live], to: str) -> None:
    theatre = Theatre()
    theatre.cluster.change("HTTPRoute", "onlyvips", lambda live: live["spec"]["rules"][1].update(backendRefs=backends))
    refused(theatre, f"Rule backend of HTTPRoute onlyvips leads to {to} and not to backend")


class Duplicates:
    """A database of which only duplicates are asked; ``keys`` are the questions."""

    def __init__(self, found: list[str]) -> None:
        self.found, self.asked = found, []  # type: ignore[var-annotated]

    def duplicates(self, database: str, collection: str, keys: list[str], limit: int) -> list[str]:
        self.asked.append((database, collection, keys))
        return self.found


def test_duplicates_that_would_break_a_unique_index_are_refused_with_examples() -> None:
    with pytest.raises(Refused, match=r"onlyvips.users has several documents with the same email \(a@b, c@d …\)"):
        preflight.check_duplicates(Duplicates(["a@b", "c@d"]), PLAN)  # type: ignore[arg-type]
    clean = Duplicates([])
    preflight.check_duplicates(clean, PLAN)  # type: ignore[arg-type]
    assert clean.asked == [("onlyvips", "users", ["email"])]
    preflight.check_duplicates(Duplicates(["x"]), replace(PLAN, migration=None))  # type: ignore[arg-type]


def test_what_a_chart_owns_is_refused_by_the_charts_release_unless_the_environment_names_it() -> None:
    theatre = Theatre()
    notes = {"meta.helm.sh/release-name": "other"}
    theatre.cluster.change("Deployment", "backend", lambda live: live["metadata"].update(annotations=notes))
    refused(theatre, "Deployment backend belongs to the Helm release other, whose next upgrade would undo")
    named = Theatre(replace(theatre.plan, helm="other"))
    named.cluster.change("Deployment", "backend", lambda live: live["metadata"].update(annotations=notes))
    assert named.process("driver").release(GOOD).result == "promoted"


@pytest.mark.parametrize("tag", ["v0.9.0-", "v0.9.0_", f"v1-{'a' * 61}"])
def test_a_tag_that_is_no_label_is_refused_where_pods_have_the_label(tag: str) -> None:
    process = Theatre().process("first")
    with pytest.raises(Refused, match=f"{tag} cannot be the label `version` of pods .*: nothing was changed"):
        process.release(tag)
    assert process.writes == 0


def refuse(error: Exception) -> Callable[[], None]:
    def check() -> None:
        raise error

    return check


def test_all_that_refuse_are_told_at_once_in_their_order() -> None:
    checks = [refuse(Refused("No oplog.")), lambda: None, refuse(Transient("Away.")), refuse(Refused("No lock."))]
    with pytest.raises(Refused, match=r"^No oplog\. No lock\.$"):
        preflight.check_all(checks)


def test_what_only_did_not_answer_is_asked_again_and_a_refusal_is_not() -> None:
    with pytest.raises(Transient, match="Away"):
        preflight.check_all([lambda: None, refuse(Transient("Away."))])
    with pytest.raises(Refused, match="No lock"):
        preflight.check_all([refuse(Transient("Away.")), refuse(Refused("No lock."))])
    with pytest.raises(ZeroDivisionError):
        preflight.check_all([refuse(Refused("No lock.")), refuse(ZeroDivisionError())])


def test_checks_wait_for_their_answers_side_by_side() -> None:
    both = threading.Barrier(2)
    preflight.check_all([lambda: both.wait(timeout=60), lambda: both.wait(timeout=60)])
