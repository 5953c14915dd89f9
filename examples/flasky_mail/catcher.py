"""A small SMTP server that delivers nothing: it keeps each mail for the inbox page.

A process of its own, started by :mod:`.__main__` with a socket that listens already. It ends
when its standard input does, so it never outlives the demo, however that died.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys

from aiosmtpd.smtp import SMTP, Envelope, Session

from .mailbox import Mailbox

#: Seconds that the server takes for each mail, as real ones do. Long enough to see a mailing move.
PAUSE = 0.2


class Catcher:
    """What aiosmtpd calls for each recipient and each mail."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take every address but one, to show what a refusal looks like."""
        if address.lower().startswith("nobody@"):
            return "550 5.1.1 There is no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep the mail, then say that it was taken."""
        await asyncio.sleep(PAUSE)
        self.mailbox.keep(envelope.rcpt_tos, envelope.original_content or b"")
        return "250 Message accepted for the inbox page"


async def serve(listening: socket.socket, mailbox: Mailbox) -> None:
    """Catch mail until standard input ends."""
    loop = asyncio.get_running_loop()
    handler = Catcher(mailbox)
    server = await loop.create_server(lambda: SMTP(handler, enable_SMTPUTF8=True), sock=listening)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    server.close()


def main() -> None:
    """``python -m examples.flasky_mail.catcher --socket FD --mailbox FILE``"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=int, required=True, help="descriptor that listens")
    parser.add_argument("--mailbox", required=True, help="the SQLite file")
    options = parser.parse_args()
    # Ctrl-C reaches the whole group; what the application still sends while it stops is caught.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve(socket.socket(fileno=options.socket), Mailbox(options.mailbox)))


if __name__ == "__main__":
    main()
