"""Tasks and views of the example application, tested as the guide tells users to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from examples.flasky_mail import create_app
from examples.flasky_mail.digests import digest, every_minute
from examples.flasky_mail.extensions import bg, db, mail
from examples.flasky_mail.models import Subscription, User
from flask_bgtask import testing

FORM = {"email": "ann@example.com", "username": "ann", "password": "a password"}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    app = create_app({"TESTING": True}, instance=tmp_path)
    app.extensions["mail"].suppress = True  # Flask-Mail has read the configuration before it
    yield app
    with app.app_context():
        db.engine.dispose()
        bg.shutdown()


def add_user(name: str, *, subscribed: bool = True) -> User:
    user = User(email=f"{name}@example.com", username=name, password_hash="-", confirmed=True)
    db.session.add(user)
    db.session.flush()
    if subscribed:
        db.session.add(Subscription(user_id=user.id))
    db.session.commit()
    return user


def test_each_minute_begins_the_digests_of_those_who_want_it(app: Flask) -> None:
    """One for each of them, none while the one before is not done."""
    with app.app_context(), testing.capture(app) as captured:
        wanted = {add_user("ann").get_id(), add_user("bob").get_id()}
        add_user("cid", subscribed=False)
        assert every_minute() == 2
        assert {job.owner for job in captured.jobs} == wanted
        assert {job.task for job in captured.jobs} == {digest.name}
        assert every_minute() == 0
        assert len(captured.jobs) == 2


def test_a_digest_is_mailed(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the user who was given as a row, with what happened."""
    monkeypatch.setattr("examples.flasky_mail.digests.EFFORT", 0)
    with app.app_context(), testing.immediate(app), mail.record_messages() as outbox:
        assert digest.submit(add_user("ann")).result(0) == 1
    assert outbox[0].recipients == ["ann@example.com"]
    assert "1 registered" in (outbox[0].body or "")


def test_a_registration_sends_one_mail(app: Flask) -> None:
    """With the link that confirms the address."""
    with testing.immediate(app), mail.record_messages() as outbox:
        assert app.test_client().post("/register", data=FORM).status_code == 302
    assert [message.recipients for message in outbox] == [["ann@example.com"]]


def test_a_registration_that_is_rolled_back_sends_no_mail(app: Flask) -> None:
    """The commit fails: there is no account, no mail and no job."""

    def fail(_: object) -> None:
        raise sa.exc.OperationalError("COMMIT", None, Exception("the disk is full"))

    sa.event.listen(db.session, "before_commit", fail)
    try:
        with (
            testing.immediate(app),
            mail.record_messages() as outbox,
            pytest.raises(sa.exc.OperationalError),
        ):
            app.test_client().post("/register", data=FORM)
    finally:
        sa.event.remove(db.session, "before_commit", fail)
    assert outbox == []
    with app.app_context():
        assert len(bg.jobs()) == 0
        assert db.session.scalar(sa.select(sa.func.count(User.id))) == 0
