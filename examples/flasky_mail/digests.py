"""A digest of the last day by mail: at a time or every minute, stopped, and run again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required
from markupsafe import Markup
from werkzeug.wrappers import Response

from flask_bgtask import Abort, DuplicateJob, Job, JobNotFound, JobStateError, current_job

from .email import send_email
from .extensions import bg, db
from .models import Mailing, Subscription, User, now

#: Hours that a digest looks back on.
HOURS = 24

#: Seconds for which each of them pretends to be hard work.
EFFORT = 0.35

#: Seconds until the latest one that can be ordered: a day.
LONGEST = 86_400

#: Digests on the page.
SHOWN = 5

Answer = Response | tuple[str, int]

blueprint = Blueprint("digests", __name__)


@bg.task
def digest(user: User) -> int:
    """Tell a user by mail what happened in the last day; in how many of its hours something did."""
    if not user.confirmed:
        raise Abort(f"{user.email} is not confirmed: follow the link in the mail, then try again")
    this_hour = now().replace(minute=0, second=0, microsecond=0)
    hours = [this_hour - timedelta(hours=back) for back in range(HOURS)]
    lines = []
    for hour in current_job.track(hours):  # each step is a place where it can be stopped
        users, mailings = _count(User.member_since, hour), _count(Mailing.created_at, hour)
        if users or mailings:
            lines.append((f"{hour:%Y-%m-%d %H:00}", users, mailings))
        time.sleep(EFFORT)
    send_email(user.email, "Your digest", "digest", user=user, lines=lines)
    return len(lines)


@bg.periodic(cron="* * * * *", catch_up="skip", label="the digests of this minute")
@bg.task(result_ttl=300)
def every_minute() -> int:
    """Begin the digests of all who want one each minute; how many."""
    begun = 0
    for user in db.session.scalars(sa.select(User).join(Subscription)):
        with suppress(DuplicateJob):  # the one before is not done yet
            _submit(user)
            begun += 1
    return begun


@blueprint.get("/digests")
def overview() -> str:
    """The forms, and the visitor's digests as they are now."""
    if not current_user.is_authenticated:
        return render_template("digests.html")
    mine = bg.jobs(task=digest.name, owner=current_user.get_id(), limit=SHOWN)
    subscribed = db.session.get(Subscription, current_user.id) is not None
    return render_template("digests.html", jobs=mine.items, subscribed=subscribed)


@blueprint.post("/digests")
@login_required
def schedule() -> Answer:
    """Send one in so many seconds, or at a time."""
    try:
        when = _when()
    except (ValueError, LookupError, OverflowError):
        flash("When? So many seconds from now, or a date and a time, please.", "error")
        return overview(), 422
    try:
        _submit(current_user, **when)
    except DuplicateJob:
        flash("There is one already: wait for it, or cancel it.", "error")
        return overview(), 409
    return _back()


@blueprint.post("/digests/every-minute")
@login_required
def subscribe() -> Response:
    """Begin, or cease, to send one every minute."""
    known = db.session.get(Subscription, current_user.id)
    if known is None:
        db.session.add(Subscription(user_id=current_user.id))
        flash("One begins with each minute, unless the one before is not done.")
    else:
        db.session.delete(known)
        flash("No more digests every minute.")
    db.session.commit()
    return _back()


@blueprint.post("/digests/<job_id>/cancel")
@login_required
def cancel(job_id: str) -> Response:
    """Stop one, also while it runs."""
    return _do(bg.cancel, job_id)


@blueprint.post("/digests/<job_id>/retry")
@login_required
def retry(job_id: str) -> Response:
    """Run one again that failed or was cancelled."""
    return _do(bg.retry, job_id)


def _submit(user: User, **when: Any) -> None:
    """Submit a user's digest. The user travels by key: the task loads the row anew.

    :raises DuplicateJob: there is an unfinished one.
    """
    digest.using(
        unique=f"digest for user {user.id}",
        owner=user.get_id(),
        label=f"digest for {user.username}",
        **when,
    ).submit(user)


def _when() -> dict[str, Any]:
    """What the form says, as options of the job.

    :raises ValueError: or ``LookupError`` or ``OverflowError``: nothing that could be meant.
    """
    if request.form.get("at"):
        at = datetime.fromisoformat(request.form["at"])
        local = at.replace(tzinfo=ZoneInfo(request.form.get("zone") or "UTC"))
        return {"eta": local.astimezone(UTC)}
    seconds = int(request.form["seconds"])
    if not 0 <= seconds <= LONGEST:
        raise ValueError(seconds)
    return {"delay": seconds}


def _do(action: Callable[[str], Job], job_id: str) -> Response:
    try:
        job = bg.get(job_id)
    except JobNotFound:
        abort(404)
    if job.task != digest.name or job.owner != current_user.get_id():
        abort(404)
    try:
        action(job_id)
    except (JobStateError, DuplicateJob) as error:
        flash(Markup("That cannot be: {}.").format(error), "error")
    return _back()


def _back() -> Response:
    return redirect(url_for("digests.overview"))


def _count(column: Any, hour: datetime) -> int:
    """How many rows have their time within the hour."""
    within = sa.and_(column >= hour, column < hour + timedelta(hours=1))
    return db.session.scalar(sa.select(sa.func.count()).where(within)) or 0
