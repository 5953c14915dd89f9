"""Telling those who listen that a mail was sent."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_mail import email_dispatched

from ..context import RunningJob
from ..coroutines import run_to_end
from ..signals import mail_sent
from .rebuild import rebuild
from .receipt import MailReceipt


def is_awaited() -> bool:
    """Whether somebody listens, who may take his time."""
    return any(each.receivers and not each.is_muted for each in (email_dispatched, mail_sent))


def announce(app: Flask, frozen: dict[str, Any], receipt: MailReceipt, job: RunningJob) -> None:
    """Send Flask-Mail's ``email_dispatched`` and our ``mail_sent``.

    Both are sent for suppressed mails too, as Flask-Mail does it. The mail is out by now: nothing
    that goes wrong in here may have it sent again.
    """
    try:
        _dispatched(app, frozen)
        if mail_sent.receivers and not mail_sent.is_muted:
            runtime = app.extensions["bgtask"]
            runtime.send(mail_sent, runtime.record(job.id), receipt=receipt)
    except Exception:
        app.logger.exception("mail %s was sent, but telling so failed", receipt.message_id)


def _dispatched(app: Flask, frozen: dict[str, Any]) -> None:
    if not email_dispatched.receivers or email_dispatched.is_muted:
        return
    message = rebuild(frozen)
    for receiver in email_dispatched.receivers_for(app):
        try:
            run_to_end(receiver(app, message=message))
        except Exception:
            app.logger.exception(
                "receiver %r of email-dispatched failed for mail %s", receiver, message.msgId
            )
