"""Addresses, as they stand in an envelope."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import getaddresses
from typing import Any

from flask_mail import BadHeaderError

from ..errors import ArgumentError

#: Everything that some part of the mail's way may take for the end of a line: ``str.splitlines``,
#: which the standard library's generator uses on headers, knows more of them than SMTP does.
BREAK = re.compile("[\0\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")
_FOLD = re.compile(r"\r?\n[ \t]+(?=\S)")

_ATOM = r'[^\s"(),:;<>@\[\]\\\x00-\x1f\x7f]+'
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])+"'
_LITERAL = r"\[[^\s\[\]\\<>\x00-\x1f\x7f]+\]"
_ASCII_DOMAIN = re.compile(r"[A-Za-z0-9._-]+")
_ADDRESS = re.compile(rf"(?P<local>{_QUOTED}|{_ATOM})(?:@(?P<domain>{_LITERAL}|{_ATOM}))?")


# What most headers hold. The library needs twenty times as long to find the same in it.
_WORD = r"[A-Za-z0-9_+=~-]+"
_PLAIN = rf"{_WORD}(?:\.{_WORD})*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
_PLAIN_LIST = re.compile(rf"{_PLAIN}(?:, ?{_PLAIN})*")
_PLAIN_NAMED = re.compile(rf"([A-Za-z0-9]+(?: [A-Za-z0-9]+)*) <({_PLAIN})>")


def addresses_in(header: Any) -> list[tuple[str, str]]:
    """Name and address of each mailbox in a header; see :func:`email.utils.getaddresses`."""
    text = str(header)
    if _PLAIN_LIST.fullmatch(text):
        return [("", address.strip()) for address in text.split(",")]
    named = _PLAIN_NAMED.fullmatch(text)
    return [(named[1], named[2])] if named else getaddresses([text])


def is_plain(header: str) -> bool:
    """Whether a header of addresses can be written in one way only."""
    return bool(_PLAIN_LIST.fullmatch(header) or _PLAIN_NAMED.fullmatch(header))


def has_break(text: str) -> bool:
    """Whether something may take a part of the text for the beginning of another line."""
    return BREAK.search(text) is not None


def refuse_breaks(value: Any, path: str, *, folded: bool = False) -> None:
    """Let nothing into a header or a command that could begin another one.

    :param folded: whether a line may go on in the next one, behind white space (RFC 5322, 2.2.3).
    :raises flask_mail.BadHeaderError: there is a line break in the value.
    """
    text = str(value)
    if has_break(text) and not (folded and not has_break(_FOLD.sub(" ", text))):
        raise BadHeaderError(f"{path} holds a line break")


def bare_address(value: Any, path: str) -> str:
    """The address alone, of ``"a@b"``, ``"Name <a@b>"`` or ``("Name", "a@b")``.

    An internationalised domain is given in its ASCII form (RFC 5891), which every server takes.

    :raises ArgumentError: it is no single address.
    :raises flask_mail.BadHeaderError: there is a line break in it.
    """
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ArgumentError(path, f"is {value!r}: an address or (name, address) is expected")
        refuse_breaks(value[0], path)
        value = value[1]
        refuse_breaks(value, path)
        return _checked(str(value).strip(), value, path)
    refuse_breaks(value, path)
    text = str(value).strip()
    if "<" not in text and "(" not in text:
        return _checked(text, value, path)  # the library would take the first of two words
    found = getaddresses([text])
    if len(found) != 1:
        raise ArgumentError(
            path, f"is {text!r}: one address is expected; quote a name that has a comma in it"
        )
    return _checked(found[0][1], value, path)


def _checked(address: str, value: Any, path: str) -> str:
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise ArgumentError(path, f"is {str(value)!r}: that is no mail address")
    return _with_ascii_domain(parts["local"], parts["domain"], path)


def _with_ascii_domain(local: str, domain: str | None, path: str) -> str:
    if domain is None:
        return local
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise ArgumentError(path, f"has the domain {domain!r}: {error}") from None
        # Some characters become others on the way: a wide "＞" would end the address.
        if not _ASCII_DOMAIN.fullmatch(domain):
            raise ArgumentError(path, f"has the domain {domain!r}: that is no domain")
    return f"{local}@{domain}"


def without_doubles(addresses: Iterable[str]) -> list[str]:
    """Each mailbox once, in order; the case of a domain makes no difference."""
    seen: dict[str, str] = {}
    for address in addresses:
        local, at, domain = address.rpartition("@")
        seen.setdefault(local + at + domain.lower(), address)
    return list(seen.values())


def needs_utf8(address: str) -> bool:
    """Whether only a server with SMTPUTF8 (RFC 6531) can take the address."""
    return not address.isascii()
