"""Server-sent events (HTML Living Standard, 9.2): few, short, and never in the way of requests."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from ..runtime import Runtime
from ..signals import (
    job_cancelled,
    job_failed,
    job_lost,
    job_progressed,
    job_retrying,
    job_started,
    job_submitted,
    job_succeeded,
)
from .problems import unavailable
from .servers import Server, server_of

#: Seconds that a stream lasts at most; a browser comes back by itself.
LONGEST = 30.0

#: Seconds between two looks at the store, unless a signal of this process says that it is time,
#: and the least seconds between two looks then.
LOOK_EVERY = 0.25
LOOK_AGAIN = 0.05

#: Seconds of silence after which a comment is sent, so that a client that left is noticed.
HEARTBEAT = 2.0

#: Seconds that a place is counted as taken at most, if its stream was never closed.
FORGOTTEN = 2 * LONGEST

_SIGNALS = (
    job_submitted,
    job_started,
    job_progressed,
    job_retrying,
    job_succeeded,
    job_failed,
    job_cancelled,
    job_lost,
)


@dataclass(frozen=True, slots=True)
class Event:
    """One message to the client."""

    data: str
    "Text without line breaks."
    id: str | None = None
    "The client gives the last one as ``Last-Event-ID`` when it comes back."

    def encoded(self) -> str:
        """As it is sent."""
        number = "" if self.id is None else f"id: {self.id}\n"
        return f"{number}data: {self.data}\n\n"


class Source(Protocol):
    """Where the events of a stream come from; it keeps no context and no connection."""

    finished: bool
    "There will be no more."

    def news(self, woken: bool) -> list[Event]:
        """What happened since the last call.

        :param woken: a signal of this process said that something did.
        """


class StreamPlaces:
    """Counts the streams of this process, of all of its apps."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as in a forked child."""
        # Guards what is taken: place -> when it falls free whatever happens.
        self._lock = threading.Lock()
        self._taken: dict[object, float] = {}

    def take(self, most: int) -> object | None:
        """A place, unless ``most`` are taken."""
        now = time.monotonic()
        with self._lock:
            self._taken = {place: end for place, end in self._taken.items() if end > now}
            if len(self._taken) >= most:
                return None
            place = object()
            self._taken[place] = now + FORGOTTEN
            return place

    def give_back(self, place: object) -> None:
        """The stream has ended; may be called more than once."""
        with self._lock:
            self._taken.pop(place, None)


places = StreamPlaces()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=places.reset)


def most_streams(runtime: Runtime, server: Server) -> int:
    """How many streams this process may have: one of the server's threads is always left."""
    most = runtime.settings.streams
    return most if server.threads is None else min(most, server.threads - 1)


def has_streams(runtime: Runtime) -> bool:
    """Whether there are event streams at all under the present request's server."""
    return runtime.settings.streams > 0 and most_streams(runtime, server_of(request.environ)) > 0


def stream_response(runtime: Runtime, source: Source) -> Response:
    """The answer that sends a source's events.

    :raises Problem: 503; the client falls back to asking now and then.
    """
    if request.method == "HEAD":
        return _response(())
    server = server_of(request.environ)
    place = places.take(most_streams(runtime, server))
    if place is None:
        raise unavailable("As many event streams as there may be are open; ask now and then.")
    stream = Stream(runtime.app, source, place, server.stopping)
    response = _response(stream)
    response.call_on_close(stream.close)
    return response


def _response(stream: Iterable[str]) -> Response:
    response = Response(stream, content_type="text/event-stream")
    # nginx would keep events back until its buffer is full.
    response.headers["X-Accel-Buffering"] = "no"
    return response


class Stream:
    """The body of one answer; ends by itself, or when the server closes it."""

    def __init__(
        self, app: Flask, source: Source, place: object, stopping: Callable[[], bool]
    ) -> None:
        self._app = app
        self._source = source
        self._place = place
        self._stopping = stopping
        self._woken = threading.Event()
        self._closed = False
        self._end = time.monotonic() + LONGEST
        # blinker holds a bound method weakly: the connection ends with this object at the latest.
        for signal in _SIGNALS:
            signal.connect(self._wake, app)

    def __iter__(self) -> Iterator[str]:
        try:
            yield from self._messages()
        finally:
            self.close()

    def close(self) -> None:
        """Give the place back; may be called more than once, and without an iteration."""
        self._closed = True
        self._woken.set()
        for signal in _SIGNALS:
            signal.disconnect(self._wake)  # naming the sender would leave the receiver behind
        places.give_back(self._place)

    def _messages(self) -> Iterator[str]:
        # A comment first, so that the client's connection is known to be open.
        yield ": the jobs of this application\nretry: 2000\n\n"
        spoke = time.monotonic()
        woken = True
        while not self._is_over():
            for event in self._news(woken):
                yield event.encoded()
                spoke = time.monotonic()
            if self._source.finished:
                return
            if time.monotonic() - spoke >= HEARTBEAT:
                yield ": \n\n"
                spoke = time.monotonic()
            woken = self._rest()

    def _news(self, woken: bool) -> list[Event]:
        try:
            return self._source.news(woken)
        except HTTPException:
            self._closed = True  # the client may not go on: it hears why when it comes back
        except Exception:
            self._closed = True
            self._app.logger.exception("an event stream failed; its client will come back")
        return []

    def _rest(self) -> bool:
        """Wait a little; whether a signal ended the wait."""
        time.sleep(LOOK_AGAIN)
        woken = self._woken.wait(LOOK_EVERY - LOOK_AGAIN)
        self._woken.clear()
        return woken

    def _is_over(self) -> bool:
        return self._closed or self._stopping() or time.monotonic() >= self._end

    def _wake(self, _: Flask, **__: Any) -> None:
        self._woken.set()
