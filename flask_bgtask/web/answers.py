"""How answers are written: which kind a client wants, JSON text, headers, ETags."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any

from flask import Response, request
from werkzeug.wrappers import Response as BaseResponse

#: Nothing but our own stylesheet, script and picture; no inline code, no foreign frames.
CONTENT_SECURITY_POLICY = "; ".join((
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
))  # fmt: skip


def wants_html() -> bool:
    """Whether the client prefers a page: a browser does; without a word of it JSON is sent."""
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return best == "text/html"


def json_text(value: Any, *, readable: bool = False) -> str:
    """The value as JSON (RFC 8259), which has no word for infinity and what is no number.

    :param readable: for people: with spaces, and with all letters as they are.
    """
    separators = (", ", ": ") if readable else (",", ":")
    write = partial(json.dumps, allow_nan=False, separators=separators, ensure_ascii=not readable)
    try:
        return write(value)
    except (TypeError, ValueError, RecursionError):
        return write(_tame(value))


#: Containers within containers that are shown of a value that is no JSON as it is; more than
#: arguments and results can have (they are within the status, a few levels down).
_DEEPEST = 150


def _tame(value: Any, depth: int = 0) -> Any:
    """The same with each part that JSON cannot say replaced by its ``repr``."""
    if isinstance(value, (dict, list, tuple)) and depth > _DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {str(key): _tame(each, depth + 1) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tame(each, depth + 1) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if value is None or isinstance(value, (str, int)):
        return value
    return repr(value)


def json_response(value: Any, code: int = 200) -> Response:
    """A JSON answer."""
    return Response(json_text(value), code, content_type="application/json")


def conditional(response: Response) -> Response:
    """Give the answer a strong ETag of its content; 304 if the client has that (RFC 9110, 13)."""
    response.add_etag()
    response.make_conditional(request)
    return response


def add_headers(response: BaseResponse) -> BaseResponse:
    """What every answer of the blueprint says.

    Only ``no-store`` is set over a value that is there: a ``Response`` of the application's
    ``authorize`` may have its own policies.
    """
    headers = response.headers
    headers["Cache-Control"] = "no-store"
    headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    # Not "no-referrer": with it browsers send "Origin: null" with our own forms.
    headers.setdefault("Referrer-Policy", "same-origin")
    response.vary.update(("Accept", "Cookie"))
    return response
