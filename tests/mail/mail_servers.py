"""SMTP servers for the tests: a scripted one on a bare socket and a real one (aiosmtpd)."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP

#: Seconds after which a test that waits for a server gives up.
PATIENCE = 20


class Drop:
    """The server closes the connection."""


class Hang:
    """The server says nothing more, until the client hangs up."""


@dataclass
class Dribble:
    """The server sends this byte again and again, a little faster than the client's timeout."""

    byte: bytes
    every: float = 0.1


@dataclass
class Until:
    """The server waits for the event before it goes on."""

    event: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)


@dataclass
class Flood:
    """The server sends this again and again, as fast as it is read."""

    data: bytes


@dataclass
class Mail:
    """A mail that a scripted server took."""

    sender: str
    recipients: list[str]
    body: bytes


@dataclass
class Scripted:
    """An SMTP server that answers each step as told, and sanely where it was told nothing.

    ``script[step]`` is a list of actions, used up one by one over all connections: a reply (text),
    raw bytes, :class:`Drop`, :class:`Hang`, :class:`Dribble`, :class:`Flood`, :class:`Until`, or
    several in a tuple. Steps are ``greeting``, ``body`` and the verbs in lower case.
    """

    script: dict[str, list[Any]] = field(default_factory=dict)
    extensions: list[str] = field(default_factory=lambda: ["8BITMIME", "SIZE 10000000"])
    commands: list[list[str]] = field(default_factory=list)
    "What was sent over each connection, line by line."
    mails: list[Mail] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # guards the script, the sockets and the threads
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()

    @property
    def all_commands(self) -> list[str]:
        """What was sent over all connections."""
        return [line for connection in self.commands for line in connection]

    def hang_up(self) -> None:
        """Close every connection from the server's side."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Close everything and wait for the threads."""
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            commands: list[str] = []
            with self._lock:
                self.commands.append(commands)
                self._sockets.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection, commands))
                self._threads.append(thread)
            thread.start()

    def _next(self, step: str, default: Any) -> Any:
        with self._lock:
            actions = self.script.get(step)
            return actions.pop(0) if actions else default

    def _serve(self, connection: socket.socket, commands: list[str]) -> None:
        with connection, connection.makefile("rb") as lines, suppress(OSError, _Closed):
            self._act(connection, self._next("greeting", "220 ready"))
            sender, recipients = "", []
            for raw in lines:
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                commands.append(line)
                verb = line.split(" ")[0].split(":")[0].lower()
                reply = self._act(connection, self._next(verb, self._default(verb)))
                if verb == "mail":
                    sender, recipients = _between(line), []
                elif verb == "rcpt" and reply.startswith("2"):
                    recipients.append(_between(line))
                elif verb == "data" and reply.startswith("3"):
                    body = _read_body(lines)
                    action = self._next("body", "250 queued as 1")
                    if isinstance(action, str) and action.startswith("2"):
                        self.mails.append(Mail(sender, recipients, body))
                    self._act(connection, action)
                elif verb == "quit":
                    return

    def _default(self, verb: str) -> str:
        if verb == "ehlo":
            words = ["server", *self.extensions]
            return "\r\n".join(
                f"250{' ' if i == len(words) else '-'}{word}" for i, word in enumerate(words, 1)
            )
        replies = {"data": "354 go", "quit": "221 bye", "auth": "235 in"}
        return replies.get(verb, "250 fine")

    def _act(self, connection: socket.socket, action: Any) -> str:
        if isinstance(action, tuple):
            return "".join([self._act(connection, each) for each in action])
        if action is Drop:
            raise _Closed
        if action is Hang:
            self._until_closed(connection)
        if isinstance(action, Dribble):
            self._until_closed(connection, action)
        if isinstance(action, Until):
            action.reached.set()
            assert action.event.wait(PATIENCE)
            return ""
        while isinstance(action, Flood):
            connection.sendall(action.data)
        raw = action if isinstance(action, bytes) else f"{action}\r\n".encode()
        connection.sendall(raw)
        return raw.decode("latin-1")

    def _until_closed(self, connection: socket.socket, dribble: Dribble | None = None) -> None:
        connection.settimeout(dribble.every if dribble else PATIENCE)
        while True:
            try:
                if not connection.recv(65536):
                    raise _Closed
            except TimeoutError:
                if dribble is None:
                    raise
                connection.sendall(dribble.byte)


class _Closed(Exception):
    pass


def _between(line: str) -> str:
    return line[line.index("<") + 1 : line.rindex(">")]


def _read_body(lines: Any) -> bytes:
    body = []
    for line in lines:
        if line == b".\r\n":
            return b"".join(body)
        body.append(line[1:] if line.startswith(b".") else line)
    raise _Closed


class Inbox:
    """aiosmtpd's handler: keeps what it is given."""

    def __init__(self) -> None:
        self.envelopes: list[Any] = []
        self.sessions: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Take every mail."""
        self.envelopes.append(envelope)
        if session not in self.sessions:
            self.sessions.append(session)
        return "250 taken"


@contextmanager
def real_server(
    make: Callable[[Inbox], SMTP], tls: ssl.SSLContext | None = None
) -> Iterator[tuple[Inbox, int]]:
    """Run aiosmtpd in a thread of its own; gives the inbox and the port.

    :param tls: for TLS from the first byte on.
    """
    inbox = Inbox()
    transports: list[Any] = []

    def protocol() -> SMTP:
        smtp = make(inbox)
        begin = smtp.connection_made

        def begun(transport: Any) -> None:
            transports.append(transport)
            begin(transport)

        smtp.connection_made = begun  # type: ignore[method-assign]
        return smtp

    listener = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # broken handshakes are meant to be
    server = loop.run_until_complete(loop.create_server(protocol, sock=listener, ssl=tls))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield inbox, listener.getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server, transports), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        assert not thread.is_alive()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _stop(server: asyncio.Server, transports: list[Any]) -> None:
    """Close everything; aiosmtpd itself forgets connections whose encryption failed."""
    server.close()
    for transport in transports:
        transport.abort()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)  # lets the transports close
