"""A file of what is not encrypted, for a while: in memory where there is room, else on disk, in a folder that nobody
else may enter, and that goes with us however we end.

A small process waits for our end, ends the server whose number stands in the folder, if any, and removes the folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onlyvips.errors import Refused

PID = "pid"
"""The file beside it with the number of the process that is to end with us."""
_MEMORY = Path("/dev/shm")
_SPARE = 16 << 20
"""Bytes beside the file that a place must have."""
_KEEPER = f'cat > /dev/null; kill -9 "$(cat "$0/{PID}")" 2> /dev/null; rm -rf -- "$0"'
"""Waits for the end of what it reads, that is of this process."""


@contextmanager
def private_file(size: int, name: str, folder: Path | None = None) -> Iterator[Path]:
    """Where a file of ``size`` bytes may be written, in ``folder`` in place of memory or disk. Raises Refused where
    there is no room."""
    private = Path(tempfile.mkdtemp(prefix="onlyvips-restore-", dir=folder or _place(size)))
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", _KEEPER, str(private)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield private / name
    finally:
        assert keeper.stdin is not None
        keeper.stdin.close()
        keeper.wait()


def _place(size: int) -> Path:
    disk = Path(tempfile.gettempdir())
    if os.access(_MEMORY, os.W_OK) and _free(_MEMORY) > 2 * size + _SPARE:
        return _MEMORY
    if _free(disk) < size + _SPARE:
        raise Refused(
            f"What is inside of the backup needs {size + _SPARE:,} bytes of room for a while, and {disk} has "
            f"{_free(disk):,}: nothing was changed; make room there, or let TMPDIR name another place."
        )
    return disk


def _free(place: Path) -> int:
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return 0
