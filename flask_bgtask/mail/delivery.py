"""The body of the mail task: one attempt to hand a frozen mail to the server."""

from __future__ import annotations

import logging
import re
from typing import Any

from flask import Flask, current_app

from .. import telling
from ..context import RunningJob, running_job
from .addresses import needs_utf8
from .announce import announce, is_awaited
from .connection import Connection
from .failures import MailDeferred, MailRefused, named
from .ledger import Ledger
from .outgoing import NO_UTF8, Outgoing
from .pool import begun, pool_of
from .receipt import MailReceipt
from .settings import flask_mail_state, server_of

#: The reply of a server while ``MAIL_SUPPRESS_SEND`` is set.
SUPPRESSED = "not sent: MAIL_SUPPRESS_SEND is set"

# A server that takes only so many recipients at once says so with 452 or, as RFC 821 had it, 552
# (RFC 5321, 4.5.3.1.10); the enhanced code x.5.3 (RFC 3463) tells it from a full disk.
_TOO_MANY = re.compile(r"(452|552).*(\b[45]\.5\.3\b|too many)", re.IGNORECASE)


def deliver(frozen: dict[str, Any]) -> MailReceipt:
    """Send a mail to those recipients who have not got it yet.

    Works inside a job, in an app context.

    :param frozen: what :func:`.freeze` gave.
    :raises MailRefused: nobody gets it, and that is final.
    :raises MailDeferred: some did not get it who may get it in another attempt.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    job = running_job()
    if job is None:
        raise RuntimeError("a mail is delivered by a job: use bg.send_mail(message)")
    ledger = Ledger(job.memo, frozen["recipients"], job.attempt)
    if flask_mail_state(app).suppress:
        ledger.accept(ledger.remaining, SUPPRESSED)
    elif ledger.remaining:
        _attempt(app, frozen, ledger, job)
    receipt = ledger.receipt(frozen["message_id"])
    if receipt.refused:
        telling.log(
            app,
            logging.WARNING,
            "mail %s (job %s) was refused for %d of %d recipients: %s",
            receipt.message_id,
            job.id,
            len(receipt.refused),
            len(frozen["recipients"]),
            named(receipt.refused),
        )
    if is_awaited():
        _note(app, job)
        announce(app, frozen, receipt, job)
    return receipt


def _note(app: Flask, job: RunningJob) -> None:
    """Write what is known by now: what says it otherwise, the end of the attempt, is not yet."""
    try:
        job.save_memo()
    except Exception:
        # The mail is out: this must not have it sent again.
        text = "what became of mail job %s could not be noted"
        telling.log(app, logging.ERROR, text, job.id, exc_info=True)


def _attempt(app: Flask, frozen: dict[str, Any], ledger: Ledger, job: RunningJob) -> None:
    """Deal with every recipient who is left; fails where :func:`deliver` does."""
    last = job.attempt - job.record.crashes >= job.max_attempts
    try:
        _deal_with_all(app, frozen, ledger, job, last)
    except (MailRefused, MailDeferred) as error:
        ledger.sign_off()
        if last or isinstance(error, MailRefused):
            # Nobody has got it: a retry by hand is to begin with all recipients again.
            ledger.forget()
            job.save_memo()
        raise


def _deal_with_all(
    app: Flask, frozen: dict[str, Any], ledger: Ledger, job: RunningJob, last: bool
) -> None:
    try:
        outgoing = Outgoing(frozen)
        while _transaction(app, outgoing, ledger, job):
            _note(app, job)
    except MailDeferred as error:
        for recipient in ledger.open:
            ledger.defer(recipient, (error.code, error.text), error.stage)
        if not (last and ledger.accepted):
            raise
    except MailRefused as error:
        for recipient in ledger.open:
            ledger.refuse(recipient, (error.code, error.text), error.stage)
        if not ledger.accepted and not ledger.deferred:
            raise
    if ledger.deferred and not (last and ledger.accepted):
        raise ledger.deferral()
    ledger.give_up()
    if not ledger.accepted:
        raise ledger.refusal()


def _transaction(app: Flask, outgoing: Outgoing, ledger: Ledger, job: RunningJob) -> bool:
    """Send the mail once, to as many as the server takes at once; whether others wait for that."""
    most = flask_mail_state(app).max_emails
    with begun(pool_of(app), server_of(app), outgoing.begin, most) as connection:
        welcome, crowded = _offer(connection, outgoing, ledger)
        if welcome:
            _send(connection, outgoing, welcome, ledger, job)
    return crowded


def _offer(connection: Connection, outgoing: Outgoing, ledger: Ledger) -> tuple[list[str], bool]:
    """Name the recipients; gives those who are welcome, and whether some have to wait for them."""
    welcome: list[str] = []
    crowded = False
    for recipient in ledger.open:
        if needs_utf8(recipient) and not connection.offers("smtputf8"):
            ledger.refuse(recipient, NO_UTF8)
            continue
        reply = connection.add(recipient, outgoing.recipient_options)
        if reply.good:
            welcome.append(recipient)
        elif welcome and _TOO_MANY.match(reply.line):
            crowded = True
        elif reply.code >= 500:
            ledger.refuse(recipient, reply)
        else:
            ledger.defer(recipient, reply)
    return welcome, crowded


def _send(
    connection: Connection, outgoing: Outgoing, welcome: list[str], ledger: Ledger, job: RunningJob
) -> None:
    if job.timed_out or job.cancel_requested:
        job.checkpoint()  # the last moment at which the job can be stopped
    try:
        reply = connection.send(outgoing.body)
    except MailDeferred as error:
        if error.unanswered:
            ledger.doubt()
        raise
    ledger.accept(welcome, reply.line)
