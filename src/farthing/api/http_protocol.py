"""HTTP/1.1 as uvicorn speaks it, with bounds on everything that a connection may do, and a short way for events
and authorisations.

uvicorn limits neither the size of headers nor the time that a request or its answer may take, and makes
a task and a dozen objects for each request. Here a small request for one of the two that arrived whole,
with a key that is known, is handed over at once and answered by a call; every other request goes uvicorn's
way, as if it had come to it directly.

Times are looked at once in a second for all connections (`sweep`), not by a timer for each.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from farthing.api.events_route import EVENTS_PATH, Answer, answer_of
from farthing.api.front import AUTHORIZATIONS_PATH
from farthing.api.problems import problem
from farthing.events.door import PARSED_AT_ONCE_BYTES
from farthing.kernel.errors import FarthingError, InvalidInput, LimitExceeded, Unavailable

HEADERS_SECONDS_MAX = 15.0
"""From the first byte of a request (or the start of the connection) to the end of its headers."""
REQUEST_SECONDS_MAX = 60.0
"""From the first byte of a request to its last, whoever reads it or does not: past it the connection is cut."""
IDLE_SECONDS_MAX = 75.0
"""How long a connection is kept between two requests."""
UNREAD_SECONDS_MAX = 60.0
"""How long a client may leave an answer unread."""
HEADERS_BYTES_MAX = 32 * 1024
HEADERS_MAX = 100
PIPELINED_MAX = 32
"""Requests that a connection may send ahead of its answers."""
CONNECTIONS_MAX = 10_000
"""Open connections of one worker; it takes fewer where the system gives it fewer files."""

CLOSE = (b"connection", b"close")

_EVENTS_URL = EVENTS_PATH.encode()
_AUTHORIZATIONS_URL = AUTHORIZATIONS_PATH.encode()


KNOWN_HEADERS_MAX = 1_000
KNOWN_HEADERS_BYTES_MAX = 2_048
"""Blocks of headers that a worker remembers, and how long each may be: a client sends the same ones again and again."""
_SHORT_REQUEST = re.compile(
    rb"POST (/v1/(?:events|authorizations(?:[/:][A-Za-z0-9._~:/%-]{1,300})?)) HTTP/1\.1", re.ASCII
)

_Headers = list[tuple[bytes, bytes]]
_known_headers: dict[bytes, tuple[_Headers, int]] = {}
"""Blocks of headers as they came, with which a request went the short way: parsed, and how long its body was."""


class ShortWay(Protocol):
    """Who takes a request that has arrived whole. `api/front.py` is it."""

    @property
    def stopping(self) -> bool:
        """Whether this worker was told to stop."""

    def take_whole(
        self, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes, answer: Callable[[Answer], None]
    ) -> bool:
        """Take it and call `answer` once; False where it must go the long way."""


class _UnderWay:
    """A request on the short way, with what uvicorn asks of a cycle."""

    more_body = False

    def __init__(self, message_event: asyncio.Event) -> None:
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self.message_event = message_event


class BoundedHttp(HttpToolsProtocol):
    """One connection. Broken HTTP is answered with a problem; whoever is slow or endless is cut off."""

    def __init__(
        self, *arguments: Any, short_way: ShortWay, connections_max: int = CONNECTIONS_MAX, **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self._short_way = short_way
        self._connections_max = connections_max
        self._nobody_waits = asyncio.Event()
        self._url = b""
        self._body: list[bytes] = []
        self._header_bytes = 0
        self._headers_done = False
        self._held = False
        self._took_the_short_way = False
        self._half_closed = False
        self._refusal: Answer | None = None
        # When the request that is arriving began; None between two requests.
        self._began_at: float | None = None
        self._idle_since = 0.0
        self._unread_since: float | None = None

    # ---- The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._began_at = self._idle_since = self.loop.time()
        if len(self.connections) > self._connections_max:
            self._refuse(Unavailable("too_many_connections", "this server has all the connections it can"))

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        between_requests = self._began_at is None and not self._answer_is_due()
        if between_requests and self._headers_were_known(data):
            return
        self._took_the_short_way = False
        if self._began_at is None:
            self._began_at = self.loop.time()
        super().data_received(data)
        if self._held:
            self._go_the_long_way()
        elif between_requests and self._took_the_short_way:
            self._remember_headers(data)

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that has closed only its own side still gets its answers."""
        self._half_closed = True
        if self._is_cut_short() and not self.transport.is_closing():
            self._refuse(InvalidInput("incomplete_body", "the connection ended before the request was whole"))
        return self._answer_is_due() and not self.transport.is_closing()

    def _is_cut_short(self) -> bool:
        """Whether a request has begun that nothing was said to, and that will now never be whole."""
        if self._began_at is None or not self._url:
            return False
        if not self._headers_done:
            return not self._answer_is_due()
        return self._answer_is_due() and not self.pipeline and not self.cycle.response_started

    def pause_writing(self) -> None:
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        super().resume_writing()

    def cut_if_late(self, now: float) -> None:
        """End the connection where a time has run out. While the server is the slow one, none runs."""
        if self._unread_since is not None:
            if now - self._unread_since > UNREAD_SECONDS_MAX:
                self.transport.abort()
        elif self.transport.is_closing() or self.flow.read_paused:
            pass
        elif self._began_at is None:
            if now - self._idle_since > IDLE_SECONDS_MAX and not self._answer_is_due():
                self.transport.close()
        elif self._headers_done:
            if now - self._began_at > REQUEST_SECONDS_MAX:
                self.transport.abort()
        elif now - self._began_at > HEADERS_SECONDS_MAX and not self._answer_is_due():
            if self._url:
                limit = f"{HEADERS_SECONDS_MAX:g} seconds"
                self._refuse(InvalidInput("headers_too_slow", f"the headers did not arrive within {limit}"))
            else:
                self.transport.close()

    def _answer_is_due(self) -> bool:
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    # ---- The request, as it is parsed

    def on_message_begin(self) -> None:
        self._url = b""
        self.headers = []
        self._body = []
        self._header_bytes = 0
        self._headers_done = False
        if self._began_at is None:
            self._began_at = self.loop.time()

    def on_url(self, url: bytes) -> None:
        self._header_bytes += len(url)
        if self._header_bytes > HEADERS_BYTES_MAX:
            self._refuse_headers()
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADERS_BYTES_MAX or len(self.headers) >= HEADERS_MAX:
            self._refuse_headers()
        if not self._headers_done:  # Trailers change nothing of what a request is.
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._headers_done = True
        self._held = True
        if (
            not (self._url == _EVENTS_URL or self._url.startswith(_AUTHORIZATIONS_URL))
            or self._answer_is_due()
        ):
            self._go_the_long_way()

    def on_body(self, body: bytes) -> None:
        if self._held:
            self._body.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._began_at = None
        if self._held:
            if self._went_the_short_way():
                self._held = False
                return
            self._go_the_long_way()
        super().on_message_complete()

    def _refuse_headers(self) -> NoReturn:
        error = LimitExceeded("headers_too_large", "the headers are too many or too large")
        self._refuse(error, behind_answers=not self._headers_done)
        raise ValueError("headers_too_large")

    # ---- The long way

    def _go_the_long_way(self) -> None:
        """Give uvicorn what was held back, in the order in which it came."""
        self._held = False
        if len(self.pipeline) >= PIPELINED_MAX:
            error = LimitExceeded("too_many_pipelined", "too many requests were sent ahead of answers")
            self._refuse(error, behind_answers=True)
            raise ValueError("too_many_pipelined")
        headers = self.headers
        super().on_message_begin()
        super().on_url(self._url)
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()
        for part in self._body:
            super().on_body(part)
        self._body = []

    def on_response_complete(self) -> None:
        """uvicorn's own, with the time in place of a timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._idle_since = self.loop.time()
        if self._began_at is not None:  # What has come of the next request could not go on until now.
            self._began_at = self._idle_since
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._refusal is not None:
            self._refuse_with(self._refusal)
        elif self._half_closed:
            self.transport.close()
        if self._refusal is None:
            self.flow.resume_reading()

    # ---- The short way

    def _went_the_short_way(self) -> bool:
        parser, body = self.parser, b"".join(self._body)
        if (
            parser.get_method() != b"POST"
            or len(body) > PARSED_AT_ONCE_BYTES
            or not parser.should_keep_alive()
            or parser.should_upgrade()
        ):
            return False
        self._took_the_short_way = self._was_taken(body)
        return self._took_the_short_way

    def _headers_were_known(self, data: bytes) -> bool:
        """Whether this is one whole request, whose headers have been parsed before and that went the short way again.

        Headers of the same bytes mean the same, so the parser need not see them.
        """
        begin = data.find(b"\r\n")
        end = data.find(b"\r\n\r\n", begin) + 4
        known = _known_headers.get(data[begin:end])
        if known is None or len(data) - end != known[1]:
            return False
        asked = _SHORT_REQUEST.fullmatch(data, 0, begin)
        if asked is None:
            return False
        self._url, self.headers = asked[1], known[0]
        return self._was_taken(data[end:])

    def _remember_headers(self, data: bytes) -> None:
        begin = data.find(b"\r\n")
        end = data.find(b"\r\n\r\n", begin) + 4
        length = len(data) - end
        named = dict(self.headers)
        whole = named.get(b"content-length") == b"%d" % length and b"transfer-encoding" not in named
        if whole and end - begin <= KNOWN_HEADERS_BYTES_MAX and length <= PARSED_AT_ONCE_BYTES:
            if len(_known_headers) >= KNOWN_HEADERS_MAX:
                _known_headers.clear()
            _known_headers[data[begin:end]] = (self.headers, length)

    def _was_taken(self, body: bytes) -> bool:
        before, under_way = self.cycle, _UnderWay(self._nobody_waits)
        # Set first, because the answer may come before the call returns.
        self.cycle = under_way  # type: ignore[assignment]
        if self._short_way.take_whole(
            self._url, self.headers, body, lambda answer: self._answer(under_way, answer)
        ):
            self._body = []
            return True
        self.cycle = before
        return False

    def _answer(self, under_way: _UnderWay, answer: Answer) -> None:
        under_way.response_complete = True
        if under_way.disconnected or self.transport.is_closing():
            return
        last = self._short_way.stopping or not under_way.keep_alive
        self.transport.write(self._rendered(answer, last=last))
        if last or any(name == b"connection" for name, _ in answer.headers):
            self.transport.close()
        self.on_response_complete()

    def _rendered(self, answer: Answer, *, last: bool = False) -> bytes:
        common = self.server_state.default_headers
        # While the worker stops, it is among what every answer has.
        return _heads.render(answer, [*common, CLOSE] if last and CLOSE not in common else common)

    # ---- Refusals

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing() and self._refusal is None:
            in_a_body = self._headers_done and self._began_at is not None
            self._refuse(InvalidInput("malformed_http", msg), behind_answers=not in_a_body)

    def _refuse(self, error: FarthingError, *, behind_answers: bool = False) -> None:
        """Answer outside of any request, behind those that are still due, and end the connection."""
        answer = answer_of(problem(error))
        if behind_answers and self._answer_is_due():
            self._refusal = answer
            self.flow.pause_reading()
        else:
            self._refuse_with(answer)

    def _refuse_with(self, answer: Answer) -> None:
        last = not any(name == b"connection" for name, _ in answer.headers)
        self.transport.write(self._rendered(answer, last=last))
        self.transport.close()


def sweep(connections: Iterable[Any], now: float) -> None:
    """Cut off whoever is late. `now` is the event loop's time."""
    for connection in [*connections]:
        if isinstance(connection, BoundedHttp):
            connection.cut_if_late(now)


class _Heads:
    """Answers as they go over the wire. What stands before their length is the same for very many: it is kept."""

    def __init__(self) -> None:
        self._common: _Headers = []
        self._known: dict[tuple[int, tuple[tuple[bytes, bytes], ...]], bytes] = {}

    def render(self, answer: Answer, common: _Headers) -> bytes:
        """An answer behind the headers that all have. uvicorn makes a new list of those each second, with the date."""
        if self._common is not common or len(self._known) >= KNOWN_HEADERS_MAX:
            self._common, self._known = common, {}
        head = self._known.get((answer.status, answer.headers))
        if head is None:
            lines = [b"%s: %s\r\n" % header for header in (*common, *answer.headers)]
            head = b"".join([STATUS_LINE[answer.status], *lines, b"content-length: "])
            self._known[answer.status, answer.headers] = head
        return b"%b%d\r\n\r\n%b" % (head, len(answer.body), answer.body)


_heads = _Heads()
