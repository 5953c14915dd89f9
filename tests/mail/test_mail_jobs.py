"""Mail as users send it: ``bg.send_mail``, a job like any other."""

from __future__ import annotations

import asyncio
import email
import json
import logging
import os
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_mail import Message, email_dispatched
from flask_sqlalchemy import SQLAlchemy
from mail_post import Post
from mail_servers import Inbox, Until
from sqlalchemy import text

from flask_bgtask import BackgroundTasks, JobState, MailReceipt
from flask_bgtask.errors import ArgumentError
from flask_bgtask.mail import MailDeferred, MailRefused
from flask_bgtask.signals import mail_sent

Make = Callable[..., Any]

PATIENCE = 20


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The configuration of each store of this package: mail travels through both."""
    if request.param == "memory":
        return {"BGTASK_STORE": "memory"}
    return {"BGTASK_STORE": f"sqlite:///{tmp_path / 'jobs.sqlite3'}"}


def a_message(**fields: Any) -> Message:
    return Message(**({"subject": "Grüße", "recipients": ["a@x.org"], "body": "é"} | fields))


def test_send_mail(
    bg: BackgroundTasks, make_app: Make, inbox: tuple[Inbox, int], store: dict[str, str]
) -> None:
    """Both kinds of message arrive; the handle and the job have the receipt."""
    box, port = inbox
    app = make_app(port, **store)
    standard = EmailMessage()
    standard["Subject"], standard["To"] = "Grüße", "b@x.org"
    standard.set_content("é")
    with app.app_context():
        flask = a_message()
        flask.attach("a.bin", "application/octet-stream", b"\0\xff")
        for message in (flask, standard):
            handle = bg.send_mail(message)
            receipt = handle.result(PATIENCE)
            assert isinstance(receipt, MailReceipt)
            assert bg.get(handle.id).result == receipt
            assert (receipt.attempts, receipt.refused) == (1, {})
    assert [envelope.rcpt_tos for envelope in box.envelopes] == [["a@x.org"], ["b@x.org"]]
    for envelope in box.envelopes:
        assert b"Subject: =?utf-8?" in envelope.content
    assert b"AP8=" in box.envelopes[0].content


def test_large_attachments_arrive(
    bg: BackgroundTasks, make_app: Make, inbox: tuple[Inbox, int], store: dict[str, str]
) -> None:
    """A mail may be far larger than the arguments of other jobs, also after a commit."""
    box, port = inbox
    app = make_app(port, SQLALCHEMY_DATABASE_URI="sqlite://", **store)
    db = SQLAlchemy(app)
    standard = EmailMessage()
    standard["To"] = "b@x.org"
    standard.set_content("b")
    standard.add_attachment(os.urandom(1_000_000), "application", "octet-stream")
    with app.app_context():
        flask = a_message()
        flask.attach("a.bin", "application/octet-stream", os.urandom(10_000_000))
        bg.send_mail(flask).result(PATIENCE)
        db.session.execute(text("SELECT 1"))
        handle = bg.using(after_commit=True).send_mail(standard)
        db.session.commit()
        handle.result(PATIENCE)
        db.session.remove()
        db.engine.dispose()
    sent = [email.message_from_bytes(envelope.content) for envelope in box.envelopes]
    files: list[Any] = [mail.get_payload(1) for mail in sent]
    assert files[0].get_payload(decode=True) == flask.attachments[0].data
    assert files[1].get_payload(decode=True) == next(standard.iter_attachments()).get_content()


def test_a_mail_has_a_limit_too(bg: BackgroundTasks, app: Flask) -> None:
    """More than 64 MiB as it would be sent is refused at ``send_mail``."""
    with app.app_context():
        message = a_message()
        message.attach("a.bin", "application/octet-stream", bytes(50_000_000))
        with pytest.raises(ArgumentError, match=r"^message .* 67,108,864 .* limit"):
            bg.send_mail(message)


def test_the_mail_is_byte_by_byte_that_of_flask_mail(
    bg: BackgroundTasks, make_app: Make, inbox: tuple[Inbox, int]
) -> None:
    """What ``mail.send`` would send now is what is sent in the background."""
    box, port = inbox
    app = make_app(port)
    with app.app_context():
        message = a_message(html="<p>é</p>", cc=["c@x.org"], bcc=["d@x.org"], date=1e9)
        message.attach("ü.txt", "text/plain", "text")
        boundaries = iter(["=A", "=B"] * 2)
        plain = message.as_bytes
        with pytest.MonkeyPatch.context() as patch:
            from email.generator import Generator

            patch.setattr(Generator, "_make_boundary", lambda *_: next(boundaries))
            expected = plain()
            bg.send_mail(message).result(PATIENCE)
    assert box.envelopes[0].content.rstrip() == expected.rstrip()
    assert sorted(box.envelopes[0].rcpt_tos) == ["a@x.org", "c@x.org", "d@x.org"]


def test_a_deferred_mail_comes_back_as_the_same_mail(
    bg: BackgroundTasks, make_app: Make, scripted: Make, store: dict[str, str]
) -> None:
    """Retried until it is taken: the same bytes, the same Message-ID, the others once."""
    server = scripted(
        rcpt=["250 fine", "450 later", "550 no"],
        mail=["250 fine", "451 busy"],
        greeting=["421 full"],
    )
    app = make_app(server.port, **store)
    with app.app_context():
        handle = bg.using(backoff=0).send_mail(
            a_message(recipients=["a@x.org", "b@x.org", "c@x.org"])
        )
        receipt = handle.result(PATIENCE)
        assert bg.get(handle.id).result == receipt
        assert bg.get(handle.id).attempt == 4
    assert receipt.attempts == 4
    assert receipt.accepted == ("a@x.org", "b@x.org")
    assert receipt.refused == {"c@x.org": (550, "no")}
    first, second = server.mails
    assert (first.recipients, second.recipients) == (["a@x.org"], ["b@x.org"])
    assert first.body == second.body
    assert f"Message-ID: {receipt.message_id}".encode() in first.body


def test_retries_end(bg: BackgroundTasks, make_app: Make, scripted: Make) -> None:
    """``BGTASK_MAIL_RETRIES`` says how often a deferred mail is tried again."""
    server = scripted(mail=["451 busy"] * 9)
    app = make_app(server.port, BGTASK_MAIL_RETRIES=2)
    with app.app_context():
        handle = bg.using(backoff=0).send_mail(a_message())
        with pytest.raises(MailDeferred, match="451 busy"):
            handle.result(PATIENCE)
        assert bg.get(handle.id).attempt == 3
        with pytest.raises(MailDeferred):
            bg.using(retries=0).send_mail(a_message()).result(PATIENCE)


def test_a_refused_mail_fails_at_once(
    bg: BackgroundTasks, make_app: Make, scripted: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """No retry, one log record with the traceback, and the reply in the job's error."""
    app = make_app(scripted(rcpt=["550 5.1.1 no such user"]).port)
    with app.app_context():
        handle = bg.send_mail(a_message())
        with pytest.raises(MailRefused):
            handle.result(PATIENCE)
        job = bg.get(handle.id)
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error.message == "RCPT TO: a@x.org: 550 5.1.1 no such user"
    records = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(records) == 1
    assert records[0].exc_info


