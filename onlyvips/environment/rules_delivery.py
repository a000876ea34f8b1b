"""Rules on services, strategies, waits, the judge and the release."""

from __future__ import annotations

from onlyvips.core.images import digest_of
from onlyvips.core.judge import planned_looks
from onlyvips.core.order import in_order
from onlyvips.core.plan import Stage
from onlyvips.environment.delivery import Service
from onlyvips.environment.model import Environment
from onlyvips.environment.operations import Alert
from onlyvips.environment.problems import Path, nearest
from onlyvips.environment.quantities import show_duration
from onlyvips.environment.rule import Broken, Flaws, repeated, rule
from onlyvips.errors import Refused

_MOST_LOOKS = 1000
_UNITS = {"latency": "seconds", "queue": "count"}
_NOT_FOR_TESTERS = ("cookie", "host", "user-agent", "accept", "connection", "content-length", "x-onlyvips-preview")
_EXAMPLES = {"seconds": "a duration such as 500ms", "share": "a percentage such as 5%", "count": "a whole number"}


def stages(environment: Environment) -> Broken:
    """Weights rise strictly within 1..99; 100 is promotion."""
    canary = environment.strategies.canary
    here: Path = ("strategies", "canary")
    before = 0
    for number, stage in enumerate(canary.stages):
        path: Path = (*here, "stages", number, "weight")
        if not 1 <= stage.weight <= 99:
            yield path, f"{stage.weight}% is not a stage: stages are 1% to 99%, and 100% is the promotion that follows"
        elif stage.weight <= before:
            yield path, f"weights must rise from stage to stage: {stage.weight}% comes after {before}%"
        before = stage.weight
    if canary.promotion != 100:
        yield (*here, "promotion"), "promotion is 100%: anything less is a stage"


def holds(environment: Environment) -> Broken:
    """A hold has room for a look, and outlasts the router's delay."""
    waits = environment.waits
    for number, stage in enumerate(environment.strategies.canary.stages):
        path: Path = ("strategies", "canary", "stages", number, "hold")
        if stage.hold < waits.look:
            yield (
                path,
                f"{_d(stage.hold)} is shorter than one look (waits.look is {_d(waits.look)}): nobody would judge",
            )
        if stage.hold <= waits.propagation:
            told = f"waits.propagation is {_d(waits.propagation)}"
            yield path, f"{_d(stage.hold)} is over before the router surely obeys ({told}): hold for longer"


def waits(environment: Environment) -> Broken:
    """Waits that make sense together."""
    waits = environment.waits
    if waits.lease <= 3 * waits.poll:
        need = f"more than three times waits.poll ({_d(waits.poll)})"
        yield ("waits", "lease"), f"{_d(waits.lease)} is too short: it must be {need}, or a slow poll loses it"
    if waits.poll > waits.look:
        yield (
            ("waits", "poll"),
            f"{_d(waits.poll)} is longer than waits.look ({_d(waits.look)}): poll at least as often",
        )
    if waits.maximum_hold < waits.look:
        told = f"shorter than one look (waits.look is {_d(waits.look)})"
        yield ("waits", "maximum_hold"), f"{_d(waits.maximum_hold)} is {told}: every hold would roll back at once"
    if waits.hold_limit is not None and waits.hold_limit < waits.look:
        told = f"shorter than one look (waits.look is {_d(waits.look)})"
        yield ("waits", "hold_limit"), f"{_d(waits.hold_limit)} is {told}: every hold would roll back at once"
    if waits.ready <= waits.propagation:
        told = f"not longer than waits.propagation ({_d(waits.propagation)})"
        yield ("waits", "ready"), f"{_d(waits.ready)} is {told}: no pod would be ready in time"


def looks(environment: Environment) -> Broken:
    """A release's record, which is one object of the cluster, holds its looks."""
    look = environment.waits.look
    planned = planned_looks([Stage(one.weight, one.hold) for one in environment.strategies.canary.stages], look)
    if planned > _MOST_LOOKS:
        told = f"{_d(look)} makes {planned} looks of the canary's stages, and a release's record holds {_MOST_LOOKS}"
        yield ("waits", "look"), f"{told}: look less often"


def each_service(environment: Environment) -> Broken:
    """What a kind of service can be released by."""
    for name, service in environment.services.items():
        for key, sentence in _of_service(service):
            yield ("services", name, key), sentence


