"""The port of what tells people something. See ``onlyvips.ports``."""

from __future__ import annotations

from typing import Protocol

from onlyvips.core.message import Message


class Notifier(Protocol):
    """One address where people read messages: a channel, mailboxes, a pager, a webhook."""

    def send(self, message: Message) -> None:
        """Return once the address took it.

        Raises Transient when it did not, or gave no answer in good time: it may have arrived all the same. Neither an
        error nor a log shows the address, which holds passwords.
        """
