"""The command, which dies by SIGKILL at a chosen rename of a restore: ``python -m tests.system.dying N MOMENT …``.

``N`` counts the renames of collections from 1; ``MOMENT`` is ``before`` or ``after`` it, or ``between`` the drop of
what was there and the rename itself, which are two steps on FerretDB.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from pymongo.database import Database

from flows.commands import run
from onlyvips.adapters.target_mongodb import MongoTarget
from onlyvips.core.changes import Rename


def die() -> None:
    """As the power goes."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(number: int, moment: str, words: list[str]) -> int:
    """Run the command; it does not come back when the restore has so many renames."""
    rename, drop, seen = MongoTarget._rename, Database.drop_collection, 0

    def dying(target: MongoTarget, write: Rename) -> None:
        nonlocal seen
        seen += 1
        if (seen, moment) == (number, "before"):
            die()
        rename(target, write)
        if (seen, moment) == (number, "after"):
            die()

    def dropped(database: Any, *arguments: Any, **more: Any) -> Any:
        result = drop(database, *arguments, **more)
        if (seen, moment) == (number, "between"):
            die()
        return result

    MongoTarget._rename = dying  # type: ignore[method-assign]
    Database.drop_collection = dropped  # type: ignore[method-assign]
    return run(words)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