def _of_service(service: Service) -> Flaws:
    if service.kind == "bot":
        yield from _of_bot(service)
        return
    if service.strategy == "recreate":
        yield "strategy", "recreate stops a service before the new one runs, so requests are lost: only a bot may"
    if service.service is None:
        yield "service", "this key is missing: a service with requests has a Kubernetes Service"
    if service.strategy == "blue-green" and service.route is None:
        yield "route", "this key is missing: the other colour is tested by the HTTPRoute and the rule that lead there"
    yield from _of_users(service)


def _of_users(service: Service) -> Flaws:
    """Who is kept to one version of a canary, and who is sent to it."""
    canary, kept = service.strategy == "canary", service.affinity == "cookie"
    if canary and service.kind == "front-end" and service.assets == "versioned" and not kept:
        yield (
            "strategy",
            "a weighted canary of a front-end with versioned assets would serve half a page of each version: write "
            "`affinity: cookie`, use blue-green, or publish the assets of both versions first and say `assets: "
            "published-first`",
        )
    if kept and not canary:
        yield "affinity", f"only a canary shares users between two versions, {service.strategy} does not: leave it out"
    if service.embedded and not kept:
        yield "embedded", "it says how the cookie of `affinity: cookie` is set, and there is none: leave this key out"
    if (testers := service.testers) is not None and not canary:
        yield "testers", f"only a canary has a version for testers beside stable, {service.strategy} has not"
    if testers is not None and testers.header.lower() in _NOT_FOR_TESTERS:
        yield "testers", f"`{testers.header}` is in requests of every user: name one that only testers send"


def _of_bot(service: Service) -> Flaws:
    if service.strategy != "recreate":
        yield "strategy", f"a polling bot never runs twice, which {service.strategy} would do: use recreate"
    yield from _of_users(service)
    if service.route is not None or service.service is not None:
        yield ("route" if service.route else "service"), "a polling bot takes no requests: leave this key out"


def charts(environment: Environment) -> Broken:
    """A chart is named once and whole, and what owns a Deployment is not blue-green's two."""
    for name, service in environment.services.items():
        here: Path = ("services", name, "chart")
        if (chart := service.chart) is None:
            continue
        if service.strategy == "blue-green":
            yield here, "blue-green makes a Deployment of its own, which no chart owns: leave this key out"
        if chart.release is None and environment.platform.helm_release is None:
            yield (*here, "release"), "this key is missing, and platform.helm_release names none either"
        if (chart.path is None) == (chart.name is None):
            yield here, "the chart is at a `path`, or has a `name` and a `version`: write one of the two"
        if chart.name is not None and chart.version is None:
            yield (*here, "version"), "this key is missing: without it an upgrade would bring the newest chart"
        if chart.path is not None and (chart.version or chart.repository):
            key = "version" if chart.version else "repository"
            yield (*here, key), "a chart at a path is what lies there: leave this key out"
        for secret in environment.release.secrets.get(name, ()):
            if secret.name not in chart.secret_values:
                told = f"`{secret.name}` is missing: the chart gives the pods its name by a value"
                yield (*here, "secret_values") if chart.secret_values else here, f"{told} (secret_values)"


def services_together(environment: Environment) -> Broken:
    """Nothing of the cluster belongs to two services that go different ways."""
    services = environment.services
    for deployment in repeated(service.deployment for service in services.values()):
        last = [name for name, service in services.items() if service.deployment == deployment][-1]
        yield ("services", last, "deployment"), f"`{deployment}` is another service's Deployment already"
    for route in repeated(service.route for service in services.values() if service.route):
        last = [name for name, service in services.items() if service.route == route][-1]
        yield ("services", last, "route"), f"rule `{route.rule}` of `{route.name}` is another service's already"
    for shared in repeated(service.service for service in services.values() if service.service):
        users = {name: service for name, service in services.items() if service.service == shared}
        if {service.strategy for service in users.values()} != {"blue-green"}:
            told = f"`{shared}` stands before {', '.join(users)}, which can only be switched together"
            yield ("services", list(users)[-1], "service"), f"{told}: make all of them blue-green"


def colours(environment: Environment) -> Broken:
    """Two colours can be told apart."""
    first, second = environment.strategies.blue_green.colours
    if first == second:
        yield ("strategies", "blue_green", "colours"), "the two colours must differ"


