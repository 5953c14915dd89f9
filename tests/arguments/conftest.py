"""What the tests of arguments share: a codec, and an app with rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from argument_models import db
from flask import Flask

from flask_bgtask.arguments import Codec


@pytest.fixture
def codec() -> Codec:
    """A codec without registrations."""
    return Codec()


@pytest.fixture
def shop(tmp_path: Any) -> Iterator[Flask]:
    """An app with Flask-SQLAlchemy and two database files, inside of its context."""
    app = Flask("shop", instance_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///shop.sqlite3"
    app.config["SQLALCHEMY_BINDS"] = {"archive": "sqlite:///archive.sqlite3"}
    app.secret_key = "tests only"
    db.init_app(app)
    with app.app_context():
        db.create_all()
        yield app
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()
