"""Notifier's contract: the simulator, and Apprise to a webhook and to a mail server of our own."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from onlyvips.adapters.notifier_apprise import AppriseNotifier
from onlyvips.core.message import Message, Severity
from onlyvips.errors import Refused, Transient
from onlyvips.ports.notifier import Notifier
from tests.simulators.notifier import SimNotifier
from tests.webhook import Webhook, listening

SECRET, WORD = "hunter2-Sw0rdfish", "s3cr3tWord"
LINES = "What happened: 20 % errors, «über» the limit\nWhat you must do: nothing\nSee: http://prefect/run/1"
MESSAGE = Message("Rolled back: backend v0.9.0", LINES, "bad")


@dataclass
class Address:
    """An address, what arrived there, and how it goes away."""

    notifier: Notifier
    arrived: Callable[[], list[str]]
    away: Callable[[bool], None]


@pytest.fixture(autouse=True)
def without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def webhook() -> Iterator[tuple[Webhook, str]]:
    with listening() as (hook, port):
        yield hook, f"json://user:{SECRET}@127.0.0.1:{port}/{WORD}?rto=0.5"


class Mailbox:
    """What aiosmtpd hands over."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.recipients: list[str] = []
        self.full = False

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802
        if self.full:
            return "552 the mailbox is full"
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.recipients += envelope.rcpt_tos
        return "250 OK"


@pytest.fixture
def mail() -> Iterator[tuple[Mailbox, Controller]]:
    box = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    yield box, server
    server.stop()


def mailto(server: Controller, *to: str) -> AppriseNotifier:
    url = f"mailto://127.0.0.1:{server.port}?smtp=127.0.0.1&mode=insecure&from=onlyvips@example.com"
    return AppriseNotifier("mail", url, to or ("ops@example.com",))


@pytest.fixture(params=["simulator", "webhook", "mail"])
def address(request: pytest.FixtureRequest) -> Address:
    if request.param == "simulator":
        sim = SimNotifier()
        simulated = lambda: [f"{one.title}\n{one.body}" for one in sim.arrived]  # noqa: E731
        return Address(sim, simulated, lambda away: setattr(sim, "away", away))
    if request.param == "mail":
        box, server = request.getfixturevalue("mail")
        sent = lambda: [f"{one['Subject']}\n{_text(one)}" for one in box.mails]  # noqa: E731
        return Address(mailto(server), sent, lambda away: setattr(box, "full", away))
    hook, url = request.getfixturevalue("webhook")
    notifier = AppriseNotifier("hook", url)
    said = lambda: [f"{one['title']}\n{one['message']}" for _, one in hook.posted]  # noqa: E731
    return Address(notifier, said, lambda away: setattr(hook, "status", 500 if away else 200))


def _text(mail: Any) -> str:
    part = mail.get_body(preferencelist=("plain", "html"))
    return str(part.get_content()).replace("\r\n", "\n")


def test_a_message_arrives_once_with_its_title_and_every_line(address: Address) -> None:
    address.notifier.send(MESSAGE)
    [arrived] = address.arrived()
    assert arrived.startswith(MESSAGE.title)
    assert [line for line in LINES.splitlines() if line not in arrived] == []


def test_an_address_that_does_not_take_it_is_an_error_and_takes_the_next_one_when_it_can(address: Address) -> None:
    address.away(True)
    with pytest.raises(Transient, match="did not take the message"):
        address.notifier.send(MESSAGE)
    assert address.arrived() == []
    address.away(False)
    address.notifier.send(MESSAGE)
    assert len(address.arrived()) == 1


@pytest.mark.parametrize(("severity", "kind"), [("info", "info"), ("good", "success"), ("bad", "failure")])
def test_a_webhook_is_told_how_bad_it_is(webhook: tuple[Webhook, str], severity: Severity, kind: str) -> None:
    hook, url = webhook
    AppriseNotifier("hook", url).send(Message("t", "b", severity))
    assert [one["type"] for _, one in hook.posted] == [kind]


def test_mail_goes_to_everybody_who_is_named(mail: tuple[Mailbox, Controller]) -> None:
    box, server = mail
    mailto(server, "devops@example.com", "backend@example.com").send(MESSAGE)
    assert sorted(box.recipients) == ["backend@example.com", "devops@example.com"]


def test_an_address_that_never_answers_is_given_up(webhook: tuple[Webhook, str]) -> None:
    hook, url = webhook
    hook.silent.set()
    with pytest.raises(Transient):
        AppriseNotifier("hook", url).send(MESSAGE)


@pytest.mark.parametrize("trouble", ["refuses", "silent", "nobody"])
def test_no_word_of_the_address_is_in_an_error_or_in_any_log(
    webhook: tuple[Webhook, str], caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    hook, url = webhook
    if trouble == "silent":
        hook.silent.set()
    hook.status = 403
    url = url if trouble != "nobody" else f"json://user:{SECRET}@127.0.0.1:9/{WORD}"
    with caplog.at_level(logging.DEBUG), pytest.raises(Transient) as raised:
        AppriseNotifier("hook", url).send(MESSAGE)
    told = caplog.text + str(raised.value) + repr(raised.value.__context__)
    assert SECRET not in told
    assert WORD not in told


def test_others_logs_go_on_while_we_send_and_after(
    webhook: tuple[Webhook, str], caplog: pytest.LogCaptureFixture
) -> None:
    AppriseNotifier("hook", webhook[1]).send(MESSAGE)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("apprise").warning("of somebody else")
    assert "of somebody else" in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#onlyvips-production",
        "slack://xoxb-1234-1234-4ddbc191d40ee098cbaae6f3523ada2d/#onlyvips-production",
        "pagerduty://a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4@u-apikeyapikeyapikey",
        "mailtos://user:pass@smtp.example.com?from=onlyvips@example.com&to=devops@example.com",
        "jsons://example.com/hook",
    ],
)
def test_the_urls_of_the_services_that_the_runbook_names_are_known(url: str) -> None:
    AppriseNotifier("one", url)


@pytest.mark.parametrize("url", [f"slak://{WORD}", f"https://example.com/{WORD}", "", "slack://"])
def test_a_url_that_is_none_is_refused_and_not_shown(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(Refused, match="not a URL that Apprise knows") as raised:
        AppriseNotifier("slack", url)
    assert WORD not in str(raised.value) + caplog.text


def test_mail_addresses_for_what_is_no_mail_server_are_refused() -> None:
    with pytest.raises(Refused, match="not a mail server's"):
        AppriseNotifier("slack", "json://127.0.0.1/x", ("ops@example.com",))
