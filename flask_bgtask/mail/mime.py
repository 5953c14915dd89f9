"""The bytes of a message, made fit for SMTP."""

from __future__ import annotations

import base64
import binascii
import email.policy
import io
import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.generator import BytesGenerator
from email.header import decode_header, make_header
from email.message import Message as MimePart
from email.parser import BytesParser, HeaderParser

from .addresses import BREAK

#: Longest line without its CRLF, in bytes (RFC 5321, 4.5.3.1.6).
LONGEST_LINE = 998

# Takes apart and puts together without folding headers anew; keeps 8-bit bytes.
_AS_IS = email.policy.compat32.clone(linesep="\r\n", max_line_length=None)


def fit(raw: bytes) -> bytes:
    """The same message with CRLF at every line's end, no line over 998 bytes and no NUL.

    Flask-Mail writes bodies as they are, so a page of HTML without line breaks would be one line
    that servers break in two somewhere, or refuse.
    """
    raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    if _unfit(raw):
        raw = _recoded(raw, eight_bit=False)
    return raw


def seven_bit(raw: bytes) -> bytes:
    """The same message in ASCII alone, for a server without 8BITMIME (RFC 6152).

    Flask-Mail switches the standard library to 8-bit bodies for UTF-8, in the whole process.
    """
    return raw if raw.isascii() else _recoded(raw, eight_bit=True)


def ascii_headers(raw: bytes) -> bytes:
    """The same message with encoded words (RFC 2047) in place of UTF-8 in its headers."""
    head, _, body = raw.partition(b"\r\n\r\n")
    parser = HeaderParser(policy=email.policy.SMTP)
    text = _ENCODED_WORD.sub(_without_breaks, head.decode("utf-8", "replace"))
    headers = parser.parsestr(text, headersonly=True)
    return headers.as_bytes(policy=email.policy.SMTP.clone(refold_source="all")) + body


#: RFC 2047, 2.
_ENCODED_WORD = re.compile(r"=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=")


def _without_breaks(word: re.Match[str]) -> str:
    """Leave out an encoded word that holds a line break.

    To write a header anew the library decodes it, and would write that line break as one.
    """
    try:
        text = str(make_header(decode_header(word[0])))
    except (LookupError, ValueError, HeaderParseError):
        return ""  # nor could anybody else read it
    return "" if BREAK.search(text) else word[0]


def pack(raw: bytes) -> str | bytes:
    """As text where that is possible, which is shorter in a stored row than bytes are."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def unpack(packed: str | bytes) -> bytes:
    """What :func:`pack` was given."""
    return packed.encode("utf-8") if isinstance(packed, str) else packed


def _unfit(data: bytes) -> bool:
    return b"\0" in data or max(map(len, data.split(b"\r\n"))) > LONGEST_LINE


def _recoded(raw: bytes, *, eight_bit: bool) -> bytes:
    """Encode the parts that cannot travel as they are; signed parts are left alone."""
    message: MimePart = BytesParser(policy=_AS_IS).parsebytes(raw)
    for part in _parts(message):
        if part.is_multipart():
            if eight_bit and part.get("Content-Transfer-Encoding", "").lower() in _NOT_SEVEN:
                part.replace_header("Content-Transfer-Encoding", "7bit")
        else:
            _recode(part, eight_bit=eight_bit)
    buffer = io.BytesIO()
    BytesGenerator(buffer, mangle_from_=False, policy=_AS_IS).flatten(message)
    return buffer.getvalue()


#: Content-Transfer-Encodings (RFC 2045, 6) that encode nothing, and those of them beyond ASCII.
_AS_WRITTEN = ("7bit", "8bit", "binary")
_NOT_SEVEN = ("8bit", "binary")


def _parts(part: MimePart) -> Iterator[MimePart]:
    if part.get_content_type() == "multipart/signed":
        return  # a signature holds for these very bytes; RFC 1847 wants them in ASCII anyway
    yield part
    if part.is_multipart():
        for inner in part.get_payload():
            yield from _parts(inner)  # type: ignore[arg-type]


def _recode(part: MimePart, *, eight_bit: bool) -> None:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    written = content
    if part.get("Content-Transfer-Encoding", "7bit").lower() not in _AS_WRITTEN:
        written = str(part.get_payload()).encode("utf-8", "surrogateescape")
    if not _unfit(written) and not (eight_bit and not written.isascii()):
        return
    quoted = binascii.b2a_qp(content)
    packed = base64.encodebytes(content).replace(b"\n", b"\r\n")
    name, coded = min(
        ("quoted-printable", quoted), ("base64", packed), key=lambda each: len(each[1])
    )
    del part["Content-Transfer-Encoding"]
    part["Content-Transfer-Encoding"] = name
    part.set_payload(coded.decode("ascii"))
