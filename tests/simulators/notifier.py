"""Where messages go, without a network: what arrived can be read, and it can fail or hang."""

from __future__ import annotations

from collections.abc import Callable

from onlyvips.core.message import Message
from onlyvips.errors import Transient


class SimNotifier:
    """``ports.notifier.Notifier``. ``before`` is called before each message: it may raise, or never return."""

    def __init__(self) -> None:
        self.arrived: list[Message] = []
        self.away = False
        self.before: Callable[[Message], None] = lambda _: None

    def send(self, message: Message) -> None:
        """Keep it."""
        self.before(message)
        if self.away:
            raise Transient("the simulated address did not take the message")
        self.arrived.append(message)
