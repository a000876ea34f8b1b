"""Rules on backups, disaster recovery and the database's set-up."""

from __future__ import annotations

from onlyvips.core import budget
from onlyvips.core.kinds import asked_twice
from onlyvips.environment.model import Environment
from onlyvips.environment.problems import Path, nearest
from onlyvips.environment.protection import Destination, MediaReader
from onlyvips.environment.quantities import show_duration, show_size
from onlyvips.environment.rule import Broken, Flaws, repeated, rule

_S3_PART_MINIMUM, _S3_PART_MAXIMUM, _S3_PARTS = 5 << 20, 5 << 30, 10_000
_LOST_TOGETHER = ("vault", "cluster")
_S3_KEYS = ("url", "bucket", "access_key", "secret_key")
_PRUNER_KEYS = ("pruner_access_key", "pruner_secret_key")
_DRILL_KEYS = ("target", "signing_key", "public_keys")
_PRUNE_EVERY = 86400.0
"""Seconds between two prunes, which make locks longer."""
_TIER_DAYS = {"hourly": 1 / 24, "daily": 1, "weekly": 7, "monthly": 31, "yearly": 366}
_LONGEST_LOCK = 3660
"""Days; nobody can take back a lock in mode compliance."""


def copies(environment: Environment) -> Broken:
    """The destinations are the copies, media and sites that ``backup.copies`` asks for (3-2-1)."""
    asked, places = environment.backup.copies, list(environment.backup.destinations.values())
    here: Path = ("backup", "destinations")
    if len(places) < asked.at_least:
        yield here, f"{len(places)} destinations are {len(places)} copies: 3-2-1 needs at least {asked.at_least}"
    media = sorted({place.medium for place in places})
    if len(media) < asked.media:
        yield here, f"all copies are on {', '.join(media) or 'no medium'}: 3-2-1 needs at least {asked.media} media"
    if sum(place.offsite for place in places) < asked.offsite:
        yield here, f"too few copies are off site: 3-2-1 needs at least {asked.offsite} with `offsite: true`"
    if sum(place.immutable for place in places) < asked.immutable:
        yield here, f"too few copies are immutable: backup.copies.immutable asks for {asked.immutable}"


def destinations(environment: Environment) -> Broken:
    """Each destination has the keys of its kind, and no two are one place."""
    backup = environment.backup
    for name, place in backup.destinations.items():
        path: Path = ("backup", "destinations", name)
        for key, sentence in _of_destination(place):
            yield (*path, key), sentence
        if place.immutable and backup.lock == "none":
            yield (*path, "immutable"), "nothing is immutable with `backup.lock: none`: use compliance or governance"
    for where in repeated(_where(place) for place in backup.destinations.values()):
        same = [name for name, place in backup.destinations.items() if _where(place) == where]
        yield ("backup", "destinations", same[-1]), f"{' and '.join(same)} are the same place, which is one copy"


def _of_destination(place: Destination) -> Flaws:
    of_s3 = (*_S3_KEYS, *_PRUNER_KEYS, "region")
    needed, foreign = (_S3_KEYS, ("path",)) if place.kind == "s3" else (("path",), of_s3)
    yield from _keys_of(place, needed, foreign)
    given = [key for key in _PRUNER_KEYS if getattr(place, key) is not None]
    if place.kind == "s3" and len(given) == 1:
        (lacking,) = set(_PRUNER_KEYS) - set(given)
        yield lacking, f"this key is missing: {given[0]} is of no use without it"
    if place.pruner_access_key and place.pruner_access_key == place.access_key:
        yield "pruner_access_key", "who writes must not be able to delete: give prune a credential of its own"
    if place.kind == "directory" and place.immutable:
        yield "immutable", "a directory cannot promise that nobody deletes from it: write `immutable: false`"


def _keys_of(place: Destination | MediaReader, needed: tuple[str, ...], foreign: tuple[str, ...]) -> Flaws:
    for key in needed:
        if getattr(place, key) is None:
            yield key, f"this key is missing: kind {place.kind} needs it"
    for key in foreign:
        if getattr(place, key) is not None:
            yield key, f"kind {place.kind} has no such key: leave it out"


def _where(place: Destination | MediaReader) -> tuple[str | None, ...]:
    return (place.url and place.url.rstrip("/"), place.bucket, place.path and place.path.rstrip("/"))


