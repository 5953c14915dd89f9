"""A small application with user accounts, mail, long reports and schedules, all on Flask-BgTask.

``make demo`` serves it; see :mod:`.__main__`.
"""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask

from . import digests, inbox, mailings, pages, reports, users
from .extensions import bg, db, login_manager, mail

#: Where the demo keeps its files unless it is told another folder.
INSTANCE = Path(__file__).parent / "instance"


def create_app(
    config: Mapping[str, Any] | None = None, *, instance: Path | str = INSTANCE
) -> Flask:
    """The application; ``config`` goes over its own settings.

    :param instance: folder of the databases, of the key and of the caught mail; made if missing.
    """
    folder = Path(instance).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    app = Flask(__name__, instance_path=str(folder))
    app.config.from_mapping(
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / 'flasky.sqlite3'}",
        SESSION_COOKIE_SAMESITE="Lax",
        MAIL_SERVER="127.0.0.1",
        MAIL_PORT=8025,
        MAIL_DEFAULT_SENDER=("Flasky Mail", "flasky@example.com"),
        MAILBOX=str(folder / "mailbox.sqlite3"),
        # The report and the mailing are durable: what a stop interrupts runs again at the next
        # start. So a stop need not wait for them.
        BGTASK_DRAIN_TIMEOUT=1,
    )
    app.config.update(config or {})
    for extension in (db, mail, login_manager, bg):
        extension.init_app(app)
    for module in (pages, users, reports, mailings, digests, inbox):
        app.register_blueprint(module.blueprint)
    with _alone(folder), app.app_context():
        app.config["SECRET_KEY"] = app.config["SECRET_KEY"] or _secret_key(folder)
        db.create_all()
    return app


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep the other worker processes out, which start at the same moment."""
    with (folder / "starting.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _secret_key(folder: Path) -> str:
    """The key of an earlier start, so that sessions and the links in old mail stay good."""
    path = folder / "secret_key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text()
