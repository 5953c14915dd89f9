"""A frozen mail as one particular server can take it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from . import mime
from .addresses import needs_utf8
from .connection import Connection
from .failures import MailRefused, Stage

#: What a server without SMTPUTF8 (RFC 6531, 3.5) would say to an address that needs it.
NO_UTF8 = (553, "5.6.7 the address is not ASCII and the server does not offer SMTPUTF8")


class Outgoing:
    """Begins a frozen mail on a connection, in the form that its server understands."""

    def __init__(self, frozen: dict[str, Any]) -> None:
        self.body = b""
        "What to send on the connection that :meth:`begin` was called with last."
        self.recipient_options: list[str] = frozen["rcpt_options"]
        self._frozen = frozen
        self._raw = mime.unpack(frozen["mime"])

    def begin(self, connection: Connection) -> None:
        """Name the sender, and what is particular about the mail.

        :raises MailRefused: the server cannot take such a mail.
        """
        sender = self._frozen["sender"]
        utf8 = connection.offers("smtputf8")
        if needs_utf8(sender) and not utf8:
            raise MailRefused(Stage.MAIL, *NO_UTF8)
        self.body = self._body(connection, utf8)
        limit = connection.size_limit
        if limit is not None and len(self.body) > limit:
            raise MailRefused(
                Stage.SIZE,
                552,
                f"5.3.4 the mail has {len(self.body):,} bytes; the server takes at most {limit:,}",
            )
        connection.begin(sender, self._options(connection, utf8))

    def _body(self, connection: Connection, utf8: bool) -> bytes:
        raw = self._raw
        if self._frozen["utf8"] and not utf8:
            raw = mime.ascii_headers(raw)
        return raw if connection.offers("8bitmime") else mime.seven_bit(raw)

    def _options(self, connection: Connection, utf8: bool) -> Collection[str]:
        """Parameters of ``MAIL FROM``: the message's own, and those that its bytes call for."""
        options = {o.partition("=")[0].upper(): o for o in self._frozen["mail_options"]}
        options.pop("BODY", None)
        wanted = options.pop("SMTPUTF8", None) is not None
        if connection.offers("size"):
            options.setdefault("SIZE", f"SIZE={len(self.body)}")
        if connection.offers("8bitmime") and not self.body.isascii():
            options["BODY"] = "BODY=8BITMIME"
        if utf8 and (wanted or self._frozen["utf8"] or self._addresses_need_utf8()):
            options["SMTPUTF8"] = "SMTPUTF8"
        return list(options.values())

    def _addresses_need_utf8(self) -> bool:
        return any(map(needs_utf8, (self._frozen["sender"], *self._frozen["recipients"])))
