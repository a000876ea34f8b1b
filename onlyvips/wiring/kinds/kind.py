"""What the wiring knows of a kind of backup: how it is refused, and how one is begun."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onlyvips.core.manifest import Manifest
from onlyvips.core.plan import BackupPlan
from onlyvips.environment import Environment
from onlyvips.ports import ObjectStore
from onlyvips.steps.backup import Run, Session
from onlyvips.steps.journal import Begun


@dataclass(frozen=True)
class Taking:
    """One backup that is about to be taken: where to, by what plan, by whom; ``begun`` by an earlier attempt or not."""

    stores: Sequence[ObjectStore]
    plan: BackupPlan
    run: Run
    begun: Begun | None


@dataclass(frozen=True)
class Kind:
    """One kind. ``check`` raises Refused for all that can be refused before anything is read; ``begin`` gives the
    session that takes it, and may read the source's list of what there is. ``changed``: whether one taken now would
    hold something else than that of the manifest; None where nobody can tell."""

    check: Callable[[Environment], None]
    begin: Callable[[Environment, Taking], Session]
    changed: Callable[[Environment, Manifest], bool] | None = None
