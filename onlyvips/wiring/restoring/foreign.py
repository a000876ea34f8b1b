"""An archive that mongodump made, restored into a server that a reference names."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from onlyvips import environment as environments
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.file_archive import read_archive
from onlyvips.adapters.target_mongodb import MongoTarget
from onlyvips.core.restore import names_of
from onlyvips.environment import references
from onlyvips.errors import Refused
from onlyvips.steps import foreign
from onlyvips.wiring.restoring.kind import Done
from onlyvips.wiring.restoring.mongodb import live


def restore_archive(environment: str, path: Path, target: str, pairs: tuple[str, ...]) -> Done:
    """Read it to its end, then load and compare. Raises Refused with the target untouched; killed, it is begun anew
    after what it left was removed by hand."""
    if not references.is_reference(target):
        raise Refused("--target is no reference: write env:NAME or file:/path, where the URI is. Nothing was read.")
    names = names_of(pairs)
    loaded = environments.load(environment)
    server = MongoTarget(MongoDatabase(environments.endpoint(loaded, target), writes=True))
    told = server.describe()
    opened = partial(read_archive, path)
    contents = foreign.look(opened, names)
    if (source := live(loaded)) and source["identity"] == told["identity"]:
        foreign.check_elsewhere(contents, loaded.platform.mongodb.database)
    foreign.check_free(contents, server)
    indexes = foreign.load(opened, contents, server)
    came = {name: (one.target, one.sum.documents) for name, one in contents.coming.items()}
    said = f"Restored {path}: {contents.documents:,} documents of {len(came)} collections read back equal"
    said += f", {indexes} indexes built."
    said += f" What does not come back: {'; '.join(contents.left)}." if contents.left else ""
    values = {"namespaces": came, "documents": contents.documents, "indexes": indexes, "left": list(contents.left)}
    return Done(f"{said} Flush caches, and take a new base of what goes live again.", values)
