"""Unsafe requests: only from our own page, or from a client that no foreign page can imitate.

Three barriers. What a browser says of the request's source (Fetch Metadata, ``Origin``); the
content type, since a foreign page can send forms and plain text but no JSON without a CORS
preflight, which is never answered here; and for forms a signed token, bound to a random cookie
of this browser and to the user.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import current_app, request
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.wrappers import Response as BaseResponse

from ..context import user_id
from .problems import Problem

FIELD = "bgtask_token"
HEADER = "X-BgTask-Token"
COOKIE = "bgtask_browser"

#: Seconds that a page's token is good for.
TOKEN_AGE = 24 * 3600

#: Bytes of a body at most.
LARGEST_BODY = 1_000_000

_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_PORTS = {"http": 80, "https": 443}
_SALT = "flask_bgtask.web.csrf"


@dataclass(frozen=True, slots=True)
class PageToken:
    """A token for the forms of one page."""

    value: str
    nonce: str
    "The browser's random text, which its cookie has or gets."
    fresh: bool
    "The browser has no such cookie yet."

    def remember(self, response: BaseResponse, path: str) -> None:
        """Give the browser its cookie, below ``path`` only.

        ``Lax``, so that a link from elsewhere to our page does not make the tokens of other open
        tabs void; the protection is the token, which no foreign page can read.
        """
        if self.fresh:
            response.set_cookie(
                COOKIE,
                self.nonce,
                path=path,
                httponly=True,
                samesite="Lax",
                secure=request.is_secure,
            )


def page_token() -> PageToken | None:
    """A token for the page that is about to be sent; ``None`` without a ``SECRET_KEY``."""
    signer = _signer()
    if signer is None:
        return None
    nonce = _nonce()
    fresh = nonce is None
    if nonce is None:
        nonce = secrets.token_urlsafe(24)
    return PageToken(str(signer.dumps([nonce, user_id()])), nonce, fresh)


def check_unsafe() -> bool:
    """Refuse a request that a foreign page may have caused; whether it is a form.

    :raises Problem: 403; 415 for a content type that is neither a form nor JSON; 411 and 413 for
        a body of unknown or too great a length.
    """
    _check_source()
    _check_size()
    kind = request.mimetype
    if kind in _FORMS:
        _check_token()
        return True
    if kind == "application/json" or (not kind and not request.content_length):
        return False
    raise Problem(415, "Send application/json, or a form with the token of its page.")


def _check_size() -> None:
    if request.content_length is None and "Transfer-Encoding" in request.headers:
        raise Problem(411, "Send the length of the body.")
    if (request.content_length or 0) > LARGEST_BODY:
        raise Problem(413, f"At most {LARGEST_BODY} bytes are read.")


def _check_source() -> None:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site != "same-origin":
        raise Problem(403, "The request comes from another site.")
    origin = request.headers.get("Origin")
    if origin is not None and _parts(origin) != _parts(f"{request.scheme}://{request.host}"):
        raise Problem(
            403,
            "The request comes from another origin. Behind a proxy the application has to know "
            "its own one: see ProxyFix of Werkzeug.",
        )


def _parts(origin: str) -> tuple[str, str | None, int | None] | None:
    """Scheme, host and port (RFC 6454, 4); ``None``, which equals nothing of ours, for others."""
    try:
        url = urlsplit(origin)
        port = url.port or _PORTS.get(url.scheme)
    except ValueError:
        return None
    if url.scheme not in _PORTS or not url.hostname or url.path or url.query or url.username:
        return None
    return url.scheme, url.hostname, port


def _check_token() -> None:
    signer = _signer()
    if signer is None:
        raise Problem(403, "Forms need SECRET_KEY to be set; send application/json instead.")
    token = request.headers.get(HEADER) or request.form.get(FIELD)
    if not token:
        raise Problem(
            403, f"A form needs the token of its page ({FIELD}); other clients send JSON."
        )
    if not _is_good(signer, token):
        raise Problem(403, "The token of the page is not valid (any more): load the page anew.")


def _is_good(signer: URLSafeTimedSerializer, token: str) -> bool:
    nonce = _nonce()
    try:
        signed = signer.loads(token, max_age=TOKEN_AGE)
    except BadData:
        return False
    if nonce is None or not isinstance(signed, list) or len(signed) != 2:
        return False
    same_browser = hmac.compare_digest(str(signed[0]).encode(), nonce.encode())
    return same_browser and signed[1] == user_id()


def _nonce() -> str | None:
    """What the browser's cookie says, if it can be one of ours."""
    nonce = request.cookies.get(COOKIE, "")
    return nonce if len(nonce) == 32 and nonce.isascii() else None


def _signer() -> URLSafeTimedSerializer | None:
    key = current_app.secret_key
    if not key:
        return None
    fallbacks = current_app.config.get("SECRET_KEY_FALLBACKS") or []
    return URLSafeTimedSerializer([*fallbacks, key], salt=_SALT)
