"""A report that takes long, with its progress."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from flask_bgtask import JobNotFound, current_job

from .extensions import bg, db
from .models import User, now

#: Seconds for which each day of the report pretends to count hard.
EFFORT = 0.25

blueprint = Blueprint("reports", __name__)


@bg.task(retries=1, serial="reports")  # one at a time, in order: they weigh on the database
def report(days: int) -> dict[str, Any]:
    """How many users registered on each of the last days; newest day first."""
    today = now().replace(hour=0, minute=0, second=0, microsecond=0)
    rows = []
    for day in current_job.track([today - timedelta(days=back) for back in range(days)]):
        on_that_day = sa.and_(User.member_since >= day, User.member_since < day + timedelta(days=1))
        count = db.session.scalar(sa.select(sa.func.count(User.id)).where(on_that_day)) or 0
        rows.append((f"{day:%Y-%m-%d}", count))
        time.sleep(EFFORT)
    current_job.log(f"counted {days} days")
    return {"days": rows, "users": sum(count for _, count in rows)}


@blueprint.get("/reports")
def start_page() -> str:
    """The form that starts a report."""
    return render_template("reports.html", effort=EFFORT)


@blueprint.post("/reports")
def start() -> ResponseReturnValue:
    """Start a report; a page for browsers, 202 with the job's address for programs."""
    days = request.form.get("days", 60, type=int)
    if not 1 <= days <= 1000:
        abort(422, "Between 1 and 1000 days, please.")
    handle = report.using(label=f"report over {days} days").submit(days)
    if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "text/html":
        return redirect(url_for("reports.show", job_id=handle.id))
    return bg.accepted(handle)


@blueprint.get("/reports/<job_id>")
def show(job_id: str) -> str:
    """How far the report is, and the report once it is done."""
    try:
        job = bg.get(job_id)
    except JobNotFound:
        abort(404, "There is no such report (any more).")
    return render_template("report.html", job=job, status_url=bg.handle(job_id).status_url)
