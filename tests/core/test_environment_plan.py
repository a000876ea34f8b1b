"""What the environments say reaches core's plans, and references resolve to values that nothing shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from onlyvips import environment as environments
from onlyvips.core import plan
from onlyvips.errors import Refused
from onlyvips.wiring import backups

SECRET = "hunter2-Sw0rdfish"
DIRECTORY = Path(__file__).parents[2] / "deployments" / "environments"
PRODUCTION = environments.load("production", DIRECTORY)
LAB = environments.load("lab", DIRECTORY)

THE_PLAN: dict[str, Any] = {
    "platform.namespace": "production",
    "platform.main_service": "main-app",
    "platform.helm_release": "onlyvips",
    "platform.mongodb.collections": ["users", "tasks", "contents", "payments"],
    "platform.manifests.green_deployment": "k8s/green-deployment.yaml",
    "platform.manifests.migration_job": "k8s/jobs/migration-v090.yaml",
    "platform.manifests.secrets": "k8s/secrets/v0.9.0/",
    "platform.manifests.configs": "k8s/configs/",
    "platform.domains": ["api.onlyvips.com"],
    "endpoints.api": "https://api.onlyvips.com",
    "services.backend.image": "ghcr.io/onlyvips/backend",
    "services.backend.strategy": "canary",
    "services.miniapp.strategy": "blue-green",
    "services.showcu-panel.strategy": "blue-green",
    "services.bot.strategy": "recreate",
    "strategies.recommended": "canary",
    "strategies.canary.stages": [
        {"weight": 10, "hold": 1800},
        {"weight": 25, "hold": 3600},
        {"weight": 50, "hold": 7200},
    ],
    "strategies.canary.promotion": 100,
    "strategies.blue_green.label": "version",
    "strategies.blue_green.colours": ["blue", "green"],
    "monitoring.metrics.latency": "api_request_duration_seconds",
    "monitoring.metrics.requests": "api_request_total",
    "monitoring.metrics.errors": "api_errors_total",
    "monitoring.metrics.database_connections": "database_connections_active",
    "monitoring.metrics.cache_hit_rate": "redis_hit_rate",
    "monitoring.metrics.task_completion_rate": "task_completion_rate",
    "monitoring.metrics.payment_success_rate": "payment_success_rate",
    "monitoring.dashboards.business-metrics.shows": ["user growth", "task completions", "revenue"],
    "performance.cache_ttl": {
        "user_profile": 3600,
        "task_list": 300,
        "content_list": 600,
        "analytics": 1800,
        "leaderboard": 60,
    },
    "performance.cdn.0.endings": ["jpg", "jpeg", "png", "gif", "ico", "css", "js"],
    "performance.cdn.0.expires": 365 * 86400,
    "performance.cdn.0.cache_control": "public, immutable",
    "performance.cdn.1.prefix": "/api/",
    "performance.cdn.1.cache_control": "no-cache, no-store, must-revalidate",
    "recovery.targets": {"rto": 7200, "rpo": 3600, "degraded": 1800},
    "backup.copies.at_least": 3,
    "backup.copies.media": 2,
    "backup.copies.offsite": 1,
    "backup.oplog_limit": 3600,
    "release.version": "v0.9.0",
    "release.order": ["backup", "secrets", "migration", "deploy"],
    "release.migration.job": "migration-v090",
    "decision.slowdown_limit": 0.1,
    "decision.coverage_minimum": 0.8,
    "people.leads.security": "security@onlyvips.com",
    "people.escalation": "management@onlyvips.com",
    "people.notifications.slack_channel": "#onlyvips-production",
    "people.war_room": "https://meet.onlyvips.com/warroom",
}
ALERTS = {
    "api-latency": ("latency", "above", 0.5, 300, "critical"),
    "api-errors": ("errors", "above", 0.05, 300, "critical"),
    "database-pool": ("database-pool", "above", 0.8, None, "critical"),
    "disk": ("disk", "above", 0.85, None, "critical"),
    "payments": ("payments", "above", 0.1, None, "critical"),
    "cpu": ("cpu", "above", 0.7, 600, "warning"),
    "memory": ("memory", "above", 0.8, None, "warning"),
    "cache": ("cache", "below", 0.6, None, "warning"),
    "queue": ("queue", "above", 1000, None, "warning"),
}
INDEXES = (
    plan.Index("users", (("telegramId", 1),), unique=True),
    plan.Index("tasks", (("status", 1), ("createdAt", -1))),
    plan.Index("contents", (("showerId", 1), ("status", 1))),
    plan.Index("payments", (("userId", 1), ("createdAt", -1))),
)


def at(path: str, value: Any = None) -> Any:
    value = PRODUCTION.model_dump(mode="json") if value is None else value
    for key in path.split("."):
        value = value[int(key)] if key.isdigit() else value[key]
    return value


@pytest.mark.parametrize("path", THE_PLAN)
def test_production_says_what_the_plan_says(path: str) -> None:
    assert at(path) == THE_PLAN[path]


@pytest.mark.parametrize("name", ALERTS)
def test_the_alerts_are_the_plans(name: str) -> None:
    alert = PRODUCTION.monitoring.alerts[name]
    signal, side, value, during, severity = ALERTS[name]
    limit = getattr(alert, str(side))
    assert (alert.signal, limit.value, alert.during, alert.severity) == (signal, value, during, severity)
    assert set(PRODUCTION.monitoring.alerts) == set(ALERTS)


def test_the_checklist_the_scans_and_the_protection_are_complete() -> None:
    sizes = [len(group) for group in PRODUCTION.readiness.model_dump().values()]
    assert sizes == [9, 8, 8, 5]
    tools = [tool for scan in PRODUCTION.security.scans.values() for tool in scan.tools]
    assert tools == ["npm audit", "safety", "pip-audit", "trivy", "gitleaks", "semgrep", "ZAP"]
    assert (len(PRODUCTION.security.run_time), len(PRODUCTION.monitoring.dashboards)) == (5, 5)
    often = {one.kind: one.every or one.with_kind for one in PRODUCTION.recovery.protected}
    assert often == {
        "mongodb": 21600,
        "oplog": 3600,
        "redis": "mongodb",
        "media": 86400,
        "configuration": None,
        "secrets": 86400,
    }
    assert (len(PRODUCTION.decision.go), len(PRODUCTION.decision.no_go), len(PRODUCTION.release.brings)) == (5, 5, 12)


def test_the_release_plan_of_production() -> None:
    made = environments.release_plan(PRODUCTION, "backend", "v0.9.0")
    assert made.service == plan.ServicePlan(
        "backend", "ghcr.io/onlyvips/backend", "canary", "backend", "backend", plan.RouteRef("onlyvips", "backend")
    )
    assert made.stages == (plan.Stage(10, 1800), plan.Stage(25, 3600), plan.Stage(50, 7200))
    assert made.waits == plan.Waits(30, 2, 60, 600, 1800, 7200, 14400)
    assert (made.lease_duration, made.alpha, made.namespace) == (60, 0.05, "production")
    assert made.guardrails == (
        plan.Guardrail("api-errors", "errors", 0.05, minimum_requests=100, recent=300),
        plan.Guardrail("api-latency", "latency", 0.05, bound=0.5, minimum_requests=100, recent=300),
    )
    assert made.migration is not None
    assert made.migration.indexes == INDEXES
    assert "flagger" in made.automatic_managers


def test_the_release_plan_of_the_lab() -> None:
    made = environments.release_plan(LAB, "backend", LAB.release.version)
    assert made.stages == (plan.Stage(10, 8), plan.Stage(25, 6), plan.Stage(50, 6))
    assert made.waits == plan.Waits(5.5, 0.25, 3, 60, 60, 40, 300)
    assert made.lease_duration == 15
    assert made.secrets == (
        plan.SecretPlan("backend-jwt", "backend-jwt-v1", (("JWT_SECRET", "env:ONLYVIPS_LAB_JWT_SECRET"),)),
    )
    assert made.migration == plan.MigrationPlan(
        "migration-v090",
        "ghcr.io/onlyvips/migrate:v0.9.0",
        ("python", "-m", "onlyvips.adapters.indexes_mongodb"),
        "onlyvips",
        "mongodb",
        "uri",
        INDEXES,
    )


@pytest.mark.parametrize(
    ("version", "belongs"),
    [("v0.9.0", True), ("v0.9.0-rc1", True), ("v0.9.01", False), ("v0.9.1", False), ("0.9.01", False)],
)
def test_migration_and_secrets_belong_to_their_release(version: str, belongs: bool) -> None:
    made = environments.release_plan(PRODUCTION, "backend", version)
    assert (made.migration is not None, bool(made.secrets)) == (belongs, belongs)


@pytest.mark.parametrize(
    ("service", "version", "message"),
    [
        ("backnd", "v0.9.0", "did you mean `backend`"),
        ("backend", "0.9.0", "did you mean `v0.9.0`"),
        ("backend", "v0.9.0:x", "not an image's tag"),
        ("backend", "", "not an image's tag"),
    ],
)
def test_a_plan_for_nothing_is_refused(service: str, version: str, message: str) -> None:
    with pytest.raises(Refused, match=re.escape(message)):
        environments.release_plan(PRODUCTION, service, version)


def test_the_stage_of_blue_green_is_its_warm_window_and_what_changes_in_place_has_none() -> None:
    assert environments.release_plan(PRODUCTION, "miniapp", "v0.9.0").stages == (plan.Stage(100, 1800),)
    assert environments.release_plan(PRODUCTION, "bot", "v0.9.0").stages == ()


def test_a_plan_of_blue_green_has_its_own_smoke_tests_and_names_who_stands_beside_it() -> None:
    made = environments.release_plan(PRODUCTION, "miniapp", "v0.9.0").blue_green
    tests = (plan.SmokeTest("/", 200, "<html"),)
    assert made == plan.BlueGreen("version", ("blue", "green"), tests, beside=("showcu-panel",))


def test_the_backup_plan() -> None:
    made = environments.backup_plan(PRODUCTION)
    assert (made.kind, made.database, made.zstd_level, made.stall_timeout) == ("mongodb", "onlyvips", 3, 60)
    assert (made.part_size, len(made.recipients), made.lock) == (16 << 20, 2, "compliance")
    assert [(one.kind, one.offsite, one.immutable) for one in made.destinations] == [
        ("s3", False, False),
        ("s3", True, True),
        ("directory", False, False),
    ]
    lab = environments.backup_plan(LAB)
    assert [one.bucket for one in lab.destinations] == ["onlyvips-backup", "onlyvips-backup", ""]
    assert len({one.medium for one in lab.destinations}) == 2
    assert lab.destinations[2].path == "env:ONLYVIPS_LAB_DIRECTORY"


@pytest.fixture
def lab_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab that is up, as far as its endpoints file goes."""
    monkeypatch.setenv("ONLYVIPS_LAB_HOME", str(tmp_path))
    for name in ("ONLYVIPS_LAB_JWT_SECRET", "ONLYVIPS_LAB_MONGODB_URI", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "endpoints.env").write_text(
        f"# the lab\nexport ONLYVIPS_LAB_JWT_SECRET='{SECRET}'\nONLYVIPS_LAB_GATEWAY_URL=http://127.0.0.1:8080\n"
        "OTHER=from-the-file\nONLYVIPS_LAB_AGE_RECIPIENT_1=age1a\nONLYVIPS_LAB_AGE_RECIPIENT_2=age1a\n"
    )
    return tmp_path


