"""Carriers take something of the submitting context to the task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app
from flask.globals import app_ctx

from .request import environ_at, request_of, where_reached


@dataclass(frozen=True, slots=True)
class Carrier:
    """``capture()`` gives plain data or ``None``; ``restore(data)`` surrounds the task."""

    name: str
    capture: Callable[[], Any]
    restore: Callable[[Any], AbstractContextManager[Any]]


def _app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]


def _capture_url() -> list[str] | None:
    return where_reached() if request_of(_app()) else None


@contextmanager
def _restore_url(where: list[str]) -> Iterator[None]:
    """Let ``url_for`` build the URLs that it would build in the request."""
    app = _app()
    app_ctx.url_adapter = app.create_url_adapter(app.request_class(environ_at(where)))
    yield


def _capture_owner() -> str | None:
    """The logged-in user's id, where Flask-Login is in use."""
    if not hasattr(current_app, "login_manager") or not request_of(_app()):
        return None
    from flask_login import current_user

    if not current_user or not current_user.is_authenticated:
        return None
    return str(current_user.get_id())


@contextmanager
def _restore_nothing(_: Any) -> Iterator[None]:
    yield


def _capture_locale() -> list[str | None] | None:
    """Flask-Babel's locale and time zone, where it is in use."""
    # Outside a request its selectors, which mostly read the request, would fail.
    if "babel" not in current_app.extensions or not request_of(_app()):
        return None
    from flask_babel import get_locale, get_timezone

    locale, zone = get_locale(), get_timezone()
    return [None if locale is None else str(locale), None if zone is None else str(zone)]


@contextmanager
def _restore_locale(names: list[str | None]) -> Iterator[None]:
    from flask_babel import force_locale

    locale, zone = names
    with force_locale(locale) if locale else nullcontext():
        if zone is not None:
            _force_timezone(zone)
        yield


def _force_timezone(name: str) -> None:
    """Set Flask-Babel's time zone for the task's app context.

    It has ``force_locale`` but nothing like it for zones, only the place that it looks at before
    it asks its selector, which mostly reads the request.
    """
    import flask_babel
    from babel.dates import get_timezone

    flask_babel._get_current_context().babel_tzinfo = get_timezone(name)


#: Name of the carrier whose data is the owner of the job; kept in a column of its own too.
OWNER = "owner"

#: Name of the snapshot that ``request=True`` carries.
REQUEST = "request"


def builtin_carriers() -> list[Carrier]:
    """URL root, the logged-in user's id, locale and time zone."""
    return [
        Carrier("url", _capture_url, _restore_url),
        Carrier(OWNER, _capture_owner, _restore_nothing),
        Carrier("babel", _capture_locale, _restore_locale),
    ]
