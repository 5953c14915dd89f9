"""What clients may ask for, checked: a wrong value is a 400, never an error further down."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import request
from werkzeug.datastructures import MultiDict

from ..job import JobState
from ..store import Filter
from .problems import Problem

#: Jobs on a page unless the client says how many, and at most.
PAGE = 50
LARGEST_PAGE = 500

#: Longest text of a filter, in characters; longer than any name can be.
LONGEST_TEXT = 1_000

#: Jobs of one bulk request, at most.
LARGEST_BULK = 10_000

#: Parameters of a listing, as clients name them.
FILTERS = ("state", "task", "queue", "owner", "q")

_WHOLE = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of jobs that a client asks for."""

    filters: dict[str, str]
    "What was given, by the client's names."
    wanted: Filter
    limit: int
    after: str | None


def read_listing(given: MultiDict[str, str]) -> Listing:
    """The page that a query string asks for.

    :raises Problem: 400.
    """
    single = {}
    for name in (*FILTERS, "limit", "after"):
        values = given.getlist(name)
        if len(values) > 1:
            raise Problem(400, f"{name} is given {len(values)} times.")
        # A form sends its empty fields too.
        if values and values[0]:
            single[name] = values[0]
    filters = {name: single[name] for name in FILTERS if name in single}
    after = single.get("after")
    if after is not None and not _WHOLE.fullmatch(after):
        raise Problem(400, "after is not what an earlier page gave as the next one.")
    return Listing(filters, read_filter(filters), _limit(single.get("limit")), after)


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= LARGEST_PAGE:
        raise Problem(400, f"limit has to be a whole number from 1 to {LARGEST_PAGE}.")
    return int(text)


def read_filter(given: Mapping[str, object]) -> Filter:
    """Which jobs are meant.

    :raises Problem: 400.
    """
    for name, value in given.items():
        if name not in FILTERS:
            raise Problem(400, f"There is no filter {name[:50]!r}, only {', '.join(FILTERS)}.")
        if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_TEXT or not _is_text(value):
            raise Problem(400, f"{name} has to be a text of 1 to {LONGEST_TEXT} characters.")
    return Filter(
        state=_state(given.get("state")),
        **{_COLUMNS[name]: value for name, value in given.items() if name != "state"},  # type: ignore[arg-type]
    )


def _is_text(value: str) -> bool:
    """Whether a store can look for it: JSON may hold half of a character."""
    return "\0" not in value and value == value.encode("utf-8", "replace").decode()


_COLUMNS = {"task": "task", "queue": "queue", "owner": "owner", "q": "text"}


def _state(text: object) -> JobState | None:
    if text is None:
        return None
    try:
        return JobState(str(text))
    except ValueError:
        raise Problem(400, f"state has to be one of {', '.join(JobState)}.") from None


@dataclass(frozen=True, slots=True)
class Bulk:
    """One action on many jobs: those of some ids, or ``expect`` ones that pass a filter."""

    action: str
    ids: list[str] | None
    wanted: Filter
    expect: int


BULK_ACTIONS = ("cancel", "retry", "delete")


def read_bulk(form: bool) -> Bulk:
    """What the body of a bulk request asks for.

    :raises Problem: 400.
    """
    if form:
        given: Any = {"action": request.form.get("action"), "ids": request.form.getlist("ids")}
    else:
        given = _json_body()
    if not isinstance(given, dict) or not given.keys() <= {"action", "ids", "filter", "expect"}:
        raise Problem(400, "An object with action, and ids or filter and expect, is expected.")
    action = given.get("action")
    if not isinstance(action, str) or action not in BULK_ACTIONS:
        raise Problem(400, f"action has to be one of {', '.join(BULK_ACTIONS)}.")
    if ("ids" in given) == ("filter" in given):
        raise Problem(400, "Either ids or filter is expected.")
    if "ids" in given:
        return Bulk(action, _ids(given), Filter(), 0)
    return Bulk(action, None, _bulk_filter(given["filter"]), _expect(given.get("expect")))


def _ids(given: dict[str, Any]) -> list[str]:
    ids = given["ids"]
    if "expect" in given or not isinstance(ids, list) or len(ids) > LARGEST_BULK:
        raise Problem(400, f"ids has to be a list of at most {LARGEST_BULK} ids, without expect.")
    if not all(isinstance(each, str) and len(each) <= LONGEST_TEXT for each in ids):
        raise Problem(400, "ids has to be a list of texts.")
    return list(dict.fromkeys(ids))


def _bulk_filter(given: object) -> Filter:
    if not isinstance(given, dict):
        raise Problem(400, f"filter has to be an object with some of {', '.join(FILTERS)}.")
    return read_filter(given)


def _expect(given: object) -> int:
    if type(given) is not int or not 0 <= given <= LARGEST_BULK:
        raise Problem(
            400,
            "A filter needs expect: the number of jobs that you expect it to find, "
            f"at most {LARGEST_BULK}.",
        )
    return given


def _json_body() -> Any:
    try:
        return json.loads(request.get_data())
    except (ValueError, RecursionError):
        raise Problem(400, "The body is no JSON.") from None