def leases(environment: Environment) -> Broken:
    """Leases are at an S3 destination, in a bucket of their own: that of the backups may keep versions or locks."""
    asked, places = environment.backup.leases, environment.backup.destinations
    here: Path = ("backup", "leases")
    place = places.get(asked.destination)
    if place is None:
        told = f"there is no destination `{asked.destination}`{nearest(asked.destination, places)}"
        yield (*here, "destination"), told
    elif place.kind != "s3":
        yield (*here, "destination"), f"{asked.destination} is no S3 store: leases need its conditional writes"
    elif place.bucket == asked.bucket:
        yield (*here, "bucket"), f"{asked.bucket} is the bucket of the backups: give leases one of their own"


def retention(environment: Environment) -> Broken:
    """Where copies are locked, every kind says for how long, and long enough for prune to make it longer in time."""
    backup = environment.backup
    locks = any(place.immutable for place in backup.destinations.values())
    for kind, keep in backup.retention.items():
        here: Path = ("backup", "retention", kind, "locked_for")
        if locks and keep.locked_for is None:
            yield here, "this key is missing: a destination is immutable, and its copies are locked for so long"
        elif locks and backup.scheduled and keep.locked_for is not None and keep.locked_for < 2 * _PRUNE_EVERY:
            told = f"{show_duration(keep.locked_for)} is too short: prune runs once a day and makes locks longer"
            yield here, f"{told}; give it 2d at least"
        for tier in (one for one, days in _TIER_DAYS.items() if getattr(keep, one) * days > _LONGEST_LOCK):
            yield (*here[:-1], tier), f"{getattr(keep, tier)} {tier} are more than ten years, and locked for so long"
    for number, one in enumerate(environment.recovery.protected):
        if one.kind not in backup.retention:
            told = f"backup.retention does not say what is kept of `{one.kind}`"
            yield ("recovery", "protected", number), told


def recipients(environment: Environment) -> Broken:
    """Two different keys at least, one of which survives the loss of Vault and cluster."""
    keys = environment.backup.recipients
    here: Path = ("backup", "recipients")
    if len(keys) < 2:
        yield here, f"{len(keys)} recipient: at least two are needed, for losing the only identity loses every backup"
    for _ in repeated(key.recipient for key in keys.values()):
        yield here, "two recipients are the same key: losing one identity would lose both"
    for _ in repeated(key.identity for key in keys.values() if key.identity):
        yield here, "two recipients name the same identity: losing it would lose both"
    if all(key.identity_kept_in in _LOST_TOGETHER for key in keys.values()):
        told = "every identity is kept in Vault or the cluster"
        yield (
            here,
            f"{told}: losing them would lose the backups of them; keep one elsewhere (`identity_kept_in: offline`)",
        )


def secret_manager(environment: Environment) -> Broken:
    """The backup can read the secret manager that the platform has, and no other."""
    manager, reader = environment.platform.secret_manager, environment.backup.secrets
    here: Path = ("backup", "secrets")
    why = f"platform.secret_manager is {manager}"
    for kind in ("vault", "ssm"):
        given = reader is not None and getattr(reader, kind) is not None
        if manager == kind and not given:
            yield here, f"`{kind}` is missing: {why}, and its backup must know how to read it"
        if manager != kind and given:
            yield (*here, kind), f"{why}: leave it out"
    if manager == "vault" and environment.endpoints.vault is None:
        yield ("endpoints", "vault"), f"this key is missing: {why}, and its backup asks it there"


def own_identities(environment: Environment) -> Broken:
    """The backup of SSM does not depend on SSM (of Vault: see ``recipients``)."""
    kept = {key.identity_kept_in for key in environment.backup.recipients.values()}
    if environment.platform.secret_manager == "ssm" and "ssm" in kept <= {"ssm", *_LOST_TOGETHER}:
        told = "every identity is kept in SSM, Vault or the cluster: losing SSM would lose the backup of SSM"
        yield ("backup", "recipients"), f"{told}; keep one elsewhere (`identity_kept_in: offline`)"


def redis(environment: Environment) -> Broken:
    """A persistent Redis can be reached by its backup; of another one nothing is asked."""
    persistent = environment.platform.redis.persistent
    if persistent and environment.endpoints.redis is None:
        why = "platform.redis is persistent, and its backup asks it there"
        yield ("endpoints", "redis"), f"this key is missing: {why}"
    if environment.backup.redis is not None and not persistent:
        yield ("backup", "redis"), "platform.redis is not persistent, so it is not backed up: leave it out"


def parameter_paths(environment: Environment) -> Broken:
    """No parameter of SSM is below two paths."""
    reader = environment.backup.secrets
    paths = reader.ssm.paths if reader and reader.ssm else ()
    for number, path in enumerate(paths):
        for other in (*paths[:number], *paths[number + 1 :]):
            if f"{path}/".startswith(f"{other.rstrip('/')}/"):
                yield ("backup", "secrets", "ssm", "paths", number), f"{path} is below {other} already: leave it out"


