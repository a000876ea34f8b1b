"""The error vocabulary: what an adapter may raise, and what the caller may do about it.

Adapters classify; nobody else does. Every message is one sentence for the engineer on call: what was asked, what was
found, what was done, what to do.
"""

from __future__ import annotations


class OnlyVipsError(Exception):
    """Base of everything this library raises on purpose."""


class Transient(OnlyVipsError):
    """The world failed in a way that passes by itself: try again after ``delay`` seconds."""

    def __init__(self, message: str, *, delay: float = 1.0) -> None:
        super().__init__(message)
        self.delay = delay


class Permanent(OnlyVipsError):
    """Trying again would fail again: a person, or a different input, is needed."""


class NotFound(Permanent):
    """There is no such object, or no such place; that was the answer, not the lack of one."""


class NoSpace(Permanent):
    """A server has no room left for what it was given; once a person made some, the same may be asked again."""


class Refused(Permanent):
    """The request was refused before anything was changed."""


class Driven(Refused):
    """A living driver holds it: leave it alone, or ask again once it is gone."""


class Fenced(Permanent):
    """Somebody with a higher epoch drives this release now: stop, write nothing more."""


class Conflict(Permanent):
    """The object changed since it was read (409, or 422 from a failed ``test``): read again, then decide again."""


class Abandoned(Transient):
    """What was begun can never be whole: asking for the rest of it helps nothing, beginning it anew may."""


class Occupied(Transient):
    """Somebody else does it now and is alive: it passes when he is done, however long that takes."""


class UnknownOutcome(OnlyVipsError):
    """A write was asked for and no answer came: read the world before trying again."""


class Misuse(OnlyVipsError):
    """A bug in this program: the caller broke a rule of the callee."""
