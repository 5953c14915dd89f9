"""Carriers take something of the submitting context to the task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from functools import cached_property
from typing import Any, cast

from flask import Flask, current_app
from flask.globals import app_ctx
from werkzeug.routing import MapAdapter

from .request import environ_at, request_of, where_reached

#: Name of the carrier whose data is the owner of the job; kept in a column of its own too.
OWNER = "owner"

#: Name of the snapshot that ``request=True`` carries.
REQUEST = "request"

_URL = "url"
_BABEL = "babel"

#: Data for which nothing has to be put around the task.
UNFELT = frozenset({_URL, OWNER})

#: Names of what is carried without ``bg.carry``.
_OWN = frozenset({_BABEL, OWNER, REQUEST, _URL})


@dataclass(frozen=True, slots=True)
class Carrier:
    """``capture()`` gives plain data or ``None``; ``restore(data)`` surrounds the task.

    :raises ValueError: the name is one of our own.
    """

    name: str
    capture: Callable[[], Any]
    restore: Callable[[Any], AbstractContextManager[Any]]

    def __post_init__(self) -> None:
        if self.name in _OWN:
            own = ", ".join(map(repr, sorted(_OWN)))
            raise ValueError(
                f"{self.name!r} is what the extension itself carries; any name but {own} will do"
            )


def capture_builtin(app: Flask) -> dict[str, Any]:
    """URL root, the logged-in user's id, locale and time zone of a request of this app.

    Not by carriers of their own: every submit pays for this, and they share the look at the
    request. Outside one there is nothing; Flask-Babel's selectors, which mostly read it, would
    fail.
    """
    request = request_of(app)
    if request is None:
        return {}
    captured: dict[str, Any] = {_URL: where_reached(request)}
    if hasattr(app, "login_manager"):
        captured[OWNER] = user_id()
    if _BABEL in app.extensions:
        captured[_BABEL] = _locale()
    return captured


def user_id() -> str | None:
    """The id of the user whom Flask-Login knows, as text; ``None`` without one."""
    if not hasattr(current_app, "login_manager"):
        return None
    from flask_login import current_user

    if not current_user or not current_user.is_authenticated:
        return None
    return str(current_user.get_id())


def _locale() -> list[str | float | None]:
    from flask_babel import get_locale, get_timezone

    locale, zone = get_locale(), get_timezone()
    return [None if locale is None else str(locale), None if zone is None else _zone(zone)]


def _zone(zone: tzinfo) -> str | float | None:
    """A time zone by its name, a fixed offset by its minutes; ``None`` for what has neither."""
    import pytz  # Flask-Babel needs it

    name = str(zone)
    with suppress(pytz.UnknownTimeZoneError):
        pytz.timezone(name)
        return name
    offset = zone.utcoffset(None)
    return None if offset is None else offset / timedelta(minutes=1)


def restore_url(app: Flask, carried: dict[str, Any]) -> None:
    """Let ``url_for`` build, in a task's app context, the URLs that it builds in the request."""
    if _URL in carried:
        app_ctx.url_adapter = cast(MapAdapter, _AdapterAt(app, carried[_URL]))


class _AdapterAt:
    """The URL adapter of a request; made when it is asked for, as few tasks build a URL."""

    def __init__(self, app: Flask, where: Sequence[str]) -> None:
        self._app = app
        self._where = where

    @cached_property
    def _adapter(self) -> MapAdapter | None:
        return self._app.create_url_adapter(self._app.request_class(environ_at(self._where)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)


@contextmanager
def restore_locale(carried: dict[str, Any]) -> Iterator[None]:
    """Surround a task, in its app context, with the locale and the time zone of its submitter."""
    if carried.get(_BABEL) is None:
        yield
        return
    from flask_babel import force_locale

    locale, zone = carried[_BABEL]
    with force_locale(locale) if locale else nullcontext():
        if zone is not None:
            _force_timezone(zone)
        yield


def _force_timezone(zone: str | float) -> None:
    """Set Flask-Babel's time zone for the task's app context.

    It has ``force_locale`` but nothing like it for zones, only the place that it looks at before
    it asks its selector. What it finds there has to be a zone of pytz's.
    """
    import flask_babel
    import pytz

    found = pytz.timezone(zone) if isinstance(zone, str) else pytz.FixedOffset(zone)
    flask_babel._get_current_context().babel_tzinfo = found
