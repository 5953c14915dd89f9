"""The pages that show the caught mail."""

from __future__ import annotations

from flask import Blueprint, abort, current_app, render_template

from .mailbox import Caught, Mailbox

#: Mails on the page.
SHOWN = 30

blueprint = Blueprint("inbox", __name__)


@blueprint.get("/inbox")
def caught() -> str:
    """The newest mails, with their links."""
    return render_template("inbox.html", mails=_mailbox().newest(SHOWN))


@blueprint.get("/inbox/<int:mail_id>")
def mail(mail_id: int) -> str:
    """One mail: as a mail program would show it, and its source."""
    found: Caught | None = _mailbox().get(mail_id)
    if found is None:
        abort(404, "There is no such mail.")
    return render_template("mail.html", mail=found)


def _mailbox() -> Mailbox:
    return Mailbox(current_app.config["MAILBOX"])