def test_a_failed_mail_can_be_sent_again_by_hand(
    bg: BackgroundTasks, make_app: Make, scripted: Make, store: dict[str, str]
) -> None:
    """The message is still there: a retry sends it, under its Message-ID."""
    server = scripted(rcpt=["550 no"])
    app = make_app(server.port, **store)
    with app.app_context():
        handle = bg.send_mail(a_message())
        assert isinstance(handle.exception(PATIENCE), MailRefused)
        bg.retry(handle.id)
        receipt = bg.handle(handle.id).result(PATIENCE)
    assert receipt.accepted == ("a@x.org",)
    assert receipt.message_id.encode() in server.mails[0].body


def test_a_message_that_cannot_be_sent_is_not_queued(bg: BackgroundTasks, app: Flask) -> None:
    """The error comes from ``send_mail`` itself, and there is no job."""
    with app.app_context():
        with pytest.raises(ArgumentError, match=r"message\.recipients"):
            bg.send_mail(a_message(recipients=[]))
        assert not bg.jobs().items


def test_one_worker_keeps_one_connection(
    bg: BackgroundTasks, make_app: Make, inbox: tuple[Inbox, int]
) -> None:
    """Mail after mail goes over it, and it is closed when the workers end."""
    box, port = inbox
    app = make_app(port, BGTASK_WORKERS=1)
    with app.app_context():
        for handle in [bg.send_mail(a_message()) for _ in range(20)]:
            handle.result(PATIENCE)
        bg.shutdown()
    assert len(box.envelopes) == 20
    assert len(box.sessions) == 1
    pools = app.extensions["flask_bgtask.mail"].values()
    assert not [connection for pool in pools for connection in pool._idle]


