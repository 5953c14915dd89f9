"""Is the application set up for what it does?"""

from __future__ import annotations

from collections.abc import Iterator

from ...naming import MAIL_TASK
from .case import Case
from .finding import Finding, error, info, warning


def examine_settings(case: Case) -> Iterator[Finding]:
    """Look at the app's configuration."""
    yield from _immediate(case)
    yield from _key(case)
    yield from _rights(case)
    yield from _mail(case)
    yield from _schedules(case)


def _immediate(case: Case) -> Iterator[Finding]:
    runtime = case.site.runtime
    if runtime.settings.immediate and not runtime.app.testing:
        what = "BGTASK_IMMEDIATE is on: jobs run inside the request that submits them."
        yield warning("immediate", what, "BGTASK_IMMEDIATE = False, but for tests")


def _key(case: Case) -> Iterator[Finding]:
    if not case.site.runtime.app.secret_key:
        yield warning(
            "secret-key",
            "SECRET_KEY is not set: the buttons of the status pages do not work, and a function "
            "that is no task cannot be durable.",
            'SECRET_KEY = a value that stays, from: python -c "import secrets; '
            'print(secrets.token_hex())"',
        )


def _rights(case: Case) -> Iterator[Finding]:
    app, settings = case.site.runtime.app, case.site.runtime.settings
    if case.site.bg.authorizer is not None or settings.url_prefix is None or app.testing:
        return
    if app.debug:
        what = "In debug mode the status pages are open to everybody who can reach the server."
    else:
        what = (
            f"Nobody may see {settings.url_prefix}: who holds the id of a job reads its minimal "
            "status, and all else is refused."
        )
    write = "Say who may: @bg.authorize over a function (action, job) that gives true or false"
    yield info("rights", what, write)


def _mail(case: Case) -> Iterator[Finding]:
    """Only where mail was sent through the store; who sends none needs no Flask-Mail."""
    if case.store is None or MAIL_TASK not in case.store.tasks():
        return
    app = case.site.runtime.app
    state = app.extensions.get("mail")
    if state is None:
        what = "There are mails in the store, and Flask-Mail is not initialised on this app."
        yield error("mail", what, "Mail().init_app(app), where the app is made")
        return
    if not state.server and not state.suppress:
        yield error("mail", "MAIL_SERVER is not set.", "MAIL_SERVER = the name of the SMTP server")
    if not state.default_sender:
        what = "MAIL_DEFAULT_SENDER is not set: a message without a sender of its own is refused."
        yield warning("mail-sender", what, "MAIL_DEFAULT_SENDER = 'name@example.com'")


def _schedules(case: Case) -> Iterator[Finding]:
    schedules = case.site.runtime.registry.schedules
    if schedules and case.store is not None and not case.workers():
        yield warning(
            "schedules",
            f"No live process makes the ticks of these schedules: {', '.join(sorted(schedules))}.",
            "Start the server, or a worker beside it: flask bgtask worker",
        )
