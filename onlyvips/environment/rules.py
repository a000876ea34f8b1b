"""Rules between keys: each reads whole sections and yields (path, sentence) for what is broken."""

from __future__ import annotations

from onlyvips.environment import rules_delivery, rules_protection, rules_references, rules_routers
from onlyvips.environment.model import Environment
from onlyvips.environment.rule import Broken

RULES = (*rules_delivery.RULES, *rules_routers.RULES, *rules_references.RULES, *rules_protection.RULES)


def broken(environment: Environment) -> Broken:
    """What breaks a rule; a rule whose sections could not be read is left out."""
    for rule in RULES:
        if rule.sections <= environment.model_fields_set:
            yield from rule.check(environment)