def test_the_labs_file_wins_for_its_own_names_only(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONLYVIPS_LAB_GATEWAY_URL", "http://stale")
    monkeypatch.setenv("OTHER", "from-the-process")
    assert environments.endpoint(LAB, LAB.endpoints.api) == "http://127.0.0.1:8080"
    assert environments.resolve(LAB, "env:OTHER").get_secret_value() == "from-the-process"
    monkeypatch.setenv("ONLYVIPS_LAB_MONGODB_URI", "mongodb://x")
    assert environments.resolve(LAB, "env:ONLYVIPS_LAB_MONGODB_URI").get_secret_value() == "mongodb://x"
    assert environments.endpoints_path(LAB) == lab_home / "endpoints.env"
    assert environments.endpoints_path(PRODUCTION) is None


def test_a_value_is_never_in_a_repr(lab_home: Path) -> None:
    value = environments.resolve(LAB, "env:ONLYVIPS_LAB_JWT_SECRET")
    assert value.get_secret_value() == SECRET
    assert SECRET not in f"{value!r} {value} {LAB!r}"


def test_a_lab_that_is_down_says_so_in_one_sentence(lab_home: Path) -> None:
    (lab_home / "endpoints.env").unlink()
    with pytest.raises(Refused, match="^lab is not up: .*endpoints.env does not exist; run `make lab`.$"):
        environments.resolve(LAB, "env:ONLYVIPS_LAB_JWT_SECRET")


@pytest.mark.parametrize("line", [f"ONLYVIPS_LAB_X={SECRET} more", SECRET, f"A='{SECRET}", f"a b={SECRET}"])
def test_a_bad_line_of_the_labs_file_is_named_but_not_shown(lab_home: Path, line: str) -> None:
    (lab_home / "endpoints.env").write_text(f"\n{line}\n")
    with pytest.raises(Refused, match="endpoints.env:2: the file: not a NAME=value line") as error:
        environments.resolve(LAB, "env:ONLYVIPS_LAB_JWT_SECRET")
    assert SECRET not in str(error.value)


def test_references_resolve_or_say_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONLYVIPS_UNSET", raising=False)
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff")
    assert environments.resolve(PRODUCTION, f"file:{tmp_path}/secret").get_secret_value() == SECRET
    refused = {
        "env:ONLYVIPS_UNSET": "is not set: put ONLYVIPS_UNSET into",
        f"file:{tmp_path}/missing": "No such file",
        f"file:{tmp_path}/empty": "is empty",
        f"file:{tmp_path}/binary": "not UTF-8",
        "vault:kv/x#y": "vault: references are not supported yet",
        "ssm:/x": "ssm: references are not supported yet",
        "kubernetes:secret/key": "kubernetes: references are not supported yet",
        SECRET: "a secret must be a reference",
    }
    for reference, message in refused.items():
        with pytest.raises(Refused, match=re.escape(message)) as error:
            environments.resolve(PRODUCTION, reference)
        assert SECRET not in str(error.value)


def test_recipients_that_resolve_to_one_key_are_refused(lab_home: Path) -> None:
    with pytest.raises(Refused, match="first, second are not different keys"):
        environments.recipients(LAB)
    path = lab_home / "endpoints.env"
    path.write_text(path.read_text() + "ONLYVIPS_LAB_AGE_RECIPIENT_2=age1b\n")
    assert environments.recipients(LAB) == ("age1a", "age1b")


def test_an_unknown_environment_names_the_known_and_the_nearest(tmp_path: Path) -> None:
    for name in ("production", "lab"):
        (tmp_path / f"{name}.yaml").write_text("")
    with pytest.raises(Refused, match="did you mean `production`"):
        environments.load("prodction", tmp_path)
    with pytest.raises(Refused, match="valid here: lab, production"):
        environments.load("qqq", tmp_path)
    with pytest.raises(Refused, match="There is no environment"):
        environments.load("../lab", tmp_path)


def test_the_directory_is_told_found_here_or_beside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONLYVIPS_ENVIRONMENTS_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    assert environments.environments_directory() == DIRECTORY
    here = tmp_path / "deployments" / "environments"
    here.mkdir(parents=True)
    assert environments.environments_directory() == here
    monkeypatch.setenv("ONLYVIPS_ENVIRONMENTS_DIR", str(tmp_path))
    assert environments.environments_directory() == tmp_path
    monkeypatch.setenv("ONLYVIPS_ENVIRONMENTS_DIR", str(tmp_path / "missing"))
    with pytest.raises(Refused, match="not a directory"):
        environments.environments_directory()


@pytest.mark.parametrize("assets", ["published-first", "none"])
def test_a_front_end_may_be_a_canary_when_no_page_can_be_torn(assets: str) -> None:
    old = "strategy: blue-green                            # (ours)\n    deployment: miniapp\n    service: main-app\n"
    new = "strategy: canary\n    deployment: miniapp\n    service: miniapp\n"
    written = (DIRECTORY / "production.yaml").read_text()
    assert old in written
    text = written.replace(old, new).replace("assets: versioned", f"assets: {assets}", 1)
    assert environments.from_text(text, "production", "").services["miniapp"].strategy == "canary"


def test_backups_are_scheduled_as_often_as_the_plan_says_and_none_in_the_lab() -> None:
    every = {one.name: one.every for one in environments.schedules(PRODUCTION)}
    assert every == {
        "production-mongodb": 6 * 3600,
        "production-oplog": 600,
        "production-redis": 6 * 3600,
        "production-media": 24 * 3600,
        "production-configuration": 3600,
        "production-secrets": 24 * 3600,
        "production-verify": 12 * 3600,
        "production-audit": 6 * 3600,
        "production-prune": 24 * 3600,
        "production-drill": 7 * 24 * 3600,
    }
    after = {one.name: one.after for one in environments.schedules(PRODUCTION) if one.after}
    assert after == {
        "production-prune": 3 * 3600 + 300,  # between two bases, and two slices
        "production-drill": 4.5 * 3600 + 300,  # slices lead on from the base, and prune is not at work
    }
    assert environments.schedules(LAB) == []


def test_the_reconciler_is_scheduled_in_production_every_minute_and_not_in_the_lab() -> None:
    (one,) = environments.release_schedules(PRODUCTION)
    asked = (one.name, one.deployment, dict(one.parameters), one.every)
    assert asked == ("production-reconcile", "reconcile/reconcile", {"environment": "production"}, 60)
    assert environments.release_schedules(LAB) == []


def test_every_kind_can_be_taken_and_is_scheduled() -> None:
    names = [one.name for one in backups.schedules(PRODUCTION)]
    taken = ["mongodb", "oplog", "redis", "media", "configuration", "secrets", "verify", "audit", "prune", "drill"]
    assert names == [f"production-{what}" for what in taken]


def test_the_configuration_is_looked_at_each_hour_taken_when_it_changed_and_overdue_after_a_day() -> None:
    (look,) = [one for one in environments.schedules(PRODUCTION) if one.name == "production-configuration"]
    asked = {"environment": "production", "kind": "configuration", "if_changed": True}
    assert (look.deployment, dict(look.parameters), look.every) == ("backup/backup", asked, 3600)
    assert environments.audit_plan(PRODUCTION).every["configuration"] == 24 * 3600


def test_an_audit_asks_for_what_the_environment_does() -> None:
    asked = environments.audit_plan(PRODUCTION)
    assert (asked.copies, asked.media, asked.offsite, asked.immutable) == (3, 2, 1, 1)
    assert (asked.rpo, asked.verified_within, asked.oplog_limit) == (3600, 24 * 3600, 3600)
    assert asked.every["redis"] == asked.every["mongodb"] == 6 * 3600
    assert [place.name for place in asked.places if place.offsite] == ["s3-b"]
    assert environments.kinds(LAB) == ["mongodb", "oplog", "redis", "media", "configuration", "secrets"]


def test_leases_of_backups_are_held_in_a_bucket_of_their_own() -> None:
    lease = environments.lease_plan(PRODUCTION)
    assert (lease.destination.name, lease.bucket, lease.duration) == ("s3-a", "onlyvips-leases", 60)
    assert lease.patience > PRODUCTION.backup.stall_timeout


def test_a_version_of_which_the_release_is_not_goes_without_what_the_release_brings() -> None:
    assert environments.left_out(PRODUCTION, "v0.9.0") == environments.left_out(PRODUCTION, "v0.9.0-rc1") == []
    (told,) = environments.left_out(PRODUCTION, f"v0.9.1@sha256:{'0' * 64}")
    assert "the release is v0.9.0, so v0.9.1 changes the image alone" in told
    assert "migration migration-v090" in told and "Secret backend-jwt" in told
    (told,) = environments.left_out(PRODUCTION, "v0.9.1", "miniapp")
    assert "migration migration-v090" in told and "Secret" not in told
