"""``ports.notifier.Notifier`` on Apprise, which knows Slack, mail, PagerDuty, webhooks and many more by their URLs.

The URL is a secret. Apprise logs parts of it, and so does the HTTP client below: while we send, this thread's lines
are taken out of both logs, and what Apprise complains of is told without any word of the URL.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import unquote_plus

from apprise import Apprise, AppriseAsset, NotifyBase, NotifyFormat, NotifyType
from apprise.plugins.email import NotifyEmail

from onlyvips.core.message import Message, Severity
from onlyvips.errors import Refused, Transient

_KINDS: dict[Severity, NotifyType] = {
    "info": NotifyType.INFO,
    "good": NotifyType.SUCCESS,
    "warning": NotifyType.WARNING,
    "bad": NotifyType.FAILURE,
}
_LOGS = ("apprise", "urllib3.connectionpool")
_SECRET_LENGTH = 3
"""Words of a URL from this length on are not told."""


class _Ear(logging.Filter):
    """Keeps what a sending thread logs, and lets nothing of it through."""

    def __init__(self) -> None:
        super().__init__()
        self.mine = threading.local()
        for name in _LOGS:
            logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Python's own word for it: whether the line is logged."""
        heard: list[str] | None = getattr(self.mine, "heard", None)
        if heard is None:
            return True
        if record.levelno >= logging.WARNING:
            heard.append(record.getMessage())
        return False

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        """What this thread complains of in the block."""
        self.mine.heard = []
        try:
            yield self.mine.heard
        finally:
            self.mine.heard = None


_EAR = _Ear()


def _with(url: str, name: str, value: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{name}={value}"


class AppriseNotifier:
    """One Apprise URL. ``to`` are mail addresses, beside those in the URL of a mail server.

    Raises Refused for a URL that Apprise does not know; it is not shown.
    """

    def __init__(self, name: str, url: str, to: Sequence[str] = ()) -> None:
        self._name, self._url = name, url
        asset = AppriseAsset(app_id="onlyvips-rollout", app_desc="onlyvips-rollout", async_mode=False)
        full = _with(url, "to", ",".join(to)) if to else url
        full = full if "overflow=" in full else _with(full, "overflow", "truncate")  # a pager takes 512 characters
        with _EAR.listening():
            found = Apprise.instantiate(full, asset=asset)
        if not isinstance(found, NotifyBase):
            raise Refused(
                f"The address of notifications to {name} is not a URL that Apprise knows (it is not shown): see "
                "https://appriseit.com/services for how one is written."
            )
        if to and not isinstance(found, NotifyEmail):
            raise Refused(f"Notifications to {name} have mail addresses, and its URL is not a mail server's.")
        self._service = found

    def send(self, message: Message) -> None:
        """See the port. Bounded by Apprise's timeouts, 4 s to connect and 4 s for each read."""
        with _EAR.listening() as heard:
            try:
                took = self._service.notify(
                    body=message.body,
                    title=message.title,
                    notify_type=_KINDS[message.severity],
                    body_format=NotifyFormat.TEXT,
                )
            except Exception as error:  # noqa: BLE001 - of many services' code; its text may hold the address
                raise Transient(f"{self._name} was not reached ({type(error).__name__}).") from None
        if not took:
            raise Transient(f"{self._name} did not take the message: {self._without_words('; '.join(heard))}")

    def _without_words(self, complaint: str) -> str:
        """``complaint`` without any word of the URL."""
        schema, _, rest = self._url.partition("://")
        words = {each for text in (rest, unquote_plus(rest)) for each in re.split(r"[^\w.+~-]+", text)}
        words |= {each for word in words for each in re.split(r"[^\w]+", word)}
        for word in sorted(words - {schema}, key=len, reverse=True):
            if len(word) >= _SECRET_LENGTH:
                complaint = re.sub(re.escape(word), "…", complaint, flags=re.IGNORECASE)
        return complaint or "it gave no reason"
