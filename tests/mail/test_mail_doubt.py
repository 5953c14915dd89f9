"""Whether a mail is out: known where it can be, and said where it cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask_mail import email_dispatched
from mail_servers import Drop, Scripted

from flask_bgtask.mail import MailDeferred, Stage

Make = Callable[..., Any]

#: More than the buffers between two sockets hold.
LARGE = ("x" * 76 + "\n") * 250_000


def test_a_reply_that_broke_off_leaves_the_mail_in_doubt(scripted: Make, make_post: Make) -> None:
    """The mail goes out again under its Message-ID; error, memo and receipt say so."""
    server = scripted(body=[Drop, (b"25", Drop)])
    post = make_post(server)
    with pytest.raises(MailDeferred) as caught:
        post.attempt()
    assert caught.value.unanswered
    assert "may arrive twice" in str(caught.value)
    with pytest.raises(MailDeferred):
        post.attempt(2)
    receipt = post.attempt(3)
    assert receipt.possibly_duplicate
    assert receipt.message_id == post.frozen["message_id"]


@pytest.mark.parametrize("end", ["orderly", "crashed", "told to stop"])
def test_after_a_crash_the_mail_is_in_doubt(end: str, scripted: Make, make_post: Make) -> None:
    """An attempt that did not sign off may have sent the mail, and none of those after it knows."""
    server = scripted(mail=["451 busy", "451 busy"])
    post = make_post(server)
    with pytest.raises(MailDeferred):
        post.attempt(1)
    if end == "crashed":
        post.memo = {}  # it left nothing
    elif end == "told to stop":
        post.memo = {"accepted": [], "refused": {}, "running": True}
    number = 1 if end == "told to stop" else 2
    with pytest.raises(MailDeferred):
        post.attempt(number, crashes=int(end == "crashed"))
    receipt = post.attempt(number + 1, crashes=int(end == "crashed"))
    assert receipt.possibly_duplicate == (end != "orderly")


def test_what_listeners_break_is_not_sent_again(scripted: Make, make_post: Make) -> None:
    """That a mail was taken is in the store before listeners, who may take long, are told."""
    server = scripted()
    post = make_post(server)

    def listen(sender: Any, **said: Any) -> None:
        raise SystemExit  # as if the process ended here

    with email_dispatched.connected_to(listen), pytest.raises(SystemExit):
        post.attempt()
    post.memo = post.saved[-1]
    receipt = post.attempt(2, crashes=1)
    assert receipt.accepted == ("a@x.org",)
    assert not receipt.possibly_duplicate
    assert len(server.mails) == 1


def test_a_mail_that_did_not_go_out_entirely_is_in_no_doubt(
    scripted: Make, make_post: Make
) -> None:
    """Without its end the server has no mail, however much of it was sent."""

    class CloseEarly(Scripted):
        def _act(self, connection: Any, action: Any) -> str:
            said = super()._act(connection, action)
            if said.startswith("354") and not self.mails and len(self.commands) == 1:
                raise ConnectionError
            return said

    server = CloseEarly(extensions=[])
    try:
        post = make_post(server).freeze(body=LARGE)
        with pytest.raises(MailDeferred) as caught:
            post.attempt()
        assert caught.value.stage is Stage.DATA
        assert not caught.value.unanswered
        assert not post.attempt(2).possibly_duplicate
    finally:
        server.stop()


def test_a_server_that_does_not_read_is_left(make_post: Make, scripted: Make) -> None:
    """Sending has a timeout too, for each block of the mail."""

    class Deaf(Scripted):
        def _act(self, connection: Any, action: Any) -> str:
            said = super()._act(connection, action)
            if said.startswith("354"):
                self._stopping.wait()
            return said

    server = Deaf(extensions=[])
    try:
        post = make_post(server, BGTASK_MAIL_TIMEOUT=0.5).freeze(body=LARGE)
        with pytest.raises(MailDeferred) as caught:
            post.attempt()
        assert not caught.value.unanswered
    finally:
        server.stop()


def test_a_job_that_was_told_to_stop_sends_nothing(
    scripted: Make, make_post: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the moment before the mail goes out, a cancelled job can be stopped."""
    from flask_bgtask.context import RunningJob
    from flask_bgtask.errors import JobCancelled

    server = scripted()
    post = make_post(server)
    begin = RunningJob.__init__

    def cancelled(self: RunningJob, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self.ask_to_stop(JobCancelled)

    monkeypatch.setattr(RunningJob, "__init__", cancelled)
    with pytest.raises(JobCancelled):
        post.attempt()
    assert not server.mails


def test_a_store_that_fails_after_the_mail_is_out_does_no_harm(
    scripted: Make, make_post: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """The mail was taken: an error of ours must not have it sent again."""
    server = scripted()
    post = make_post(server)

    def fail(job: Any, columns: Any) -> None:
        raise OSError("disk full")

    def listen(sender: Any, **said: Any) -> None: ...

    post._write = fail
    with caplog.at_level(logging.ERROR), email_dispatched.connected_to(listen):
        assert post.attempt().accepted == ("a@x.org",)
    assert "disk full" in caplog.text
