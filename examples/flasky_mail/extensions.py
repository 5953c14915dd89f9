"""The extensions, made here once and given the application by its factory."""

from __future__ import annotations

from typing import Literal

from flask_login import LoginManager
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from flask_bgtask import BackgroundTasks, Job


class Base(DeclarativeBase):
    """Base of the models."""


db = SQLAlchemy(model_class=Base)
mail = Mail()
login_manager = LoginManager()
login_manager.login_view = "users.login"
bg = BackgroundTasks()


@bg.authorize
def everybody(action: str, job: Job | None) -> Literal[True]:
    """The demo answers to this machine alone, so whoever reaches it may see and do everything.

    An application on the net would look at ``current_user`` here.
    """
    return True