def blue_green(environment: Environment) -> Broken:
    """Blue-green switches the main Service between two colours."""
    strategy, main = environment.strategies.blue_green, environment.platform.main_service
    here: Path = ("strategies", "blue_green")
    if strategy.service != main:
        yield (*here, "service"), f"it switches `{strategy.service}`, but platform.main_service is `{main}`"
    waits = environment.waits
    if strategy.keep_warm < waits.look or strategy.keep_warm <= waits.propagation:
        told = f"{_d(strategy.keep_warm)} is over before anybody could look (waits.look is {_d(waits.look)}"
        yield (*here, "keep_warm"), f"{told}, waits.propagation {_d(waits.propagation)}): keep it for longer"
    for number, request in enumerate(strategy.smoke_test.requests):
        if (name := request.service) and name not in environment.services:
            told = f"there is no service `{name}`{nearest(name, environment.services)}"
            yield (*here, "smoke_test", "requests", number, "service"), told
    for name, service in environment.services.items():
        if service.strategy == "blue-green" and not _tested(environment, name):
            yield (*here, "smoke_test", "requests"), f"none of them is of `{name}`: it would be switched to untested"
        if service.strategy == "blue-green" and service.service not in (None, strategy.service):
            told = f"blue-green switches `{strategy.service}`, and this one is behind `{service.service}`"
            yield ("services", name, "service"), f"{told}: write `service: {strategy.service}`"


def _tested(environment: Environment, service: str) -> bool:
    return any(one.service in (None, service) for one in environment.strategies.blue_green.smoke_test.requests)


def alerts(environment: Environment) -> Broken:
    """Every alert has one limit in its signal's unit."""
    for name, alert in environment.monitoring.alerts.items():
        for key, sentence in _of_alert(alert):
            path: Path = ("monitoring", "alerts", name)
            yield (*path, key) if key else path, sentence


def _of_alert(alert: Alert) -> Flaws:
    if (alert.above is None) == (alert.below is None):
        yield "", "an alert has exactly one limit: `above` or `below`"
    unit = _UNITS.get(alert.signal, "share")
    for key, limit in (("above", alert.above), ("below", alert.below)):
        if limit is not None and limit.unit != unit:
            yield key, f"{limit} does not measure {alert.signal}: write {_EXAMPLES[unit]}"
    if alert.signal == "latency" and not 0.5 <= (alert.quantile or 0) < 1:
        yield "quantile", "latency needs a quantile from 50% to below 100%, such as 95%"
    if alert.signal != "latency" and alert.quantile is not None:
        yield "quantile", "only latency has quantiles: leave this key out"


def guardrails(environment: Environment) -> Broken:
    """Guardrails name alerts on errors or latency."""
    alerts = environment.monitoring.alerts
    for number, name in enumerate(environment.analysis.guardrails):
        path: Path = ("analysis", "guardrails", number)
        if name not in alerts:
            yield path, f"there is no alert `{name}`{nearest(name, alerts)}"
        elif alerts[name].signal not in ("errors", "latency") or alerts[name].above is None:
            yield path, f"`{name}` cannot judge a canary: a guardrail is an alert on errors or latency above a limit"
    for name in repeated(environment.analysis.guardrails):
        yield ("analysis", "guardrails"), f"`{name}` is listed twice"


def alpha(environment: Environment) -> Broken:
    """The false-alarm share is one that a judge can work with."""
    if not 0 < environment.analysis.alpha <= 0.2:
        yield (
            ("analysis", "alpha"),
            "must be more than 0% and at most 20%: it is the share of good releases rolled back",
        )


def release(environment: Environment) -> Broken:
    """The order is complete and safe; what it names exists."""
    order, planned = environment.release.order, environment.release
    here: Path = ("release", "order")
    if sorted(order) != sorted(("backup", "secrets", "migration", "deploy")):
        yield here, "must name backup, secrets, migration and deploy, each once"
    elif order != ("backup", "secrets", "migration", "deploy"):
        told = "backup comes first, for the way back, then secrets, migration, and deploy last, for it needs the others"
        yield here, f"{told}: no other order is built"
    for name in repeated(planned.services):
        yield ("release", "services"), f"`{name}` is listed twice"
    for number, name in enumerate(planned.services):
        if name not in environment.services:
            yield ("release", "services", number), f"there is no service `{name}`{nearest(name, environment.services)}"
    for key, named in (("secrets", planned.secrets), ("configs", planned.configs)):
        for name in named:
            if name not in planned.services:
                told = f"`{name}` is not among release.services"
                yield ("release", key, name), f"{told}{nearest(name, planned.services)}"
    for name in repeated(one.name for some in planned.secrets.values() for one in some):
        yield ("release", "secrets"), f"`{name}` is listed twice"


