"""Mistakes in what an environment says of a release's ConfigMaps; see ``broken_environments``."""

from __future__ import annotations

from tests.core.broken_environments import SECRET, Case

_HERE = "  migration:\n    job: "


def _case(config: str, key: str, message: str) -> Case:
    added = f"  configs:\n    backend:\n@@      - {config}\n"
    return Case(_HERE, added + _HERE, key, message)


_FIRST = "release.configs.backend[0]"
BROKEN = {
    "configmap of nothing": _case("{name: a, replaces: a}", _FIRST, "it would be empty: give it `values`"),
    "configmap with a secret's reference": _case(
        "{name: a, replaces: a, values: {A: env:A}}", f"{_FIRST}.values.A", "takes text, or file:/path"
    ),
    "configmap with a password": _case(
        f"{{name: a, replaces: a, values: {{A: 'redis://u:{SECRET}@h'}}}}", f"{_FIRST}.values.A", "into release.secrets"
    ),
    "configmap with a number": _case(
        "{name: a, replaces: a, values: {A: 8080}}", f"{_FIRST}.values.A", "text is expected"
    ),
    "configmap from anywhere": _case("{name: a, replaces: a, folder: configs}", f"{_FIRST}.folder", "is an absolute"),
    "configmap with a key like a path": _case(
        "{name: a, replaces: a, values: {a/b: x}}", f"{_FIRST}.values.a/b", "a key of a ConfigMap"
    ),
    "configmap with a mistyped key": _case(
        "{name: a, replaces: a, value: {A: x}}", f"{_FIRST}.value", "did you mean `values`?"
    ),
    "configmap of nobody": Case(
        _HERE,
        f"  configs:\n@@    back: [{{name: a, replaces: a, values: {{A: x}}}}]\n{_HERE}",
        "release.configs.back",
        "did you mean `backend`?",
    ),
    "configmap twice": Case(
        _HERE,
        "@@  configs:\n    backend: [{name: a, replaces: a, values: {A: x}}]\n"
        f"    miniapp: [{{name: a, replaces: b, values: {{A: x}}}}]\n{_HERE}",
        "release.configs",
        "`a` is listed twice",
    ),
    "two configmaps in the place of one": Case(
        _HERE,
        "  configs:\n    backend:\n      - {name: a, replaces: old, values: {A: x}}\n"
        f"@@      - {{name: b, replaces: old, values: {{A: x}}}}\n{_HERE}",
        "release.configs.backend[1]",
        "`old` is of release.configs.backend[0] already, so which of the two a pod gets cannot be told",
    ),
    "a Secret that replaces another one of the release": Case(
        "        values: {JWT_SECRET: env:ONLYVIPS_JWT_SECRET}\n",
        "        values: {JWT_SECRET: env:ONLYVIPS_JWT_SECRET}\n"
        "@@      - {name: other, replaces: backend-jwt, values: {A: env:A}}\n",
        "release.secrets.backend[1]",
        "`backend-jwt` is of release.secrets.backend[0] already",
    ),
}
