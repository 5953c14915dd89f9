"""Mail from templates, sent in the background."""

from __future__ import annotations

from typing import Any

from flask import render_template
from flask_mail import Message

from flask_bgtask import Handle, MailReceipt

from .extensions import bg


def send_email(
    to: str, subject: str, template: str, *, after_commit: bool = False, **values: Any
) -> Handle[MailReceipt]:
    """Render ``mail/<template>.txt`` and ``.html`` here and now, and send them in the background.

    ``url_for`` in the templates sees the request, so links get the host that the visitor used.

    :param after_commit: send it once the database session has committed, and not at all if it
        does not.
    """
    message = Message(
        subject,
        recipients=[to],
        body=render_template(f"mail/{template}.txt", **values),
        html=render_template(f"mail/{template}.html", **values),
    )
    options = bg.using(label=f"{subject}, to {to}", after_commit=after_commit)
    return options.send_mail(message)
