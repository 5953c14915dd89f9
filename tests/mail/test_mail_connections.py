"""Connections are kept, shared fairly, and let go."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from flask_mail import Message
from mail_servers import PATIENCE, Drop, Inbox, real_server

from flask_bgtask import BackgroundTasks
from flask_bgtask.mail import MailDeferred, MailRefused, close_all, pool
from flask_bgtask.mail.pool import pool_of

Make = Callable[..., Any]


def test_one_connection_serves_many_mails(scripted: Make, make_post: Make) -> None:
    """Per mail there is MAIL, RCPT and DATA, and nothing else."""
    server = scripted([])
    post = make_post(server)
    for _ in range(5):
        post.freeze().attempt()
        post.memo.clear()
    one = ["MAIL FROM:<app@x.org>", "RCPT TO:<a@x.org>", "DATA"]
    assert [line.upper() if line == "data" else line for line in server.commands[0][1:]] == one * 5
    assert len(server.commands) == 1


def test_a_refused_mail_leaves_the_connection(scripted: Make, make_post: Make) -> None:
    """Where a mail was begun and not sent, RSET comes before the next one; nowhere else."""
    server = scripted([], rcpt=["550 no"], mail=["250 fine", "550 no"], body=["554 no"])
    post = make_post(server)
    for _ in range(3):
        with pytest.raises(MailRefused):
            post.attempt()
        post.memo.clear()
    post.attempt()
    verbs = [line.split()[0].upper() for line in server.commands[0][1:]]
    assert verbs == [
        *("MAIL", "RCPT", "RSET", "MAIL"),
        *("MAIL", "RCPT", "DATA", "MAIL", "RCPT", "DATA"),
    ]


@pytest.mark.parametrize("how", [Drop, "421 idle too long", "503 out of step", b"\xff\r\n", "hang"])
def test_a_connection_that_died_meanwhile_is_no_failure(
    how: Any, scripted: Make, make_post: Make
) -> None:
    """The first command on a kept connection tells; one new connection is made at once."""
    server = scripted(mail=["250 fine", how])
    post = make_post(server, BGTASK_MAIL_TIMEOUT=2)
    post.attempt()
    if how == "hang":
        server.hang_up()
        server.script["mail"] = []
    post.memo.clear()
    assert post.attempt().attempts == 1
    assert len(server.commands) == 2
    assert len(server.mails) == 2


def test_a_server_that_stays_away_is_a_failure(scripted: Make, make_post: Make) -> None:
    """There is one new connection for each attempt and no more."""
    server = scripted(mail=["250 fine", Drop, Drop])
    post = make_post(server)
    post.attempt()
    post.memo.clear()
    with pytest.raises(MailDeferred):
        post.attempt()
    assert len(server.commands) == 2


def test_a_reply_too_many_ends_a_kept_connection(scripted: Make, make_post: Make) -> None:
    """What waits to be read is not taken for the reply to the next mail."""
    server = scripted(body=["250 fine\r\n250 fine\r\n250 fine\r\n354 go\r\n250 taken"])
    post = make_post(server)
    post.attempt()
    post.memo.clear()
    post.attempt()
    assert len(server.commands) == 2
    assert len(server.mails) == 2


def test_flask_mail_says_after_how_many_mails_to_reconnect(scripted: Make, make_post: Make) -> None:
    """``MAIL_MAX_EMAILS`` holds."""
    server = scripted()
    post = make_post(server, MAIL_MAX_EMAILS=2)
    for _ in range(5):
        post.attempt()
        post.memo.clear()
    verbs = [[line.split()[0].upper() for line in lines] for lines in server.commands]
    assert [lines.count("MAIL") for lines in verbs] == [2, 2, 1]
    assert [lines[-1] for lines in verbs] == ["QUIT", "QUIT", "DATA"]


def test_idle_connections_are_closed(
    bg: BackgroundTasks, make_app: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection without mail is let go, with a goodbye; the next mail has a new one."""
    monkeypatch.setattr(pool, "CLOSE_AFTER", 0.05)
    told: queue.SimpleQueue[str] = queue.SimpleQueue()

    class Server(SMTP):
        async def smtp_QUIT(self, arg: str) -> None:
            told.put("goodbye")
            await super().smtp_QUIT(arg)

        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            told.put("closed")

    with real_server(Server) as (inbox, port), make_app(port).app_context():
        for n in range(2):
            mail = Message("s", recipients=["a@x.org"], body="text")
            bg.send_mail(mail).result(PATIENCE)
            assert [told.get(timeout=PATIENCE) for _ in range(2)] == ["goodbye", "closed"]
            assert len(inbox.sessions) == n + 1


def test_closing_lets_mails_in_flight_come_home(scripted: Make, make_post: Make) -> None:
    """What is in use at the end is closed when it comes back; a later mail opens anew."""
    server = scripted()
    post = make_post(server)
    idle = pool_of(post.app)
    post.attempt()
    connection = idle.take(idle._idle[0].server)
    assert connection is not None
    close_all(post.app.extensions["bgtask"])
    assert connection.alive
    idle.give(connection)
    assert not connection.alive
    post.memo.clear()
    post.attempt()
    assert len(server.commands) == 2
    assert len(idle._idle) == 1


def test_other_settings_mean_another_connection(scripted: Make, make_post: Make) -> None:
    """A connection that was made under other settings is not used."""
    server = scripted()
    post = make_post(server)
    post.attempt()
    post.app.extensions["mail"].debug = 0
    post.app.extensions["mail"].server = "localhost"
    post.memo.clear()
    post.attempt()
    assert len(server.commands) == 2
    assert server.commands[0][-1] == "QUIT"


def test_threads_do_not_share_a_connection(inbox: tuple[Inbox, int], make_post: Make) -> None:
    """As many connections as threads that send at a time, and every mail arrives whole."""
    box, port = inbox
    post = make_post(port)
    failures = []

    def send(number: int) -> None:
        mine = type(post)(post.app)
        try:
            for i in range(10):
                mine.freeze(f"u{number}-{i}@x.org", body=f"{number} {i}\n" * 1000).attempt()
                mine.memo.clear()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert not failures
    assert len(box.envelopes) == 40
    assert len(box.sessions) <= 4
    for envelope in box.envelopes:
        number, i = envelope.rcpt_tos[0].removesuffix("@x.org").removeprefix("u").split("-")
        assert envelope.content.count(f"{number} {i}\r\n".encode()) == 1000


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_uses_no_connection_of_its_parent(scripted: Make, make_post: Make) -> None:
    """The child makes its own, and the parent's goes on as if nothing was."""
    server = scripted()
    post = make_post(server)
    post.attempt()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            post.memo.clear()
            code = 0 if post.attempt().accepted else 2
            close_all(post.app.extensions["bgtask"])
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert [c.count("QUIT") for c in server.commands] == [0, 1]
    post.memo.clear()
    post.attempt()
    assert len(server.commands) == 2


def test_debugging_shows_the_dialogue(
    scripted: Make, make_post: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """``MAIL_DEBUG`` holds: the dialogue goes to standard error, as with Flask-Mail."""
    make_post(scripted(), MAIL_DEBUG=1).attempt()
    assert "RCPT TO:<a@x.org>" in capsys.readouterr().err
