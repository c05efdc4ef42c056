"""HTTP/1.1 as uvicorn speaks it, with bounds on what comes before the first route.

uvicorn has no limit on the size of headers and none on the time they take.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from farthing.api.problems import problem
from farthing.kernel.errors import FarthingError, InvalidInput, LimitExceeded

HEADERS_SECONDS_MAX = 15.0
"""From the first byte of a request (or the start of the connection) to the end of its headers."""
HEADERS_BYTES_MAX = 32 * 1024
HEADERS_MAX = 100


class BoundedHttp(HttpToolsProtocol):
    """Closes connections that are slow or endless in their headers; answers broken HTTP with a problem."""

    _deadline: asyncio.TimerHandle | None = None
    _in_headers = True
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Nearly always the headers came whole, and no timer is needed.
        if self._in_headers and self._deadline is None and not self.transport.is_closing():
            self._expect_headers()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._headers_came()
        super().on_headers_complete()

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > HEADERS_BYTES_MAX or len(self.headers) >= HEADERS_MAX:
            self._refuse(LimitExceeded("headers_too_large", "the headers are too many or too large"))
            raise ValueError("headers_too_large")

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(HEADERS_SECONDS_MAX, self.transport.close)

    def _headers_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            self._refuse(InvalidInput("malformed_http", msg))

    def _refuse(self, error: FarthingError) -> None:
        """Answer outside of any request, and end the connection."""
        answer = problem(error, headers={"connection": "close"})
        lines = [STATUS_LINE[answer.status]]
        lines += [f"{name}: {value}\r\n".encode() for name, value in answer.headers]
        lines += [b"content-length: %d\r\n\r\n" % len(answer.body), answer.body]
        self.transport.write(b"".join(lines))
        self.transport.close()
