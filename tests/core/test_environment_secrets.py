"""What the environment says of the secret manager's backup: it can be read, and does not depend on itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from onlyvips import environment as environments

DIRECTORY = Path(__file__).parents[2] / "deployments" / "environments"
PRODUCTION = (DIRECTORY / "production.yaml").read_text()
HEAD = "  secrets:                                          # (ours) who may read all of endpoints.vault\n"
VAULT = "    vault: {token: env:ONLYVIPS_BACKUP_VAULT_TOKEN}\n"
KEYS = "access_key: env:ONLYVIPS_SSM_ACCESS_KEY, secret_key: env:ONLYVIPS_SSM_SECRET_KEY"
SSM = f"    ssm: {{region: eu-central-1, paths: [/onlyvips/production], {KEYS}}}\n"
SECRET = "hunter2-Sw0rdfish"
Changes = list[tuple[str, str]]
ON_SSM: Changes = [("secret_manager: vault ", "secret_manager: ssm "), (VAULT, SSM)]
VAULT_ENDPOINT = next(line for line in PRODUCTION.splitlines(keepends=True) if line.startswith("  vault: http"))


def edited(changes: Changes) -> str:
    text = PRODUCTION
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


BROKEN: dict[str, tuple[Changes, str]] = {
    "nothing to read with": (
        [(HEAD, ""), (VAULT, "")],
        "backup.secrets: `vault` is missing: platform.secret_manager is vault, and its backup must know how to read it",
    ),
    "a reader of what is not there": (
        [(VAULT, VAULT + SSM)],
        "backup.secrets.ssm: platform.secret_manager is vault: leave it out",
    ),
    "the other reader": (ON_SSM[:1], "backup.secrets: `ssm` is missing: platform.secret_manager is ssm"),
    "the other reader is left out": (ON_SSM[:1], "backup.secrets.vault: platform.secret_manager is ssm: leave it out"),
    "a reader of nothing": (
        [("secret_manager: vault ", "secret_manager: none ")],
        "backup.secrets.vault: platform.secret_manager is none: leave it out",
    ),
    "no address": (
        [(VAULT_ENDPOINT, "")],
        "endpoints.vault: this key is missing: platform.secret_manager is vault",
    ),
    "a token itself": (
        [("token: env:ONLYVIPS_BACKUP_VAULT_TOKEN", f"token: {SECRET}")],
        "a secret must be a reference",
    ),
    "no paths": (
        [*ON_SSM, ("[/onlyvips/production]", "[]")],
        "backup.secrets.ssm.paths: at least one entry is needed here",
    ),
    "a path that ends in a slash": (
        [*ON_SSM, ("[/onlyvips/production]", "[/onlyvips/]")],
        "backup.secrets.ssm.paths[0]: not written as expected: /, or a path such as /onlyvips/production",
    ),
    "a path below another": (
        [*ON_SSM, ("[/onlyvips/production]", "[/onlyvips, /onlyvips-other, /onlyvips/production]")],
        "backup.secrets.ssm.paths[2]: /onlyvips/production is below /onlyvips already: leave it out",
    ),
    "a path below the root": (
        [*ON_SSM, ("[/onlyvips/production]", "[/, /onlyvips]")],
        "backup.secrets.ssm.paths[1]: /onlyvips is below / already",
    ),
    "a path twice": (
        [*ON_SSM, ("[/onlyvips/production]", "[/onlyvips, /onlyvips]")],
        "backup.secrets.ssm.paths[1]: /onlyvips is below /onlyvips already",
    ),
    "ssm keeps the keys of its own backup": (
        [*ON_SSM, ("identity_kept_in: offline", "identity_kept_in: ssm")],
        "backup.recipients: every identity is kept in SSM, Vault or the cluster: losing SSM would lose",
    ),
    "ssm is not backed up": (
        [*ON_SSM, ("    - kind: secrets\n", "    - kind: media\n")],
        "recovery.protected: `secrets` is missing: platform.secret_manager is ssm",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_secret_manager_that_could_not_be_backed_up_or_brought_back_is_refused(case: str):
    changes, sentence = BROKEN[case]
    with pytest.raises(environments.EnvironmentInvalid) as raised:
        environments.from_text(edited(changes), "production", "production.yaml")
    assert sentence in str(raised.value)
    assert SECRET not in str(raised.value)


def sentences(environment: environments.Environment) -> list[str]:
    return [sentence for _, chapter in environments.describe(environment) for sentence in chapter]


def test_vault_and_ssm_both_are_read_as_the_file_says():
    vault = environments.from_text(PRODUCTION, "production", "production.yaml")
    assert vault.backup.secrets and vault.backup.secrets.vault
    assert vault.backup.secrets.vault.token == "env:ONLYVIPS_BACKUP_VAULT_TOKEN"
    assert "Secrets: the raft snapshot of Vault at http://vault.vault.svc:8200." in sentences(vault)
    ssm = environments.from_text(edited(ON_SSM), "production", "production.yaml")
    assert ssm.backup.secrets and ssm.backup.secrets.ssm
    assert ssm.backup.secrets.ssm.paths == ("/onlyvips/production",)
    told = "Secrets: the parameters of SSM in eu-central-1 below /onlyvips/production."
    assert told in sentences(ssm)


def test_with_ssm_one_identity_outside_is_enough_and_without_it_ssm_may_keep_one():
    one_outside = edited([*ON_SSM, ("identity_kept_in: vault", "identity_kept_in: ssm")])
    environments.from_text(one_outside, "production", "production.yaml")
    vault_alone = edited([("identity_kept_in: offline", "identity_kept_in: ssm")])
    environments.from_text(vault_alone, "production", "production.yaml")
