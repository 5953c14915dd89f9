"""Signatures over the calls of bare functions, so that a stored row can name no other."""

from __future__ import annotations

from flask import Flask
from itsdangerous import BadSignature, Signer

from ..errors import ArgumentError
from ..job import Record


def _signer(app: Flask) -> Signer:
    fallbacks = app.config.get("SECRET_KEY_FALLBACKS") or []
    # itsdangerous signs with the last key and accepts all of them.
    return Signer([*reversed(fallbacks), app.secret_key or ""], salt="flask-bgtask.call")


def _signed(record: Record) -> bytes:
    parts = (record.app, record.id, record.task, record.arguments or "", record.carried or "")
    return "\0".join(parts).encode("utf-8", "surrogatepass")


def sign(app: Flask, record: Record) -> str:
    """The signature of a job's function and arguments.

    :raises ArgumentError: the app has no ``SECRET_KEY``.
    """
    if not app.secret_key:
        raise ArgumentError(
            f"fn ({record.task})",
            "is a bare function: to be stored its name has to be signed with SECRET_KEY, which is "
            "not set; set it, or make the function a task with @bg.task",
        )
    return _signer(app).get_signature(_signed(record)).decode("ascii")


def verify(app: Flask, record: Record) -> None:
    """Check that :func:`submit` wrote this row.

    :raises BadSignature: it did not, or with a key that is no longer known.
    """
    good = bool(app.secret_key and record.signature) and _signer(app).verify_signature(
        _signed(record), (record.signature or "").encode("utf-8", "replace")
    )
    if not good:
        raise BadSignature(
            f"the row names {record.task!r}, which is no task of this application, and does not "
            "carry a signature made with its SECRET_KEY; it was not executed"
        )
