"""Mistakes in an environment's file, each with the sentence that it must be told with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path(__file__).parents[2] / "deployments" / "environments"
PRODUCTION = (DIRECTORY / "production.yaml").read_text()
SECRET = "hunter2-Sw0rdfish"


class Case(NamedTuple):
    """``old`` in production.yaml becomes ``new``; the problem is at ``key``, on the line marked ``@@`` (else first)."""

    old: str
    new: str
    key: str
    message: str


BROKEN = {
    # the file itself
    "unknown section": Case("\nwaits:", "\nwait:", "wait", "unknown key; did you mean `waits`?"),
    "missing section": Case("\nwaits:", "\nwait:", "waits", "this key is missing"),
    "unknown key": Case("  lease: 60s", "  leese: 60s", "waits.leese", "unknown key; did you mean `lease`?"),
    "unknown key in a list": Case(
        "{weight: 10%, hold: 30m}", "{weigth: 10%, hold: 30m}", "strategies.canary.stages[0].weigth", "mean `weight`?"
    ),
    "unknown key in a mapping of names": Case(
        "    deployment: bot", "    deploiment: bot", "services.bot.deploiment", "did you mean `deployment`?"
    ),
    "unknown key like no other": Case("  lease: 60s", "  qqq: 60s", "waits.qqq", "unknown key; valid here: hold_limit"),
    "missing key": Case("  lease: 60s\n", "\n", "waits.lease", "this key is missing"),
    "duplicate key": Case("  poll: 2s\n", "  poll: 2s\n@@  poll: 3s\n", "waits.poll", "written twice (first in line"),
    "duplicate section": Case("\nwaits:  ", "\nname: production\n\nwaits:  ", "name", "written twice"),
    "anchor": Case("  poll: 2s", "  poll: &fast 2s", "the file", "anchors and aliases are refused"),
    "tag": Case("  poll: 2s", "  poll: !!python/name:os.system 2s", "the file", "not YAML"),
    "syntax": Case("  poll: 2s", "  poll: [2s", "the file", "not YAML"),
    "other name": Case("\nname: production", "\nname: prod", "name", "write `name: production`"),
    "unhashable key": Case("  poll: 2s", "  [a]: b", "waits", "a key must be a word"),
    # quantities and values
    "bad duration": Case("  poll: 2s", "  poll: 2 sec", "waits.poll", "`2 sec` is not a duration: write it as 30m"),
    "duration without unit": Case("  poll: 2s", "  poll: 2", "waits.poll", "`2` is not a duration"),
    "a duration of ages": Case("  poll: 2s", "  poll: 999999d", "waits.poll", "is more than ten years"),
    "a duration without end": Case("  poll: 2s", f"  poll: {'9' * 400}d", "waits.poll", "is not a duration"),
    "octal": Case("workers: 4", "workers: 010", "backup.workers", "without a 0 in front"),
    "sexagesimal": Case("workers: 4", "workers: 1:30", "backup.workers", "digits 0 to 9 alone"),
    "a number of ages": Case("workers: 4", f"workers: {'9' * 30}", "backup.workers", "18 at most"),
    "a date that is none": Case("cdn: cloudflare", "cdn: 2024-13-45", "platform.cdn", "this value cannot be read"),
    "looks without number": Case("  look: 1m", "  look: 5s", "waits.look", "makes 2520 looks"),
    "media that nobody keeps": Case("kind: media", "kind: redis", "recovery.protected", "`media` is missing"),
    "bad size": Case("part_size: 16MiB", "part_size: 64MB", "backup.part_size", "`64MB` is not a size"),
    "bad percentage": Case("alpha: 5%", "alpha: 0.05", "analysis.alpha", "`0.05` is not a percentage"),
    "word for a number": Case("workers: 4", "workers: many", "backup.workers", "whole number"),
    "yes for a word": Case(
        "secret_manager: vault", "secret_manager: yes", "platform.secret_manager", "not one of vault"
    ),
    "wrong value": Case("cdn: cloudflare", "cdn: cloudflair", "platform.cdn", "did you mean `cloudflare`?"),
    "text for a mapping": Case("redis: {role: cache, persistent: true}", "redis: cache", "platform.redis", "a mapping"),
    "text for a list": Case("colours: [blue, green]", "colours: blue", "strategies.blue_green.colours", "a list"),
    "tagged image": Case(
        "image: ghcr.io/onlyvips/bot", "image: ghcr.io/onlyvips/bot:v1", "services.bot.image", "not written as expected"
    ),
    "index direction": Case("{userId: 1,", "{userId: 2,", "performance.indexes[3].keys.userId", "not one of 1, -1"),
    # secrets
    "plain secret": Case(
        "redis: env:ONLYVIPS_REDIS_URL", f"redis: {SECRET}", "endpoints.redis", "a secret must be a reference"
    ),
    "mistyped scheme": Case(
        "{JWT_SECRET: env:ONLYVIPS_JWT_SECRET}",
        "{JWT_SECRET: valt:secret/jwt#key}",
        "release.secrets.backend[0].values.JWT_SECRET",
        "did you mean `vault:`?",
    ),
    "number for a secret": Case(
        "sentry: env:ONLYVIPS_SENTRY_DSN", "sentry: 12345", "endpoints.sentry", "text is expected"
    ),
    "vault without key": Case(
        "sentry: env:ONLYVIPS_SENTRY_DSN", "sentry: vault:kv/x", "endpoints.sentry", "mount/path#key"
    ),
    "ssm without slash": Case("sentry: env:ONLYVIPS_SENTRY_DSN", "sentry: ssm:x", "endpoints.sentry", "ssm:/name"),
    "kubernetes without key": Case(
        "sentry: env:ONLYVIPS_SENTRY_DSN", "sentry: kubernetes:x", "endpoints.sentry", "kubernetes:secret/key"
    ),
    "relative file": Case(
        "sentry: env:ONLYVIPS_SENTRY_DSN", "sentry: file:x", "endpoints.sentry", "absolute or below ~"
    ),
    "password in a URL": Case(
        "api: https://api.onlyvips.com", f"api: https://me:{SECRET}@api.onlyvips.com", "endpoints.api", "a password"
    ),
    "token in a URL": Case(
        "api: https://api.onlyvips.com", f"api: https://api.onlyvips.com?t={SECRET}", "endpoints.api", "a query"
    ),
    "not a URL": Case(
        "api: https://api.onlyvips.com", "api: api.onlyvips.com", "endpoints.api", "a reference or a URL"
    ),
    "relative path": Case(
        "path: /var/lib", "path: var/lib", "backup.destinations.directory.path", "a path is absolute"
    ),
    "identity for a recipient": Case(
        "recipient: env:ONLYVIPS_AGE_RECIPIENT_1",
        "recipient: AGE-SECRET-KEY-1QQQ",
        "backup.recipients.vault.recipient",
        "replace that key now",
    ),
    # strategies, services
    "unknown strategy": Case("strategy: canary", "strategy: canarry", "services.backend.strategy", "mean `canary`?"),
    "bot that rolls": Case("strategy: recreate", "strategy: rolling", "services.bot.strategy", "never runs twice"),
    "bot with requests": Case(
        "    deployment: bot", "    deployment: bot\n@@    service: bot", "services.bot.service", "takes no requests"
    ),
    "api that is recreated": Case(
        "strategy: canary", "strategy: recreate", "services.backend.strategy", "only a bot may"
    ),
    "canary without a route": Case("", "", "services.backend.route", "a canary needs the HTTPRoute"),
    "no Service": Case("    service: backend ", "    # none ", "services.backend.service", "has a Kubernetes Service"),
    "shared Deployment": Case(
        "deployment: showcu-panel", "@@deployment: miniapp", "services.showcu-panel.deployment", "already"
    ),
    "shared route": Case(
        "route: {name: onlyvips, rule: showcu-panel}",
        "@@route: {name: onlyvips, rule: backend}",
        "services.showcu-panel.route",
        "another service's already",
    ),
    "shared Service": Case(
        "image: ghcr.io/onlyvips/showcu-panel\n    strategy: blue-green",
        "image: ghcr.io/onlyvips/showcu-panel\n    strategy: rolling",
        "services.showcu-panel.service",
        "can only be switched together",
    ),
    # stages and waits
    "falling weights": Case(
        "- {weight: 25%", "- {weight: 5%", "strategies.canary.stages[1].weight", "5% comes after 10%"
    ),
    "equal weights": Case(
        "- {weight: 25%", "@@- {weight: 10%", "strategies.canary.stages[1].weight", "10% comes after 10%"
    ),
    "stage of everything": Case("- {weight: 50%", "- {weight: 100%", "strategies.canary.stages[2].weight", "1% to 99%"),
    "stage of nothing": Case("- {weight: 10%", "- {weight: 0%", "strategies.canary.stages[0].weight", "1% to 99%"),
    "no hold": Case("hold: 30m", "hold: 0s", "strategies.canary.stages[0].hold", "more than zero"),
    "hold without a look": Case("hold: 30m", "hold: 45s", "strategies.canary.stages[0].hold", "shorter than one look"),
    "hold before the router": Case("hold: 30m", "hold: 20s", "strategies.canary.stages[0].hold", "surely obeys"),
    "part promotion": Case("promotion: 100%", "promotion: 90%", "strategies.canary.promotion", "promotion is 100%"),
    "lease and poll": Case("  lease: 60s", "  lease: 6s", "waits.lease", "more than three times waits.poll (2s)"),
    "seldom polls": Case("  poll: 2s", "  poll: 2m", "waits.poll", "longer than waits.look (1m)"),
    "short maximum hold": Case(
        "  maximum_hold: 2h", "  maximum_hold: 30s", "waits.maximum_hold", "shorter than one look"
    ),
    "short hold of a person": Case(
        "  hold_limit: 4h", "  hold_limit: 30s", "waits.hold_limit", "shorter than one look (waits.look is 1m)"
    ),
    "ready too soon": Case("  ready: 10m", "  ready: 30s", "waits.ready", "not longer than waits.propagation"),
    # the judge and alerts
    "unknown guardrail": Case("[api-errors, api-", "[api-erors, api-", "analysis.guardrails[0]", "mean `api-errors`?"),
    "guardrail on a disk": Case("[api-errors, api-", "[disk, api-", "analysis.guardrails[0]", "cannot judge a canary"),
    "guardrail twice": Case("[api-errors, api-latency]", "[api-errors, api-errors]", "analysis.guardrails", "twice"),
    "no alpha": Case("alpha: 5%", "alpha: 0%", "analysis.alpha", "more than 0%"),
    "coin for a judge": Case("alpha: 5%", "alpha: 50%", "analysis.alpha", "at most 20%"),
    "two limits": Case(
        "{signal: disk, above: 85%", "{signal: disk, below: 5%, above: 85%", "monitoring.alerts.disk", "one"
    ),
    "no limit": Case("{signal: disk, above: 85%,", "{signal: disk,", "monitoring.alerts.disk", "exactly one limit"),
    "latency in percent": Case(
        "above: 500ms", "above: 50%", "monitoring.alerts.api-latency.above", "write a duration such as 500ms"
    ),
    "latency without quantile": Case(
        "quantile: 95%, ", "", "monitoring.alerts.api-latency.quantile", "needs a quantile"
    ),
    "disk with quantile": Case(
        "{signal: disk,",
        "{signal: disk, quantile: 95%,",
        "monitoring.alerts.disk.quantile",
        "only latency has quantiles",
    ),
    "severity": Case(
        "85%, severity: critical", "85%, severity: critcal", "monitoring.alerts.disk.severity", "`critical`?"
    ),
    # the release
    "backup last": Case(
        "[backup, secrets, migration, deploy]", "[secrets, migration, deploy, backup]", "release.order", "first"
    ),
    "an order that is not built": Case(
        "[backup, secrets, migration, deploy]",
        "[backup, migration, secrets, deploy]",
        "release.order",
        "no other order",
    ),
    "no migration": Case(
        "[backup, secrets, migration, deploy]", "[backup, secrets, deploy]", "release.order", "each once"
    ),
    "unknown service": Case(
        "[backend, miniapp,", "[backend, minapp,", "release.services[1]", "did you mean `miniapp`?"
    ),
    "service twice": Case("[backend, miniapp,", "[backend, backend, miniapp,", "release.services", "listed twice"),
    "secret of nobody": Case(
        "  secrets:\n    backend:", "  secrets:\n@@    back:", "release.secrets.back", "did you mean `backend`?"
    ),
    "secret twice": Case(
        "      - name: backend-jwt ",
        "      - {name: backend-jwt, replaces: x, values: {A: env:A}}\n      - name: backend-jwt ",
        "release.secrets",
        "listed twice",
    ),
    # backups
    "two copies": Case("", "", "backup.destinations", "2 copies: 3-2-1 needs at least 3"),
    "one medium": Case("medium: block-storage", "medium: object-storage", "backup.destinations", "at least 2 media"),
    "all on site": Case("offsite: true", "offsite: false", "backup.destinations", "too few copies are off site"),
    "all mutable": Case("immutable: true", "immutable: false", "backup.destinations", "too few copies are immutable"),
    "3-2-1 lowered": Case("{at_least: 3", "{at_least: 2", "backup.copies.at_least", "must be at least 3"),
    "leases nowhere": Case(
        "leases: {destination: s3-a", "leases: {destination: s3-c", "backup.leases.destination", "no destination `s3-c`"
    ),
    "leases on a disk": Case(
        "leases: {destination: s3-a", "leases: {destination: directory", "backup.leases.destination", "no S3 store"
    ),
    "leases among backups": Case(
        "bucket: onlyvips-leases", "bucket: onlyvips-backup", "backup.leases.bucket", "give leases one of their own"
    ),
    "immutable without lock": Case(
        "lock: compliance", "lock: none", "backup.destinations.s3-b.immutable", "nothing is immutable"
    ),
    "s3 without bucket": Case(
        "      bucket: onlyvips-backup\n", "", "backup.destinations.s3-a.bucket", "kind s3 needs it"
    ),
    "directory with bucket": Case(
        "      path: /var/lib/onlyvips-backup",
        "      path: /var/lib/onlyvips-backup\n@@      bucket: abc",
        "backup.destinations.directory.bucket",
        "kind directory has no such key",
    ),
    "immutable directory": Case(
        "immutable: false\n      path:",
        "immutable: true\n      path:",
        "backup.destinations.directory.immutable",
        "cannot promise",
    ),
    "half a pruner": Case(
        "      pruner_secret_key: env:ONLYVIPS_PRUNER_A_SECRET_KEY\n",
        "",
        "backup.destinations.s3-a.pruner_secret_key",
        "pruner_access_key is of no use without it",
    ),
    "the writer prunes": Case(
        "pruner_access_key: env:ONLYVIPS_PRUNER_A_ACCESS_KEY",
        "pruner_access_key: env:ONLYVIPS_BACKUP_A_ACCESS_KEY",
        "backup.destinations.s3-a.pruner_access_key",
        "give prune a credential of its own",
    ),
    "pruner of a directory": Case(
        "      path: /var/lib/onlyvips-backup",
        "      path: /var/lib/onlyvips-backup\n@@      pruner_access_key: env:A",
        "backup.destinations.directory.pruner_access_key",
        "kind directory has no such key",
    ),
    "nothing kept": Case("redis: {last: 8", "redis: {last: 0", "backup.retention.redis.last", "must be at least 1"),
    "kept unlocked": Case(
        "redis: {last: 8, daily: 7, locked_for: 2d}",
        "redis: {last: 8, daily: 7}",
        "backup.retention.redis.locked_for",
        "a destination is immutable",
    ),
    "locked for less than a prune": Case(
        "daily: 7, locked_for: 2d",
        "daily: 7, locked_for: 1d",
        "backup.retention.redis.locked_for",
        "give it 2d at least",
    ),
    "locked for ever": Case("yearly: 1,", "yearly: 11,", "backup.retention.mongodb.yearly", "more than ten years"),
    "a kind without retention": Case(
        "    redis: {last: 8, daily: 7, locked_for: 2d}\n",
        "",
        "recovery.protected[2]",
        "does not say what is kept of `redis`",
    ),
    "one place twice": Case("", "", "backup.destinations.s3-b", "are the same place"),
    "one recipient": Case(
        "    safe: {recipient: env:ONLYVIPS_AGE_RECIPIENT_2, identity_kept_in: offline}\n",
        "",
        "backup.recipients",
        "at least two are needed",
    ),
    "equal recipients": Case("AGE_RECIPIENT_2", "AGE_RECIPIENT_1", "backup.recipients", "are the same key"),
    "equal identities": Case("", "", "backup.recipients", "name the same identity"),
    "all in vault": Case(
        "identity_kept_in: offline", "identity_kept_in: cluster", "backup.recipients", "keep one elsewhere"
    ),
    "little memory": Case(
        "memory: 512MiB", "memory: 360MiB", "backup.memory", "hold up to 494MiB; 2 workers would fit"
    ),
    "less memory than a worker needs": Case(
        "memory: 512MiB", "memory: 256MiB", "backup.memory", "not even one worker fits: lower part_size"
    ),
    "small part": Case("part_size: 16MiB", "part_size: 1MiB", "backup.part_size", "from 5MiB to 5GiB"),
    "huge object": Case("object_size: 4GiB", "object_size: 1TiB", "backup.object_size", "one to 10,000 parts"),
    "zstd level": Case("zstd_level: 3", "zstd_level: 30", "backup.zstd_level", "must be at most 19"),
    "seldom slices": Case("oplog_every: 10m", "oplog_every: 90m", "backup.oplog_every", "every audit would fail"),
    "slices beyond the RPO": Case("rpo: 1h", "rpo: 5m", "backup.oplog_every", "10m is too seldom: the RPO is 5m"),
    "limit beyond the RPO": Case("oplog_limit: 1h", "oplog_limit: 2h", "backup.oplog_limit", "2h is too long: the RPO"),
    "plan beyond the RPO": Case(
        "      every: 1h\n", "      every: 2h\n", "recovery.protected[1].every", "2h is too seldom: the RPO is 1h"
    ),
    "no oplog": Case("- kind: oplog", "- kind: redis", "recovery.protected", "`oplog` is missing"),
    "kind twice": Case("- kind: oplog", "- kind: redis", "recovery.protected", "`redis` is listed twice"),
    "redis unprotected": Case("- kind: redis", "- kind: media", "recovery.protected", "platform.redis is persistent"),
    "two cadences": Case("on_change: true", "on_change: true\n      every: 1h", "recovery.protected[4]", "how often?"),
    "degraded after recovery": Case("degraded: 30m", "degraded: 3h", "recovery.targets.degraded", "later than the RTO"),
    "unknown collection": Case(
        "{collection: users,", "{collection: user,", "performance.indexes[0].collection", "did you mean `users`?"
    ),
    "index twice": Case("", "", "performance.indexes", "an index of `users` is listed twice"),
    "cdn of nothing": Case("    - prefix: /api/\n      cache", "    - cache", "performance.cdn[1]", "exactly one of"),
    # people
    "address": Case("devops: devops@onlyvips.com", "devops: devops", "people.leads.devops", "not written as expected"),
    "control characters": Case("", "", "people.war_room", "without control characters"),
}

SPECIAL: dict[str, list[tuple[str, str]]] = {
    "control characters": [("war_room: https://meet.onlyvips.com/warroom", '@@war_room: "\\e[31m"')],
    "canary without a route": [
        ("  backend:\n    kind: api", "@@  backend:\n    kind: api"),
        ("    route: {name: onlyvips, rule: backend}", "    #"),
    ],
    "two copies": [
        ("  destinations:  ", "@@  destinations:  "),
        (PRODUCTION[PRODUCTION.index("    directory:\n") : PRODUCTION.index("  leases:")], ""),
    ],
    "one place twice": [
        ("    s3-b:", "@@    s3-b:"),
        ("https://s3.eu-west-1.amazonaws.com", "https://s3.eu-central-1.amazonaws.com"),
        ("bucket: onlyvips-backup-offsite", "bucket: onlyvips-backup"),
    ],
    "equal identities": [
        ("  recipients:  ", "@@  recipients:  "),
        ("identity_kept_in: vault", "identity_kept_in: vault, identity: env:KEY"),
        ("identity_kept_in: offline", "identity_kept_in: offline, identity: env:KEY"),
    ],
    "shared Service": [
        ("deployment: showcu-panel\n    service", "deployment: showcu-panel\n@@    service"),
        (BROKEN["shared Service"].old, BROKEN["shared Service"].new),
    ],
    "index twice": [("  indexes:", "@@  indexes:\n    - {collection: users, keys: {telegramId: 1}}")],
}
ELSEWHERE = {
    "syntax": "  look: 1m",
    "missing section": "name: production",
    "missing key": "waits:  ",
    "duplicate section": "name: production\n\nwaits",
    "unhashable key": "[a]: b",
    "no Service": "  backend:\n    kind: api",
    "one medium": "  destinations:  ",
    "all on site": "  destinations:  ",
    "all mutable": "  destinations:  ",
    "immutable without lock": "immutable: true",
    "leases among backups": "  leases: {",
    "s3 without bucket": "    s3-a:",
    "half a pruner": "    s3-a:",
    "a kind without retention": "    - kind: redis",
    "no limit": "disk: {",
    "latency without quantile": "api-latency: {",
    "one recipient": "  recipients:  ",
    "equal recipients": "  recipients:  ",
    "all in vault": "  recipients:  ",
    "slices beyond the RPO": "  oplog_every",
    "no oplog": "  protected:",
    "kind twice": "  protected:",
    "redis unprotected": "  protected:",
    "media that nobody keeps": "  protected:",
    "two cadences": "    - kind: configuration",
    "secret twice": "  secrets:\n    backend",
    "service twice": "  services: [backend",
}
"""Cases whose problem is reported on another line than the change: what begins (or stands on) that line."""
