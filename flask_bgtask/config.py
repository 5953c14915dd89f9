"""Settings of one app, read and checked once in ``init_app``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .errors import ConfigError

if TYPE_CHECKING:
    from flask import Flask

#: Words of argument names whose values are shown as dots, unless ``BGTASK_MASK`` says otherwise.
#: Short ones count at the end of a word, the others anywhere: see :func:`.is_secret`.
DEFAULT_MASK = (
    "password", "passwd", "passphrase", "passcode", "secret", "token", "credential", "cookie",
    "session", "sessid", "authoriz", "authoris", "authentic", "authcode", "authdata", "authinfo",
    "authheader", "keypair", "keydata", "keyfile", "cardno", "cardnum", "pincode", "pwdhash",
    "key", "auth", "pass", "pwd", "card", "cvv", "iban", "ssn", "pin",
)  # fmt: skip

# SQLite's own ":memory:" would be a file of that name.
_STORE_URL = re.compile(r"sqlite:///(?!:memory:).+|(postgresql|mysql)(\+\w+)?://.+")
_QUEUE = re.compile(r"[\w.:-]{1,100}")


@dataclass(frozen=True, slots=True)
class Settings:
    """The ``BGTASK_*`` keys of one app; durations in seconds."""

    store: str | None = None
    engine: str = "threads"
    workers: int = 4
    queues: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    run_workers: bool = True
    max_queued: int = 10_000
    drain_timeout: float = 10.0
    result_ttl: float = 7 * 86400.0
    url_prefix: str | None = "/bgtasks"
    sqlite_synchronous: str = "NORMAL"
    streams: int = 2
    mask: tuple[str, ...] = DEFAULT_MASK
    mail_timeout: float = 30.0
    mail_retries: int = 8
    mail_verify: bool = True
    immediate: bool = False


class _Wrong(Exception):
    """The value is not allowed; the message says what is."""


def _whole(least: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int or value < least:
            raise _Wrong(f"a whole number of {least} or more is expected")
        return value

    return check


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise _Wrong("True or False is expected")
    return value


def _seconds(*, zero: bool) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        good = type(seconds) in (int, float) and 0 <= seconds < 1e10
        if not good or (seconds == 0 and not zero):
            least = "0 or more" if zero else "more than 0"
            raise _Wrong(f"seconds ({least}) or a timedelta is expected")
        return float(seconds)

    return check


def _store(value: Any) -> str:
    if isinstance(value, str) and (value in ("sqlite", "memory") or _STORE_URL.fullmatch(value)):
        return value
    raise _Wrong(
        "'sqlite', 'memory' or a URL such as 'sqlite:////var/lib/app/jobs.sqlite3' is expected"
    )


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise _Wrong("one of " + ", ".join(map(repr, words)) + " is expected")
        return str(value)

    return check


def _queues(value: Any) -> Mapping[str, int]:
    good = isinstance(value, Mapping) and all(
        isinstance(name, str) and _QUEUE.fullmatch(name) and type(most) is int and most >= 0
        for name, most in value.items()
    )
    if not good:
        raise _Wrong("a dictionary {queue name: threads (0 or more)} is expected")
    return MappingProxyType(dict(value))


def _prefix(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"(/[\w.~-]+)+", value):
        raise _Wrong("a path such as '/bgtasks', without a final slash, or None is expected")
    return value


def _names(value: Any) -> tuple[str, ...]:
    good = isinstance(value, (list, tuple, set, frozenset)) and all(
        isinstance(name, str) and any(map(str.isalnum, name)) for name in value
    )
    if not good:
        raise _Wrong("a list of argument names is expected")
    return tuple(name.lower() for name in value)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "store": _store,
    "engine": _one_of("threads", "huey", "celery"),
    "workers": _whole(1),
    "queues": _queues,
    "run_workers": _flag,
    "max_queued": _whole(1),
    "drain_timeout": _seconds(zero=True),
    "result_ttl": _seconds(zero=True),
    "url_prefix": _prefix,
    "sqlite_synchronous": _one_of("OFF", "NORMAL", "FULL", "EXTRA"),
    "streams": _whole(0),
    "mask": _names,
    "mail_timeout": _seconds(zero=False),
    "mail_retries": _whole(0),
    "mail_verify": _flag,
    "immediate": _flag,
}


def read_settings(app: Flask) -> Settings:
    """Check each ``BGTASK_*`` key of the app's configuration and give them as one value.

    Keys that are not set get their default in ``app.config`` too, but for ``BGTASK_STORE``,
    whose default depends on ``TESTING`` at the first use (see :func:`store_setting`).

    :raises ConfigError: a value is wrong.
    """
    _warn_of_unknown_keys(app)
    defaults = Settings()
    read = {}
    for name in _CHECKS:
        if name != "store":
            app.config.setdefault(_key(name), getattr(defaults, name))
        if _key(name) in app.config:
            read[name] = _checked(app, name)
    return Settings(**read)


def store_setting(app: Flask) -> str:
    """Which store the app uses, as configured at this moment.

    :raises ConfigError: the value is wrong.
    """
    if _key("store") in app.config:
        return str(_checked(app, "store"))
    return "memory" if app.testing else "sqlite"


def _key(name: str) -> str:
    return "BGTASK_" + name.upper()


def _checked(app: Flask, name: str) -> Any:
    value = app.config[_key(name)]
    try:
        return _CHECKS[name](value)
    except _Wrong as error:
        raise ConfigError(_key(name), value, str(error)) from None


def _warn_of_unknown_keys(app: Flask) -> None:
    known = {_key(name) for name in _CHECKS}
    for key in app.config:
        if key.startswith("BGTASK_") and key not in known:
            # Without the prefix, which would make any two keys look alike.
            near = difflib.get_close_matches(key.removeprefix("BGTASK_").lower(), _CHECKS, 1)
            hint = f"; did you mean {_key(near[0])}?" if near else ""
            app.logger.warning("Flask-BgTask knows no setting %s%s", key, hint)
