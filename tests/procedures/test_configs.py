"""ConfigMaps of a release: new texts under new names that only the new version refers to until it is promoted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core.plan import ConfigPlan, ReleasePlan, SecretPlan
from onlyvips.errors import Refused
from onlyvips.ports import Manifest
from onlyvips.steps import records
from tests.procedures.in_place import Bot, Rolling
from tests.procedures.theatre import BAD, GOOD, PLAN, Theatre
from tests.procedures.theatre_blue_green import Colours

OLD_NAME = "backend-settings"
NEW_NAME = "backend-settings-ab013dccdc"


def configs(theatre: Theatre) -> list[str]:
    """ConfigMaps for pods that are there."""
    names = [each["metadata"]["name"] for each in theatre.cluster.list("ConfigMap", {})]
    return [name for name in names if not name.startswith("onlyvips-release-")]


def config_of(theatre: Theatre, deployment: str) -> str:
    found = theatre.cluster.see("Deployment", deployment)
    assert found is not None
    return str(found["spec"]["template"]["spec"]["containers"][0]["envFrom"][1]["configMapRef"]["name"])


def made(theatre: Theatre) -> Manifest:
    found = theatre.cluster.see("ConfigMap", NEW_NAME)
    assert found is not None
    return found


def test_new_texts_come_under_a_new_name_that_stable_gets_at_promotion() -> None:
    theatre, seen = Theatre(), dict[str, str]()

    def look(_: object, action: Any) -> None:
        if action.kind == "look":
            seen["canary"], seen["stable"] = config_of(theatre, "backend-canary"), config_of(theatre, "backend")

    record = theatre.process("first").release(GOOD, look)
    assert record.configs == ((OLD_NAME, NEW_NAME),)
    assert seen == {"canary": NEW_NAME, "stable": OLD_NAME}
    assert config_of(theatre, "backend") == NEW_NAME
    assert (made(theatre)["data"], made(theatre)["immutable"]) == ({"LEVEL": "debug"}, True)
    kept = theatre.cluster.see("ConfigMap", OLD_NAME)
    assert kept is not None and kept["data"] == {"LEVEL": "info"}


@pytest.mark.parametrize("make", [Theatre, Rolling, Bot, Colours])
def test_a_release_that_goes_back_refers_to_the_old_name_again_and_leaves_no_configmap(
    make: Callable[[], Theatre],
) -> None:
    theatre = make()
    theatre.process("first").release(GOOD, abort_at(theatre, "look"))
    theatre.assert_outcome("rolled-back")
    assert theatre.record().configs == ((OLD_NAME, NEW_NAME),)
    assert config_of(theatre, "panel-blue" if make is Colours else "backend") == OLD_NAME
    assert configs(theatre) == [OLD_NAME]


@pytest.mark.parametrize("make", [Rolling, Bot, Colours])
def test_every_strategy_brings_the_new_name_with_the_new_version(make: Callable[[], Theatre]) -> None:
    theatre = make()
    theatre.process("first").release(GOOD)
    theatre.assert_outcome("promoted")
    assert config_of(theatre, "panel-green" if make is Colours else "backend") == NEW_NAME


def abort_at(theatre: Theatre, kind: str) -> Callable[[object, Any], None]:
    """A person aborts before the first act of that kind; a bot, which nobody looks at, before any wait of its end."""
    asked = list[str]()

    def act(_: object, action: Any) -> None:
        late = action.kind == kind or (kind == "look" and action.what == "stable-ready")
        if late and not asked:
            asked.append(kind)
            theatre.abort()

    return act


def test_texts_that_are_live_already_make_no_configmap() -> None:
    theatre = Theatre()
    theatre.process("first").release(GOOD)
    theatre.settle()
    before = configs(theatre)
    record = theatre.process("second", run="run-2").release("v0.9.1")
    theatre.assert_outcome("promoted")
    assert (configs(theatre), record.configs) == (before, ())


def test_the_texts_that_are_made_are_those_of_the_first_attempt_that_got_there() -> None:
    theatre = Theatre()
    process = theatre.process("first")

    def edit(_: object, action: Any) -> None:
        if action.kind == "create-canary":
            theatre.texts[OLD_NAME] = {"LEVEL": "trace"}

    process.release(GOOD, edit)
    assert theatre.assert_outcome("promoted").configs == ((OLD_NAME, NEW_NAME),)
    assert config_of(theatre, "backend") == NEW_NAME


def test_a_name_that_somebody_took_for_other_texts_is_not_believed() -> None:
    theatre = Theatre()
    theatre._make("ConfigMap", NEW_NAME, data={"LEVEL": "of somebody"})
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("rolled-back")
    assert f"ConfigMap {NEW_NAME} is there and does not hold what its name says" in record.reason
    assert made(theatre)["data"] == {"LEVEL": "of somebody"}


FLAGS = replace(PLAN, configs=(*PLAN.configs, ConfigPlan("backend-flags", "flags", ("A",))))
KEY = replace(PLAN, secrets=(*PLAN.secrets, SecretPlan("backend-key", "key", (("A", "env:A"),))))


@pytest.mark.parametrize("make", [Theatre, Rolling, Bot, Colours])
@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (FLAGS, r"release.configs.\w+.1.replaces: no pod of Deployment [a-z-]+ refers to ConfigMap flags, .* changed"),
        (KEY, r"release.secrets.\w+.1.replaces: no pod of Deployment [a-z-]+ refers to Secret key, .* changed"),
    ],
    ids=["ConfigMap", "Secret"],
)
def test_what_no_pod_refers_to_is_refused_before_anything_changes(
    make: Callable[[], Theatre], more: ReleasePlan, sentence: str
) -> None:
    theatre = make()
    theatre.plan = replace(theatre.plan, configs=more.configs, secrets=more.secrets)
    with pytest.raises(Refused, match=sentence):
        theatre.process("first").release(GOOD)
    assert configs(theatre) == [OLD_NAME] and records.every(theatre.cluster) == []


def test_a_bad_version_goes_back_with_its_configmap_and_the_record_names_both() -> None:
    theatre = Theatre()
    theatre.process("first").release(BAD)
    record = theatre.assert_outcome("rolled-back")
    (step,) = [one for one in record.steps if one.action == "create configs"]
    assert step.observed == f"{OLD_NAME} -> {NEW_NAME} (LEVEL)"
    assert "debug" not in str(theatre.evidence[record.id])
    assert configs(theatre) == [OLD_NAME]