def digests(environment: Environment) -> Broken:
    """What is required of services is required of the Jobs beside them; digests are of services that are released."""
    planned = environment.release
    for name in planned.digests:
        if name not in planned.services:
            told = f"`{name}` is not among release.services"
            yield ("release", "digests", name), f"{told}{nearest(name, planned.services)}"
    if not planned.require_digest:
        return
    jobs: list[tuple[Path, str]] = []
    if planned.migration is not None:
        jobs.append((("release", "migration", "image"), planned.migration.image))
    if planned.contract is not None:
        jobs.append((("release", "contract", "image"), planned.contract.image))
    for when, hooks in (("before", planned.hooks.before), ("after", planned.hooks.after)):
        jobs += [(("release", "hooks", when, number, "image"), one.image) for number, one in enumerate(hooks)]
    for path, image in jobs:
        if not digest_of(image):
            yield path, f"{image} is named by its tag alone, and release.require_digest is true: add @sha256:…"


def configs(environment: Environment) -> Broken:
    """ConfigMaps of the release hold something, and have names of their own."""
    planned = environment.release.configs
    for service, some in planned.items():
        if service in environment.services and environment.services[service].chart is not None:
            told = "its chart gives the pods the names of their ConfigMaps, and no value for that is known yet"
            yield ("release", "configs", service), f"{told}: make them in the chart"
        for number, one in enumerate(some):
            if not one.values and one.folder is None:
                told = "it would be empty: give it `values`, or a `folder` of files"
                yield ("release", "configs", service, number), told
    for name in repeated(one.name for some in planned.values() for one in some):
        yield ("release", "configs"), f"`{name}` is listed twice"


def depends(environment: Environment) -> Broken:
    """What a service needs is released with it, and nothing needs itself; Jobs have names of their own."""
    planned = environment.release
    for name, needed in planned.depends.items():
        for one in (name, *needed):
            if one not in planned.services:
                told = f"`{one}` is not among release.services"
                yield ("release", "depends", name), f"{told}{nearest(one, planned.services)}"
    try:
        in_order(planned.services, planned.depends)
    except Refused as error:
        yield ("release", "depends"), str(error)
    jobs = [one.name for one in (*planned.hooks.before, *planned.hooks.after)]
    for name in repeated([*jobs, *([planned.contract.name] if planned.contract else [])]):
        yield ("release", "hooks"), f"`{name}` is listed twice"


def calendar(environment: Environment) -> Broken:
    """A freeze ends after it begins, and a window has a length."""
    for number, freeze in enumerate(environment.release.freezes):
        start, end = freeze.span
        if end <= start:
            yield ("release", "freezes", number, "end"), f"{freeze.end} is not after {freeze.start}: nothing is frozen"
    for number, window in enumerate(environment.release.windows):
        if window.start == window.end:
            told = f"{window.end} is the start, too: for a whole day write two windows, for always none"
            yield ("release", "windows", number, "end"), told


def approvals(environment: Environment) -> Broken:
    """An approval is wanted somewhere, and people have time to give it; stages are those that there are."""
    asked, here = environment.release.approvals, ("release", "approvals")
    if asked is None:
        return
    if not (asked.before_traffic or asked.stages or asked.before_switch):
        yield here, "no approval is wanted anywhere: say `before_traffic`, `stages` or `before_switch`, or leave it out"
    known = [one.weight for one in environment.strategies.canary.stages]
    for number, weight in enumerate(asked.stages):
        if weight not in (*known, 100):
            there = ", ".join(f"{one}%" for one in (*known, 100))
            yield (*here, "stages", number), f"the canary has no stage of {weight}%: there are {there}"
    if asked.within < 2 * environment.waits.poll:
        yield (*here, "within"), f"{_d(asked.within)} is over before anybody could answer: give people longer"
    if asked.by and asked.at_least > len(set(asked.by)):
        yield (*here, "at_least"), f"{asked.at_least} have to approve, and `by` names {len(set(asked.by))}"


def _d(seconds: float) -> str:
    return show_duration(seconds)


RULES = (
    rule(stages, "strategies"),
    rule(holds, "strategies", "waits"),
    rule(waits, "waits"),
    rule(looks, "strategies", "waits"),
    rule(each_service, "services"),
    rule(charts, "services", "platform", "release"),
    rule(services_together, "services"),
    rule(colours, "strategies"),
    rule(blue_green, "strategies", "platform", "services", "waits"),
    rule(alerts, "monitoring"),
    rule(guardrails, "analysis", "monitoring"),
    rule(alpha, "analysis"),
    rule(release, "release", "services"),
    rule(configs, "release", "services"),
    rule(depends, "release"),
    rule(digests, "release"),
    rule(calendar, "release"),
    rule(approvals, "release", "strategies", "waits"),
)
