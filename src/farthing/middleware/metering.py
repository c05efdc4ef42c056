"""What an API holds: takes note of exchanges, and has two threads that write them down and send them."""

import atexit
import logging
import os
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from farthing.middleware import asgi, wsgi
from farthing.middleware.buffer import Buffer, Claim
from farthing.middleware.event_lines import DROPPED_TYPE, Ids, Noted, line_of, noted
from farthing.middleware.exchange import Exchange, Subject
from farthing.middleware.server import Outcome, Server

QUEUE_EVENTS_MAX = 20_000
"""Noted and not yet on disk."""
BUFFER_BYTES_MAX = 256 * 1024 * 1024
SEND_SECONDS = 1.0
SYNC_SECONDS = 0.2
RETRY_SECONDS_MAX = 30.0
EXIT_SECONDS_MAX = 2.0
SAID_AGAIN_SECONDS = 10.0
"""The same complaint is logged at most this often."""
_WRITTEN_AT_ONCE = 1000
_FIRST_RETRY_SECONDS = 0.25

_log = logging.getLogger("farthing.middleware")


@dataclass(frozen=True, slots=True)
class Standing:
    """How it goes, since this process began. noted = written + dropped + still in memory.

    dropped: lost, by reason: `queue_full`, `buffer_full`, `disk`, `not_json`, `cut_short`. sent: taken by the
    server, by whichever process noted them. refused: kept in the buffer's `refused.ndjson`.
    """

    noted: int
    written: int
    sent: int
    refused: int
    dropped: dict[str, int]
    last_error: str