def media(environment: Environment) -> Broken:
    """The backup can read the media that the platform has; they are in no place of the backups."""
    kept, reader = environment.platform.media, environment.backup.media
    here: Path = ("backup", "media")
    if reader is None:
        if kept != "none":
            yield here, f"this key is missing: platform.media is {kept}, and their backup must know where they are"
        return
    if reader.kind != kept:
        told = "leave it out" if kept == "none" else f"write `kind: {kept}`"
        yield here if kept == "none" else (*here, "kind"), f"platform.media is {kept}: {told}"
        return
    needed, foreign = (_S3_KEYS, ("path",)) if kept == "s3" else (("path",), (*_S3_KEYS, "region", "prefix"))
    for key, told in _keys_of(reader, needed, foreign):
        yield (*here, key), told
    for name, place in environment.backup.destinations.items():
        if _where(place) == _where(reader):
            yield here, f"the media and the destination {name} are one place: a copy beside the original is none"


def configuration(environment: Environment) -> Broken:
    """Who asks for the configuration says of what; each kind once; looks are not rarer than backups."""
    asked = environment.backup.configuration
    here: Path = ("backup", "configuration")
    if asked is None:
        if any(one.kind == "configuration" for one in environment.recovery.protected):
            yield here, "this key is missing: recovery.protected asks for backups of the configuration"
        return
    for number in asked_twice(asked.kinds):
        yield (*here, "kinds", number), f"{asked.kinds[number]} is asked for already: leave it out"
    if not 0 < asked.look_every <= asked.take_every:
        told = f"{show_duration(asked.look_every)} must be more than zero and at most backup.configuration.take_every"
        yield (*here, "look_every"), f"{told} ({show_duration(asked.take_every)})"


def sizes(environment: Environment) -> Broken:
    """What S3 accepts: parts of 5 MiB to 5 GiB, at most 10,000 of them."""
    part, whole = environment.backup.part_size, environment.backup.object_size
    if not _S3_PART_MINIMUM <= part <= _S3_PART_MAXIMUM:
        yield ("backup", "part_size"), f"{show_size(part)} is not a part's size in S3: from 5MiB to 5GiB"
    if not part <= whole <= part * _S3_PARTS:
        told = f"one to 10,000 parts of {show_size(part)} (backup.part_size)"
        yield ("backup", "object_size"), f"{show_size(whole)} does not fit: an object is {told}"


def memory(environment: Environment) -> Broken:
    """What a backup has in flight fits into ``backup.memory``."""
    backup = environment.backup
    asked = budget.InFlight(
        backup.workers, backup.part_size, backup.zstd_level, backup.zstd_threads, len(backup.destinations)
    )
    if (needed := budget.needed(asked)) > backup.memory:
        fit = budget.workers_within(asked, backup.memory)
        advice = f"{fit} workers would fit" if fit else "not even one worker fits: lower part_size or zstd_level"
        parts = f"{backup.workers} workers with parts of {show_size(backup.part_size)}"
        told = f"{parts} at zstd level {backup.zstd_level} hold up to {needed / (1 << 20):.0f}MiB"
        yield ("backup", "memory"), f"{show_size(backup.memory)} is too little: {told}; {advice}"


def recovery_point(environment: Environment) -> Broken:
    """What may be lost (RPO) is never less than the time between two slices of the oplog."""
    backup, rpo = environment.backup, environment.recovery.targets.rpo
    loss = f"the RPO is {show_duration(rpo)}, and more than that could be lost"
    if backup.oplog_every > backup.oplog_limit:
        told = f"{show_duration(backup.oplog_every)} is more than backup.oplog_limit"
        yield ("backup", "oplog_every"), f"{told} ({show_duration(backup.oplog_limit)}): every audit would fail"
    if backup.oplog_every > rpo:
        yield ("backup", "oplog_every"), f"{show_duration(backup.oplog_every)} is too seldom: {loss}"
    if backup.oplog_limit > rpo:
        yield ("backup", "oplog_limit"), f"{show_duration(backup.oplog_limit)} is too long: {loss}"
    for number, one in enumerate(environment.recovery.protected):
        if one.kind == "oplog" and one.every is not None and one.every > rpo:
            yield ("recovery", "protected", number, "every"), f"{show_duration(one.every)} is too seldom: {loss}"


