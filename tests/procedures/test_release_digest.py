"""An image by its digest: refused without one where it is required, named with it everywhere, looked for in pods."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from flows.commands import release
from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core import report
from onlyvips.core.record import to_json
from onlyvips.errors import Refused
from onlyvips.wiring import several
from tests.core.broken_environments import PRODUCTION
from tests.procedures.theatre import GOOD, IMAGE, OLD, PLAN, Process, Theatre

DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
PINNED = f"{IMAGE}:{GOOD}@{DIGEST}"
_REQUIRED = PRODUCTION.replace("require_digest: false ", "require_digest: true\n  # ").replace(
    "onlyvips/migrate:v0.9.0", f"onlyvips/migrate:v0.9.0@{OTHER}"
)
LINE = _REQUIRED[: _REQUIRED.index("require_digest")].count("\n") + 1


def required(more: str = "") -> environments.Environment:
    text = _REQUIRED.replace("  require_digest: true\n", f"  require_digest: true\n{more}")
    return environments.from_text(text, "production", "production.yaml")


def pinned() -> tuple[Theatre, Process]:
    theatre = Theatre(replace(PLAN, digest=DIGEST))
    return theatre, theatre.process("driver")


def plan(monkeypatch: pytest.MonkeyPatch, capsys: Any, loaded: environments.Environment, version: str) -> list[str]:
    """The refusals of ``release plan``."""
    theatre = Theatre()
    monkeypatch.setattr(environments, "load", lambda _: loaded)
    monkeypatch.setattr(wiring, "cluster_of", lambda _: theatre.cluster)
    monkeypatch.setattr(wiring, "checks_of", lambda *_: [])
    monkeypatch.setenv("ONLYVIPS_JWT_SECRET", "of-production")
    monkeypatch.setattr(wiring, "metrics_of", lambda _: theatre.platform.metrics)
    code = release.planning.plan(environment="production", service="backend", version=version, json=True)
    refusals: list[str] = json.loads(capsys.readouterr().out)["found"]["refusals"]
    assert code == (2 if refusals else 0)
    return refusals


def test_a_tag_alone_is_refused_with_file_line_and_key(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (sentence,) = plan(monkeypatch, capsys, required(), GOOD)
    assert sentence.startswith(f"production.yaml:{LINE}: release.require_digest: an image is released by its digest")
    assert "write it as `release.digests.backend`" in sentence
    (other,) = plan(monkeypatch, capsys, required(), "v1.0.0")
    assert "release.digests" not in other, "those are of the release's own version alone"


def test_a_digest_of_the_version_or_of_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert plan(monkeypatch, capsys, required(), f"{GOOD}@{DIGEST}") == []
    said = required(f"  digests: {{backend: {DIGEST}}}\n")
    assert plan(monkeypatch, capsys, said, GOOD) == []
    assert environments.release_plan(said, "backend", GOOD).digest == DIGEST
    assert environments.release_plan(said, "backend", "v1.0.0").digest == ""


def test_a_digest_that_is_none_or_not_the_environments_is_refused() -> None:
    with pytest.raises(Refused, match="`` is not a digest"):
        environments.release_plan(required(), "backend", "v0.9.0@")
    with pytest.raises(Refused, match="`sha256:abc` is not a digest"):
        environments.release_plan(required(), "backend", f"{GOOD}@sha256:abc")
    said = required(f"  digests: {{backend: {DIGEST}}}\n")
    with pytest.raises(Refused, match=rf"production.yaml:{LINE + 1}: release.digests.backend: .* was asked for"):
        environments.release_plan(said, "backend", f"{GOOD}@{OTHER}")


def test_several_services_have_their_digests_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match="one digest cannot be theirs: nothing was changed; write them as"):
        environments.many_plan(required(), f"{GOOD}@{DIGEST}")
    theatre, loaded = Theatre(), required()
    monkeypatch.setattr(wiring, "cluster_of", lambda _: theatre.cluster)
    site = several.site_of_all(loaded, GOOD)
    with pytest.raises(Refused, match=r"release.require_digest: .* and backend v0.9.0 was asked for by its tag alone"):
        site.preflight()


def test_it_is_named_with_its_digest_in_the_template_the_record_and_the_headline() -> None:
    theatre, driver = pinned()
    record = driver.release(f"{GOOD}@{DIGEST}")
    theatre.assert_outcome("promoted")
    live = theatre.cluster.get("Deployment", "backend")
    assert live is not None and live["spec"]["template"]["spec"]["containers"][0]["image"] == PINNED
    assert live["spec"]["template"]["metadata"]["labels"]["version"] == record.version == GOOD
    assert (record.to_image, record.digest) == (PINNED, DIGEST) and PINNED in to_json(record)
    assert f"backend {GOOD} (sha256:aaaaaaaaaaaa…) in simulated" in report.headline(record)


def test_pods_that_run_another_image_get_no_request_and_the_release_goes_back() -> None:
    theatre, driver = pinned()
    theatre.platform.nature.pulls[PINNED] = f"{IMAGE}@{OTHER}"
    record = driver.release(f"{GOOD}@{DIGEST}")
    theatre.assert_outcome("rolled-back")
    assert f"runs {OTHER}, which is not the image that was asked for" in record.reason
    assert theatre.route_writes == [], "the canary never had weight"


def test_the_same_tag_with_another_digest_is_refused_for_nobody_could_tell_them_apart() -> None:
    theatre, driver = pinned()
    driver.release(f"{GOOD}@{DIGEST}")
    again = theatre.process("second", "run-2")
    with pytest.raises(Refused, match=f"backend runs {GOOD} already: nothing was changed"):
        again.release(f"{GOOD}@{DIGEST}")
    again.site = replace(again.site, plan=replace(PLAN, digest=OTHER))
    theatre.plan = replace(PLAN, digest=OTHER)
    with pytest.raises(Refused, match="give the new build a tag of its own"):
        again.release(f"{GOOD}@{OTHER}")


def test_a_digest_that_is_not_the_open_releases_is_another_version() -> None:
    theatre, driver = pinned()
    told: list[str] = []

    def ask(*_: object) -> None:
        if not told:
            with pytest.raises(Refused) as refused:
                theatre.process("second", "run-2").release(f"{GOOD}@{OTHER}")
            told.append(str(refused.value))

    driver.release(f"{GOOD}@{DIGEST}", ask)
    assert f"of backend {GOOD}@{DIGEST} is still open" in told[0]
    assert theatre.stable_image() == GOOD != OLD
