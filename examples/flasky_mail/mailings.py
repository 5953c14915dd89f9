"""A mail to many readers, to watch the queue at work and to see what a crash does to it."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for
from flask_mail import Message
from werkzeug.wrappers import Response

from .extensions import bg, db
from .mailbox import Mailbox
from .models import Mailing

blueprint = Blueprint("mailings", __name__)


@blueprint.get("/mailings")
def overview() -> str:
    """The form, and the mailings so far."""
    newest = db.select(Mailing).order_by(Mailing.id.desc()).limit(20)
    return render_template("mailings.html", mailings=db.session.scalars(newest).all())


@blueprint.post("/mailings")
def start() -> Response:
    """Send one mail to each of N readers: one job each."""
    readers = request.form.get("readers", 200, type=int)
    if not 1 <= readers <= 5000:
        abort(422, "Between 1 and 5000 readers, please.")
    mailing = Mailing(subject=request.form.get("subject") or "News from Flasky", readers=readers)
    db.session.add(mailing)
    db.session.commit()
    send = bg.using(queue="mail", label=f"mailing {mailing.id}").send_mail
    for reader in range(1, readers + 1):
        body = f"Dear reader {reader},\n\nthis is mail {reader} of {readers}.\n"
        send(Message(_subject(mailing), recipients=[f"reader-{reader}@example.com"], body=body))
    return redirect(url_for("mailings.show", mailing_id=mailing.id))


@blueprint.get("/mailings/<int:mailing_id>")
def show(mailing_id: int) -> str:
    """How many readers the mail has reached."""
    mailing = db.get_or_404(Mailing, mailing_id)
    reached, copies = Mailbox(current_app.config["MAILBOX"]).reached(_subject(mailing))
    return render_template(
        "mailing.html", mailing=mailing, reached=reached, copies=copies, processes=_processes()
    )


def _subject(mailing: Mailing) -> str:
    return f"{mailing.subject} ({mailing.id})"


def _processes() -> list[str]:
    """Ids of the processes that serve, as the server notes them (see ``__main__``)."""
    folder = Path(current_app.instance_path, "processes")
    return sorted((path.name for path in folder.glob("*")), key=int) or [str(os.getpid())]
