"""The home page, and what all pages share."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, render_template

from .mailbox import Mailbox

blueprint = Blueprint("pages", __name__)


@blueprint.app_context_processor
def shared() -> dict[str, Any]:
    """For the navigation: how many mails the inbox holds."""
    return {"mails_caught": Mailbox(current_app.config["MAILBOX"]).count()}


@blueprint.get("/")
def home() -> str:
    """What can be tried here."""
    return render_template("home.html")
