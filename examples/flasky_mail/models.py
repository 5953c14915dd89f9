"""Users, mailings and subscriptions in the application's own database."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import current_app
from flask_login import UserMixin
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.security import check_password_hash, generate_password_hash

from .extensions import db, login_manager

#: Seconds for which the link in a confirmation mail is good.
CONFIRM_WITHIN = 24 * 3600


def now() -> datetime:
    """The time as the database keeps it: UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


class User(UserMixin, db.Model):  # type: ignore[name-defined]
    """Somebody who registered; ``confirmed`` once the link in the mail was followed."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    username: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    confirmed: Mapped[bool] = mapped_column(default=False)
    member_since: Mapped[datetime] = mapped_column(default=now)

    def set_password(self, password: str) -> None:
        """Keep a hash of the password."""
        self.password_hash = generate_password_hash(password)

    def verify_password(self, password: str) -> bool:
        """Whether this is the password."""
        return check_password_hash(self.password_hash, password)

    def confirmation_token(self) -> str:
        """What the link in the confirmation mail carries."""
        return _tokens().dumps(self.id)

    @staticmethod
    def of_token(token: str) -> User | None:
        """Whose mail the link was in; ``None`` if it was changed or is too old."""
        try:
            return db.session.get(User, _tokens().loads(token, max_age=CONFIRM_WITHIN))
        except BadSignature:
            return None


class Mailing(db.Model):  # type: ignore[name-defined]
    """A mail to many readers."""

    __tablename__ = "mailings"

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str]
    readers: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Subscription(db.Model):  # type: ignore[name-defined]
    """Who is in here gets a digest every minute."""

    __tablename__ = "subscriptions"

    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), primary_key=True)


def _tokens() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.config["SECRET_KEY"], salt="confirm")


@login_manager.user_loader
def load_user(user_id: str) -> User | None:
    """For Flask-Login."""
    return db.session.get(User, int(user_id))
