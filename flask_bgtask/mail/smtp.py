"""The standard library's SMTP client with a deadline and a size for every reply."""

from __future__ import annotations

import smtplib
import socket
import sys
import time
from typing import Any

#: Longest line of a reply in bytes. RFC 5321 allows 512; challenges of AUTH may be longer.
LONGEST_REPLY_LINE = 8_000

#: Longest reply of several lines, in bytes.
LONGEST_REPLY = 65_536

#: Bytes of a mail that are sent as one step, each of which may take the whole timeout.
BLOCK = 65_536


class UnfitReply(OSError):
    """What the server sends is no reply that this client would read to its end."""


class ReplyReader:
    """Reads replies from a socket, each within one deadline.

    Stands in for the socket's file in :class:`smtplib.SMTP`: a timeout of the socket begins anew
    with each byte, so a server that sends one in a while would hold the thread for good.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self._deadline = 0.0
        self._left = 0
        self._reads = 0

    @property
    def unread(self) -> bool:
        """Whether the server said more than it was asked."""
        return bool(self._buffer)

    def reply(self, timeout: float) -> list[bytes]:
        """The lines of the next reply with their ends.

        :param timeout: seconds in which it has to be complete.
        :raises OSError: it was not, or it is not fit to be read to its end.
        """
        self._deadline = time.monotonic() + timeout
        self._reads = 0
        self._left = LONGEST_REPLY
        lines = [self._line()]
        while lines[-1][3:4] == b"-" and lines[-1][:3].isdigit():
            lines.append(self._line())
        if self._reads > 1:
            self._sock.settimeout(timeout)  # its own one again
        return lines

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n") + 1) == 0:
            if len(self._buffer) > LONGEST_REPLY_LINE:
                raise UnfitReply("a line of the server's reply is too long")
            self._buffer += self._receive()
        if end > LONGEST_REPLY_LINE:
            raise UnfitReply("a line of the server's reply is too long")
        self._left -= end
        if self._left < 0:
            raise UnfitReply("the server's reply does not come to its end")
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line

    def _receive(self) -> bytes:
        # Mostly all comes at once, within the socket's own timeout; more turns share the rest.
        if self._reads:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        self._reads += 1
        data = self._sock.recv(LONGEST_REPLY_LINE)
        if not data:
            raise ConnectionError
        return data

    def close(self) -> None:
        """Do nothing: the socket is closed by who opened it."""


class Client(smtplib.SMTP):
    """:class:`smtplib.SMTP` for a server that is not trusted to be quick, brief or sane."""

    file: Any
    timeout: float
    auth_refusal: smtplib.SMTPAuthenticationError | None = None
    "The last refusal to a login; the server may close the connection after it."

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply; it has to be complete within the timeout.

        :return: the code, -1 if there is none, and the text.
        :raises smtplib.SMTPServerDisconnected: there is no whole reply; the connection is closed.
        """
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("please run connect() first")
        if self.file is None:
            self.file = ReplyReader(self.sock)
        try:
            lines = self.file.reply(self.timeout)
        except OSError as error:
            self.close()
            why = f": {error}" if str(error) else ""
            raise smtplib.SMTPServerDisconnected(f"Connection unexpectedly closed{why}") from error
        if self.debuglevel > 0:
            print("reply:", b"".join(lines), file=sys.stderr)
        code = lines[-1][:3]
        text = b"\n".join([line[4:].strip() for line in lines])
        return int(code) if code.isdigit() else -1, text

    def send(self, s: Any) -> None:
        """Send a command or a part of a mail.

        :raises smtplib.SMTPServerDisconnected: also when replies came that nothing was asked for:
            what is read next would be taken for the reply to something else.
        """
        if self.file is not None and self.file.unread:
            self.close()
            raise smtplib.SMTPServerDisconnected("the server replied before it was asked")
        super().send(s)

    def auth(self, mechanism: str, authobject: Any, **options: Any) -> tuple[int, bytes]:
        """Log in by one mechanism. ``MAIL_DEBUG`` must not print the password."""
        level, self.debuglevel = self.debuglevel, 0
        try:
            return super().auth(mechanism, authobject, **options)
        except smtplib.SMTPAuthenticationError as error:
            self.auth_refusal = error
            raise
        finally:
            self.debuglevel = level


class EncryptedClient(Client, smtplib.SMTP_SSL):
    """The same within TLS from the first byte on."""
