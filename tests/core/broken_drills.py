"""Mistakes in what an environment says of its drills; see ``broken_environments``."""

from __future__ import annotations

from tests.core.broken_environments import Case

BROKEN = {
    "drills too seldom": Case("every: 7d\n", "every: 31d\n", "recovery.drill.every", "too old before the next"),
    "drills without a key": Case(
        "    signing_key: env:ONLYVIPS_DRILL_SIGNING_KEY ",
        "    #",
        "recovery.drill.signing_key",
        "target is of no use without",
    ),
    "drills onto the live server": Case(
        "env:ONLYVIPS_DRILL_MONGODB_URI ",
        "@@env:ONLYVIPS_MONGODB_URI ",
        "recovery.drill.target",
        "the live server: give",
    ),
    "a signing key for its public half": Case(
        "public_keys: [env:ONLYVIPS_DRILL_PUBLIC_KEY]",
        'public_keys: ["ed25519-private:hunter2-Sw0rdfish"]',
        "recovery.drill.public_keys[0]",
        "a secret, where its public half belongs",
    ),
    "a public key that is none": Case(
        "public_keys: [env:ONLYVIPS_DRILL_PUBLIC_KEY]",
        'public_keys: ["ed25519:AAAA"]',
        "recovery.drill.public_keys[0]",
        "must be a reference",
    ),
    "one public key twice": Case(
        "public_keys: [env:ONLYVIPS_DRILL_PUBLIC_KEY]",
        "public_keys: [env:A, env:A]",
        "recovery.drill.public_keys",
        "is there twice",
    ),
}
ELSEWHERE = {"drills without a key": "  drill: "}
