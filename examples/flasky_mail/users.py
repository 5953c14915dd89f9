"""Register, confirm the address, log in and out."""

from __future__ import annotations

import sqlalchemy as sa
from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required, login_user, logout_user
from markupsafe import Markup
from werkzeug.wrappers import Response

from .email import send_email
from .extensions import db
from .models import User

blueprint = Blueprint("users", __name__)


@blueprint.get("/register")
def registration() -> str:
    """The form."""
    return render_template("register.html")


@blueprint.post("/register")
def register() -> Response | tuple[str, int]:
    """Make an account and send the confirmation mail."""
    form = {name: request.form.get(name, "").strip() for name in ("email", "username", "password")}
    wrong = _what_is_wrong(form)
    if wrong:
        flash(wrong, "error")
        return render_template("register.html"), 422
    user = User(email=form["email"].lower(), username=form["username"])
    user.set_password(form["password"])
    db.session.add(user)
    db.session.flush()  # the link in the mail has the user's id
    _send_confirmation(user, after_commit=True)  # whose account is not kept gets no mail
    db.session.commit()
    return redirect(url_for("inbox.caught", fresh=1))


@blueprint.get("/confirm/<token>")
def confirm(token: str) -> Response:
    """Where the link in the mail leads."""
    user = User.of_token(token)
    if user is None:
        flash("This link is not valid, or too old. Log in to get another.", "error")
    else:
        user.confirmed = True
        db.session.commit()
        flash(f"Thank you, {user.username}: {user.email} is confirmed.")
    return redirect(url_for("pages.home" if current_user.is_authenticated else "users.login"))


@blueprint.post("/resend")
@login_required
def resend() -> Response:
    """Send the confirmation mail once more."""
    if current_user.confirmed:
        flash(f"{current_user.email} is confirmed already.")
        return redirect(url_for("pages.home"))
    _send_confirmation(current_user)
    return redirect(url_for("inbox.caught", fresh=1))


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> str | Response | tuple[str, int]:
    """Log in with the mail address and the password."""
    if request.method == "GET":
        return render_template("login.html")
    address = request.form.get("email", "").strip().lower()
    user = db.session.scalar(sa.select(User).where(User.email == address))
    if user is None or not user.verify_password(request.form.get("password", "")):
        flash("Wrong mail address or password.", "error")
        return render_template("login.html"), 422
    login_user(user)
    return redirect(url_for("pages.home"))


@blueprint.post("/logout")
def logout() -> Response:
    """Log out."""
    logout_user()
    flash("You are logged out.")
    return redirect(url_for("pages.home"))


def _what_is_wrong(form: dict[str, str]) -> str | None:
    if not all(form.values()):
        return "Please fill in all three fields."
    if "@" not in form["email"]:
        return f"{form['email']} is no mail address."
    taken = sa.or_(User.email == form["email"].lower(), User.username == form["username"])
    if db.session.scalar(sa.select(User).where(taken)):
        return "This mail address or this name has an account already: log in, or take another."
    return None


def _send_confirmation(user: User, *, after_commit: bool = False) -> None:
    link = url_for("users.confirm", token=user.confirmation_token(), _external=True)
    handle = send_email(
        user.email,
        "Confirm your account",
        "confirm",
        after_commit=after_commit,
        user=user,
        link=link,
    )
    sent = Markup('A mail to {} is on its way: see <a href="{}">its job</a>.')
    flash(sent.format(user.email, handle.status_url))
