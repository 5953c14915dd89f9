"""One SMTP connection: the steps of a mail, each with what its reply means."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from typing import NamedTuple

from .connect import connect, failure_at
from .failures import MailDeferred, MailRefused, Stage, judge, readable
from .settings import Server
from .smtp import BLOCK, Client

#: Seconds that a server gets to say goodbye. Its answer makes no difference.
QUIT_TIMEOUT = 1.0


class Reply(NamedTuple):
    """A reply of the server."""

    code: int
    text: str

    @property
    def line(self) -> str:
        """Code and text, as the server wrote them."""
        return f"{self.code} {self.text}".strip()

    @property
    def good(self) -> bool:
        """Whether the step was completed (RFC 5321, 4.2.1)."""
        return 200 <= self.code <= 299

    @property
    def refused(self) -> bool:
        """Whether it is a refusal that leaves the connection as it is."""
        return 400 <= self.code <= 599 and self.code != 421


class Connection:
    """A connection that is ready for mails. Used by one thread at a time."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.mails = 0
        "How many the server took."
        self.idle_since = time.monotonic()
        self._client: Client = connect(server)
        self._offered = self._client.esmtp_features if self._client.does_esmtp else {}
        self.size_limit = self._size_limit()
        "Largest mail in bytes that the server takes, if it says so (RFC 1870)."
        self._unfinished = False

    @property
    def alive(self) -> bool:
        """Whether it can be used; it ends with any answer that does not belong there."""
        return self._client.sock is not None

    def offers(self, extension: str) -> bool:
        """Whether the server announced an extension, given in lower case."""
        return extension in self._offered

    def _size_limit(self) -> int | None:
        announced = self._offered.get("size", "")
        return int(announced) or None if announced.isdecimal() else None

    def begin(self, sender: str, options: Collection[str]) -> None:
        """Begin a mail.

        :raises MailRefused: this sender, or a mail of these options, is not welcome.
        :raises MailDeferred: not now; or the connection is not :attr:`alive` any more.
        """
        utf8 = "SMTPUTF8" in options
        self._client.command_encoding = "utf-8" if utf8 else "ascii"
        if self._unfinished:
            self._expect_good(Stage.MAIL, self._ask(Stage.MAIL, "RSET"))
            self._unfinished = False
        reply = self._ask(Stage.MAIL, "MAIL", f"FROM:<{sender}>{self._options(options)}")
        if reply.code == 503:
            self.drop()  # what the server believes of this connection is not what we do
        self._expect_good(Stage.MAIL, reply)
        self._unfinished = True

    def add(self, recipient: str, options: Collection[str]) -> Reply:
        """Name a recipient; the reply says whether the server takes the mail for it.

        :raises MailDeferred: the connection came to its end.
        """
        command = f"TO:<{recipient}>{self._options(options)}"
        reply = self._ask(Stage.RECIPIENT, "RCPT", command)
        if not reply.good and not reply.refused:
            self._expect_good(Stage.RECIPIENT, reply)
        return reply

    def send(self, body: bytes) -> Reply:
        """Send the mail itself.

        :raises MailRefused: the server did not take it for any recipient.
        :raises MailDeferred: not now; ``unanswered`` says whether all of it went out.
        """
        go = self._ask(Stage.DATA, "DATA")
        if not 300 <= go.code <= 399:
            raise self._wrong(Stage.DATA, go)
        self._send_blocks(body)
        reply = self._hear(Stage.BODY)
        self._unfinished = False
        if not reply.good and not 400 <= reply.code <= 599:
            self.drop()
            raise MailDeferred(Stage.BODY, 0, f"unexpected reply: {reply.text}", unanswered=True)
        self._expect_good(Stage.BODY, reply)
        self.mails += 1
        return reply

    def drop(self) -> None:
        """Close without a word."""
        self._client.close()

    def quit(self) -> None:
        """Say goodbye and close. An error here is no failure: all that was sent is answered for."""
        if not self.alive:
            return
        with contextlib.suppress(OSError, ValueError):
            self._client.timeout = QUIT_TIMEOUT
            assert self._client.sock is not None
            self._client.sock.settimeout(QUIT_TIMEOUT)
            self._client.docmd("QUIT")
        self.drop()

    def _options(self, options: Collection[str]) -> str:
        return "".join(f" {option}" for option in options) if self._client.does_esmtp else ""

    def _ask(self, stage: Stage, command: str, arguments: str = "") -> Reply:
        try:
            self._client.putcmd(command, arguments)
        except OSError as error:
            raise failure_at(stage, error) from error
        return self._hear(stage)

    def _hear(self, stage: Stage) -> Reply:
        try:
            code, text = self._client.getreply()
        except OSError as error:
            raise self._lost(stage, error) from error
        return Reply(code, readable(text))

    def _lost(self, stage: Stage, error: OSError) -> MailRefused | MailDeferred:
        failure = failure_at(stage, error)
        if stage is not Stage.BODY:
            return failure
        return MailDeferred(failure.stage, 0, failure.text, unanswered=True)

    def _send_blocks(self, body: bytes) -> None:
        # Each block is a step with a timeout of its own: a large mail may take long, as long as
        # it moves. The end of the mail is in the last one: if that was not sent, the server has
        # no complete mail.
        if body.startswith(b"."):
            body = b"." + body
        body = body.replace(b"\n.", b"\n..")  # (RFC 5321, 4.5.2)
        body += b".\r\n" if body.endswith(b"\r\n") or not body else b"\r\n.\r\n"
        try:
            for start in range(0, len(body), BLOCK):
                self._client.send(body[start : start + BLOCK])
        except OSError as error:
            raise failure_at(Stage.DATA, error) from error

    def _expect_good(self, stage: Stage, reply: Reply) -> None:
        if not reply.good:
            raise self._wrong(stage, reply)

    def _wrong(self, stage: Stage, reply: Reply) -> MailRefused | MailDeferred:
        if not reply.refused:
            self.drop()
        return judge(stage, reply.code, reply.text)
