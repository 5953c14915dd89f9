"""How the server is reached: Flask-Mail's settings and ours, as one value."""

from __future__ import annotations

from typing import Any, NamedTuple

from flask import Flask

from ..errors import ConfigError


class Server(NamedTuple):
    """Everything a connection depends on; connections to equal servers can stand in for another."""

    host: str
    port: int
    use_tls: bool
    use_ssl: bool
    username: str | None
    password: str | None
    debug: int
    timeout: float
    "Seconds for each step."
    verify: bool
    "Whether the certificate and its name are checked."

    def __repr__(self) -> str:
        return f"<Server {self.host}:{self.port}>"  # the password is nobody's business


def flask_mail_state(app: Flask) -> Any:
    """What Flask-Mail read from the app's configuration.

    :raises ConfigError: Flask-Mail was not initialised on the app.
    """
    state = app.extensions.get("mail")
    if state is None:
        raise ConfigError(
            'app.extensions["mail"]', None, "Flask-Mail is not there: call Mail().init_app(app)"
        )
    return state


def check_server(app: Flask) -> None:
    """See that there is a server to send to.

    :raises ConfigError: none is configured, and sending is not suppressed.
    """
    state = flask_mail_state(app)
    if not state.server and not state.suppress:
        raise ConfigError("MAIL_SERVER", state.server, "the name of the SMTP server is expected")


def server_of(app: Flask) -> Server:
    """The server as the app is configured at this moment."""
    check_server(app)
    state = flask_mail_state(app)
    settings = app.extensions["bgtask"].settings
    return Server(
        host=str(state.server),
        port=int(state.port or 0),
        use_tls=bool(state.use_tls),
        use_ssl=bool(state.use_ssl),
        username=state.username,
        password=state.password,
        debug=int(state.debug),
        timeout=settings.mail_timeout,
        verify=settings.mail_verify,
    )
