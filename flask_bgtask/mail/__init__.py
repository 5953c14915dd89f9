"""Mail: frozen at ``send_mail``, handed to the SMTP server by a job."""

from __future__ import annotations

from .delivery import deliver
from .failures import MailDeferred, MailRefused, Stage
from .message import MAX_MAIL_BYTES, MAX_STORED_BYTES, freeze
from .pool import close_all
from .receipt import MailReceipt
from .retries import backoff

__all__ = [
    "MAX_MAIL_BYTES",
    "MAX_STORED_BYTES",
    "MailDeferred",
    "MailReceipt",
    "MailRefused",
    "Stage",
    "backoff",
    "close_all",
    "deliver",
    "freeze",
]