class Metering:
    """Meters an application. Every process of an API has one of its own, on the same buffer directory.

    subject says whose request it was, counts which requests are metered at all. Raises ValueError for an address that
    is none; nothing raises after that.
    """

    def __init__(
        self,
        url: str,
        key: str,
        buffer: str | os.PathLike[str],
        *,
        subject: Subject | None = None,
        counts: Callable[[Exchange], bool] | None = None,
        source: str = "middleware",
        buffer_bytes_max: int = BUFFER_BYTES_MAX,
        queue_events_max: int = QUEUE_EVENTS_MAX,
        send_seconds: float = SEND_SECONDS,
        retry_seconds_max: float = RETRY_SECONDS_MAX,
    ) -> None:
        self._server = Server(url, key)
        self._subject = subject
        self._counts = counts
        self._source = source
        self._queue_events_max = queue_events_max
        self._send_seconds = send_seconds
        self._retry_seconds_max = retry_seconds_max
        self._buffer = Buffer(Path(buffer), buffer_bytes_max)
        self._begin()
        self._start()
        here = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _forked(here))
        atexit.register(lambda: _closed(here))

    def asgi(self, app: asgi.Application) -> asgi.MeteredAsgi:
        """An ASGI application, metered."""
        return asgi.MeteredAsgi(app, self)

    def wsgi(self, app: wsgi.Application) -> wsgi.MeteredWsgi:
        """A WSGI application, metered."""
        return wsgi.MeteredWsgi(app, self)

    # ---- In the request's way: memory only

    def note(self, exchange: Exchange, duration_ns: int) -> None:
        """An exchange is over. Never waits and never raises."""
        try:
            if not self._threads:
                self._start()
            if self._counts is not None and not self._counts(exchange):
                return
            with self._counting:
                self._noted += 1
            if self._queue.qsize() >= self._queue_events_max:
                self._drop("queue_full", 1)
                return
            event_id = self._ids.next()
            self._queue.put(noted(event_id, exchange, duration_ns, self._subject_of(exchange)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the app has nothing to do with it
            self._complain("a request could not be noted", error)

    def _subject_of(self, exchange: Exchange) -> str | None:
        if self._subject is None:
            return None
        try:
            found = self._subject(exchange)
        except Exception as error:  # noqa: BLE001 - the app's own function; the event is told without a subject
            self._complain("the subject of a request could not be told", error)
            return None
        return None if found is None else str(found)

    # ---- Processes and threads

    def _begin(self) -> None:
        self._queue: SimpleQueue[Noted] = SimpleQueue()
        self._ids = Ids()
        self._starting = threading.Lock()
        self._counting = threading.Lock()
        self._threads: tuple[threading.Thread, ...] = ()
        self._stop = threading.Event()
        self._to_send = threading.Event()
        self._flushed = threading.Event()
        self._noted = self._written = self._sent = self._refused = 0
        self._dropped: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._last_error = ""
        self._complaints: dict[str, str] = {}
        self._said_at: dict[str, float] = {}

    def _start(self) -> None:
        with self._starting:
            if self._threads or self._stop.is_set():
                return
            self._threads = (
                threading.Thread(target=self._write_all, name="farthing-writer", daemon=True),
                threading.Thread(target=self._send_all, name="farthing-sender", daemon=True),
            )
            for thread in self._threads:
                thread.start()

    def forked(self) -> None:
        """In a child: what was noted before is the parent's to write and to send, and so is its connection."""
        self._begin()
        self._buffer.forget()
        self._server.close()

    def close(self, seconds: float = EXIT_SECONDS_MAX) -> None:
        """Write down what is in memory, and try to send it for so long. What is left waits for the next process."""
        until = time.monotonic() + seconds
        self._stop.set()
        self._to_send.set()
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))

    @property
    def standing(self) -> Standing:
        """How it goes."""
        return Standing(
            self._noted, self._written, self._sent, self._refused, dict(self._dropped), self._last_error
        )

    # ---- The writer

    def _write_all(self) -> None:
        pause = min(SYNC_SECONDS, self._send_seconds)
        while True:
            stopping = self._stop.is_set()
            try:
                self._write_some(pause=0.0 if stopping else pause)
                if stopping or self._buffer.age_seconds() >= self._send_seconds:
                    self._let_go()
                if stopping and self._queue.empty():
                    # Where the last file was too full to say what was dropped, one of its own is not.
                    self._tell_drops()
                    self._buffer.sync()
                    self._let_go()
            except Exception as error:  # noqa: BLE001 - the thread must go on
                self._complain("events could not be written down", error)
            self._say_complaints()
            if stopping and self._queue.empty():
                break
        self._flushed.set()
        self._to_send.set()

    def _write_some(self, pause: float) -> None:
        events = self._taken_from_queue(pause)
        lines = [line for event in events if (line := self._line(event)) is not None]
        if not lines:
            self._tell_drops()
            self._buffer.sync()
            return
        appended = self._buffer.append(lines)
        self._written += appended.taken
        if lost := len(lines) - appended.taken:
            self._drop("buffer_full" if appended.error is None else "disk", lost)
        if appended.error is not None:
            self._complain("the disk does not take events", appended.error)
        else:
            self._tell_drops()
        self._buffer.sync(not_within_seconds=SYNC_SECONDS)

    def _taken_from_queue(self, pause: float) -> list[Noted]:
        events = []
        try:
            events.append(self._queue.get(timeout=pause) if pause else self._queue.get_nowait())
            while len(events) < _WRITTEN_AT_ONCE:
                events.append(self._queue.get_nowait())
        except Empty:
            pass
        return events

    def _line(self, event: Noted) -> bytes | None:
        try:
            return line_of(self._source, event)
        except (TypeError, ValueError, RecursionError) as error:
            self._drop("not_json", 1)
            self._complain("an event cannot be written as JSON", error)
            return None

    def _tell_drops(self) -> None:
        """Say in an event what was dropped, once there is room for one, so that the server knows as well."""
        with self._counting:
            untold = Counter(self._untold)
        if not untold:
            return
        data = {"events": untold.total(), **untold}
        told = Noted(self._ids.next(), DROPPED_TYPE, None, time.time_ns(), data)
        if self._buffer.append([line_of(self._source, told)]).taken:
            with self._counting:
                self._untold -= untold
                self._noted += 1
                self._written += 1

    def _let_go(self) -> None:
        if self._buffer.let_go():
            self._to_send.set()

    # ---- The sender

    def _send_all(self) -> None:
        failures, wait = 0, 0.0
        while True:
            last = self._flushed.is_set()
            try:
                again = self._send_what_there_is()
            except Exception as error:  # noqa: BLE001 - the thread must go on
                again = Outcome(try_again=f"{type(error).__name__}: {error}")
            if again is None:
                failures, wait = 0, self._send_seconds
            else:
                self._complain("events wait in the buffer", again.try_again)
                most = min(self._retry_seconds_max, _FIRST_RETRY_SECONDS * 2**failures)
                failures = min(failures + 1, 20)
                # Many processes that lost the server at once do not all come back at once.
                wait = max(random.uniform(0, most), again.retry_after_seconds)  # noqa: S311 - no secret
            if last:
                break
            self._pause(wait, wake_early=again is None)
        self._server.close()

    def _pause(self, seconds: float, *, wake_early: bool) -> None:
        if wake_early:
            self._to_send.wait(seconds)
            self._to_send.clear()
        elif self._stop.wait(seconds):
            self._flushed.wait(seconds)

    def _send_what_there_is(self) -> Outcome | None:
        """Send every file that is free. Returns the outcome to wait after, or None when all went well."""
        with closing(self._buffer.claims()) as claims:
            return self._send_claims(claims)

    def _send_claims(self, claims: Iterable[Claim]) -> Outcome | None:
        for claim in claims:
            lines, cut_short = claim.lines()
            outcome = self._server.send(lines) if lines else Outcome()
            if outcome.try_again:
                return outcome
            if cut_short:
                self._drop("cut_short", cut_short)
            if outcome.refused:
                self._buffer.keep_refused([lines[place] for place in outcome.refused])
                self._refused += len(outcome.refused)
                self._complain("the server refused events", outcome.why_refused)
            claim.remove()
            self._sent += len(lines) - len(outcome.refused)
        return None

    # ---- Complaints

    def _drop(self, reason: str, events: int) -> None:
        with self._counting:
            self._dropped[reason] += events
            self._untold[reason] += events
        self._complain(f"events were dropped: {reason}", f"{self._dropped[reason]} so far")

    def _complain(self, what: str, why: object) -> None:
        """Kept for the writer to say: a request must not wait for somebody's log either."""
        self._last_error = f"{what}: {why}"
        self._complaints[what] = str(why)

    def _say_complaints(self) -> None:
        now = time.monotonic()
        for what in list(self._complaints):
            if now - self._said_at.get(what, -SAID_AGAIN_SECONDS) >= SAID_AGAIN_SECONDS:
                self._said_at[what] = now
                _log.warning("%s: %s", what, self._complaints.pop(what))


def _forked(here: "weakref.ref[Metering]") -> None:
    metering = here()
    if metering is not None:
        metering.forked()


def _closed(here: "weakref.ref[Metering]") -> None:
    metering = here()
    if metering is not None:
        metering.close()
