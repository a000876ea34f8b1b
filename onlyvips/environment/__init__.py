"""Environments: what ``deployments/environments/<name>.yaml`` may say, and core's plans made from it.

Reads the process environment and files, never a client. Values of secrets stay behind references until ``resolve``.
"""

from __future__ import annotations

from onlyvips.environment.configs import config_values
from onlyvips.environment.describe import describe
from onlyvips.environment.images import check_digest
from onlyvips.environment.left_out import left_out
from onlyvips.environment.load import environments_directory, from_text, load, names
from onlyvips.environment.many import many_plan
from onlyvips.environment.model import Environment
from onlyvips.environment.plans import (
    audit_plan,
    backup_plan,
    check_service,
    drill_plan,
    guardrails,
    hook,
    kinds,
    lease_plan,
    lock_plan,
    release_calendar,
    release_plan,
    release_schedules,
    retention_policies,
    schedules,
)
from onlyvips.environment.problems import EnvironmentInvalid, Problem, nearest
from onlyvips.environment.values import (
    all_references,
    drill_keys,
    endpoint,
    endpoints_path,
    identities,
    recipients,
    resolve,
    unresolved,
)

__all__ = [
    "Environment",
    "EnvironmentInvalid",
    "Problem",
    "all_references",
    "audit_plan",
    "backup_plan",
    "check_digest",
    "check_service",
    "config_values",
    "describe",
    "drill_keys",
    "drill_plan",
    "endpoint",
    "endpoints_path",
    "environments_directory",
    "from_text",
    "guardrails",
    "hook",
    "identities",
    "kinds",
    "lease_plan",
    "load",
    "lock_plan",
    "names",
    "nearest",
    "recipients",
    "left_out",
    "many_plan",
    "release_calendar",
    "release_plan",
    "release_schedules",
    "resolve",
    "retention_policies",
    "schedules",
    "unresolved",
]