def protected(environment: Environment) -> Broken:
    """Each kind once, with one cadence; the database and its oplog at least."""
    kinds = [one.kind for one in environment.recovery.protected]
    here: Path = ("recovery", "protected")
    for kind in repeated(kinds):
        yield here, f"`{kind}` is listed twice"
    for kind in ("mongodb", "oplog"):
        if kind not in kinds:
            yield here, f"`{kind}` is missing: without it there is no way back to a point in time"
    for number, one in enumerate(environment.recovery.protected):
        if (one.every is not None) + (one.with_kind is not None) + one.on_change != 1:
            yield (*here, number), "how often? exactly one of `every`, `with_kind` and `on_change: true`"
        elif one.on_change and one.kind != "configuration":
            yield (*here, number, "on_change"), f"nobody sees a change of {one.kind}: write `every`"


def all_data(environment: Environment) -> Broken:
    """What the platform keeps is backed up: a persistent Redis, media, secrets."""
    kinds, platform = {one.kind for one in environment.recovery.protected}, environment.platform
    for kind, kept, why in (
        ("redis", platform.redis.persistent, "platform.redis is persistent"),
        ("media", platform.media != "none", f"platform.media is {platform.media}"),
        ("secrets", platform.secret_manager != "none", f"platform.secret_manager is {platform.secret_manager}"),
    ):
        if kept and kind not in kinds:
            yield ("recovery", "protected"), f"`{kind}` is missing: {why}"


def targets(environment: Environment) -> Broken:
    """Degraded mode comes before recovery; a drill is not due before the next one."""
    goals, drill = environment.recovery.targets, environment.recovery.drill
    if goals.degraded > goals.rto:
        told = f"{show_duration(goals.degraded)} is later than the RTO ({show_duration(goals.rto)})"
        yield ("recovery", "targets", "degraded"), f"{told}: read-only mode is what stands in until then"
    if drill.every > drill.limit:
        told = f"{show_duration(drill.every)} is more than recovery.drill.limit ({show_duration(drill.limit)})"
        yield ("recovery", "drill", "every"), f"{told}: the last drill would be too old before the next"


def drills(environment: Environment) -> Broken:
    """A rehearsal has a target and keys, or none of them; the live server is one only where that is said."""
    drill, here = environment.recovery.drill, ("recovery", "drill")
    given = [key for key in _DRILL_KEYS if getattr(drill, key)]
    for key in _DRILL_KEYS if given else ():
        if key not in given:
            yield (
                (*here, key),
                f"this key is missing: {given[0]} is of no use without it (onlyvips drill key makes a pair)",
            )
    for key in repeated(drill.public_keys):
        yield (*here, "public_keys"), f"{key} is there twice"
    if drill.target and drill.target == environment.endpoints.mongodb and not drill.beside_live:
        told = "this is endpoints.mongodb, the live server: give another one"
        yield (*here, "target"), f"{told}, or write `beside_live: true` where a database beside the live one is meant"


def indexes(environment: Environment) -> Broken:
    """Indexes are of collections that the platform has, each once."""
    known = environment.platform.mongodb.collections
    here: Path = ("performance", "indexes")
    for number, index in enumerate(environment.performance.indexes):
        if index.collection not in known:
            told = f"platform.mongodb has no collection `{index.collection}`"
            yield (*here, number, "collection"), f"{told}{nearest(index.collection, known)}"
    for collection, _ in repeated((i.collection, tuple(i.keys.items())) for i in environment.performance.indexes):
        yield here, f"an index of `{collection}` is listed twice"


def cdn(environment: Environment) -> Broken:
    """A CDN rule is about endings or about a prefix."""
    for number, one in enumerate(environment.performance.cdn):
        if bool(one.endings) == (one.prefix is not None):
            yield ("performance", "cdn", number), "exactly one of `endings` and `prefix` says what the rule is about"


RULES = (
    rule(copies, "backup"),
    rule(destinations, "backup"),
    rule(leases, "backup"),
    rule(retention, "backup", "recovery"),
    rule(recipients, "backup"),
    rule(secret_manager, "backup", "platform", "endpoints"),
    rule(redis, "backup", "platform", "endpoints"),
    rule(own_identities, "backup", "platform"),
    rule(parameter_paths, "backup"),
    rule(media, "backup", "platform"),
    rule(configuration, "backup", "recovery"),
    rule(sizes, "backup"),
    rule(memory, "backup"),
    rule(recovery_point, "backup", "recovery"),
    rule(protected, "recovery"),
    rule(all_data, "recovery", "platform"),
    rule(targets, "recovery"),
    rule(drills, "recovery", "endpoints"),
    rule(indexes, "performance", "platform"),
    rule(cdn, "performance"),
)