def test_a_mail_that_the_end_of_the_process_cuts_short_is_in_doubt(
    bg: BackgroundTasks, make_app: Make, scripted: Make, tmp_path: Path
) -> None:
    """What is on its way when the workers have to end is noted for whoever takes the job over."""
    wait = Until()
    server = scripted(body=[(wait, "250 fine")])
    app = make_app(server.port, BGTASK_STORE=f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    with app.app_context():
        handle = bg.send_mail(a_message())
        assert wait.reached.wait(PATIENCE)
        assert not bg.drain(app, timeout=0.05)
        memo = json.loads(app.extensions["bgtask"].store.get(handle.id).memo)
        wait.event.set()
        bg.shutdown()
    post = Post(app, memo=memo).freeze()
    assert post.attempt(1).possibly_duplicate


def test_suppressed_mail_is_recorded_and_not_sent(
    bg: BackgroundTasks, make_app: Make, scripted: Make
) -> None:
    """``MAIL_SUPPRESS_SEND``: everything happens but the sending."""
    from flask_mail import Mail

    server = scripted()
    app = make_app(server.port, MAIL_SUPPRESS_SEND=True)
    standard = EmailMessage()
    standard["Subject"], standard["To"] = "two", "b@x.org"
    told: list[Any] = []

    def listen(sender: Any, **said: Any) -> None:
        told.append((sender, said["job"].id, said["receipt"]))

    with app.app_context(), Mail(app).record_messages() as outbox, mail_sent.connected_to(listen):
        app.extensions["mail"].suppress = True
        first = bg.send_mail(a_message(subject="one", recipients=[("A", "a@x.org")]))
        receipt = first.result(PATIENCE)
        bg.send_mail(standard).result(PATIENCE)
    assert [message.subject for message in outbox] == ["one", "two"]
    assert outbox[0].recipients == [("A", "a@x.org")]
    assert outbox[0].msgId == receipt.message_id
    assert receipt.accepted == ("a@x.org",)
    assert "MAIL_SUPPRESS_SEND" in receipt.server_reply
    assert told[0] == (app, first.id, receipt)
    assert not server.commands


def test_a_listener_that_fails_does_no_harm(
    bg: BackgroundTasks,
    make_app: Make,
    scripted: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The mail is out: it is not sent again, the others are told, and the error is logged."""
    server = scripted()
    app = make_app(server.port)
    told = []

    def fail(sender: Any, **said: Any) -> None:
        raise ValueError("listener is broken")

    def listen(sender: Any, **said: Any) -> None:
        told.append(said)

    with (
        app.app_context(),
        email_dispatched.connected_to(fail),
        email_dispatched.connected_to(listen),
        mail_sent.connected_to(fail),
        mail_sent.connected_to(listen),
    ):
        assert bg.send_mail(a_message()).result(PATIENCE).attempts == 1
    assert [set(said) for said in told] == [{"message"}, {"job", "receipt"}]
    assert len([r for r in caplog.records if "broken" in str(r.exc_info)]) == 2
    assert len(server.mails) == 1


def test_a_log_handler_that_fails_does_no_harm(
    bg: BackgroundTasks, make_app: Make, scripted: Make
) -> None:
    """A mail that is out is no failed job because nobody could write down who was refused."""
    server = scripted(rcpt=["250 fine", "550 5.1.1 no such user"])
    app = make_app(server.port)
    handler = logging.Handler()
    handler.emit = lambda _: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    app.logger.addHandler(handler)
    try:
        with app.app_context():
            handle = bg.send_mail(a_message(recipients=["a@x.org", "b@x.org"]))
            assert list(handle.result(PATIENCE).refused) == ["b@x.org"]
    finally:
        app.logger.removeHandler(handler)
    assert len(server.mails) == 1


def test_a_muted_signal_is_silent(bg: BackgroundTasks, make_app: Make, scripted: Make) -> None:
    """blinker's ``muted()`` holds for Flask-Mail's signal and for ours."""
    app = make_app(scripted().port)
    told = []

    def listen(sender: Any, **said: Any) -> None:
        told.append(said)

    for signal in (email_dispatched, mail_sent):
        with app.app_context(), signal.connected_to(listen), signal.muted():
            bg.send_mail(a_message()).result(PATIENCE)
    assert not told


def test_async_listeners(bg: BackgroundTasks, make_app: Make, scripted: Make) -> None:
    """They are told of the mail as others are, by both signals."""
    app = make_app(scripted().port)
    told = []

    async def listen(sender: Any, **said: Any) -> None:
        await asyncio.sleep(0)
        told.append(set(said))

    with (
        app.app_context(),
        email_dispatched.connected_to(listen),
        mail_sent.connected_to(listen),
    ):
        bg.send_mail(a_message()).result(PATIENCE)
    assert told == [{"message"}, {"job", "receipt"}]


def test_what_cannot_be_told_does_not_fail_the_mail(
    bg: BackgroundTasks,
    make_app: Make,
    scripted: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error while the message is put together for the listeners is logged, no more."""
    app = make_app(scripted().port)
    monkeypatch.setattr("flask_bgtask.mail.announce.rebuild", lambda _: 1 / 0)

    def listen(sender: Any, **said: Any) -> None: ...

    with app.app_context(), email_dispatched.connected_to(listen):
        assert bg.send_mail(a_message()).result(PATIENCE).accepted
    assert "was sent, but telling so failed" in caplog.text


def test_the_waits_between_attempts() -> None:
    """Seconds at first and hours later, never the same for all, and never longer than the table."""
    from flask_bgtask.mail import backoff
    from flask_bgtask.mail.retries import JITTER, WAITS

    for attempt, wait in enumerate(WAITS, 1):
        drawn = {backoff(attempt) for _ in range(50)}
        assert len(drawn) > 1
        assert min(drawn) >= wait * (1 - JITTER)
        assert max(drawn) <= wait * (1 + JITTER)
    assert backoff(99) >= WAITS[-1] * (1 - JITTER)
