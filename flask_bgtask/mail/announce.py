"""Telling those who listen that a mail was sent."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask
from flask_mail import email_dispatched

from .. import telling
from ..context import RunningJob
from ..signals import mail_sent
from .rebuild import rebuild
from .receipt import MailReceipt


def is_awaited() -> bool:
    """Whether somebody listens, who may take his time."""
    return telling.is_heard(email_dispatched) or telling.is_heard(mail_sent)


def announce(app: Flask, frozen: dict[str, Any], receipt: MailReceipt, job: RunningJob) -> None:
    """Send Flask-Mail's ``email_dispatched`` and our ``mail_sent``.

    Both are sent for suppressed mails too, as Flask-Mail does it. The mail is out by now: nothing
    that goes wrong in here may have it sent again.
    """
    try:
        _dispatched(app, frozen)
        if telling.is_heard(mail_sent):
            runtime = app.extensions["bgtask"]
            runtime.send(mail_sent, runtime.jobs.record(job.id), receipt=receipt)
    except Exception:
        text = "mail %s was sent, but telling so failed"
        telling.log(app, logging.ERROR, text, receipt.message_id, exc_info=True)


def _dispatched(app: Flask, frozen: dict[str, Any]) -> None:
    if telling.is_heard(email_dispatched):
        message = rebuild(frozen)
        telling.send(app, email_dispatched, f"mail {message.msgId}", message=message)
