"""Noticing requests of a WSGI application."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from farthing.middleware.asgi import Notes
from farthing.middleware.exchange import USAGE, Exchange

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_NOT_PREFIXED = ("content-type", "content-length")


class MeteredWsgi:
    """The same application, each of its exchanges noted when its answer is sent and closed."""

    def __init__(self, app: Application, metering: Notes) -> None:
        self._app = app
        self._metering = metering

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One exchange."""
        exchange = _exchange(environ)
        began = time.perf_counter_ns()

        def start(status: str, *arguments: Any) -> Callable[[bytes], object]:
            exchange.status = int(status[:3]) if status[:3].isdigit() else 0
            write = start_response(status, *arguments)

            def write_counted(data: bytes) -> object:
                exchange.bytes_sent += len(data)
                return write(data)

            return write_counted

        try:
            body = self._app(environ, start)
        except BaseException:
            exchange.status = exchange.status or 500
            self._over(exchange, began)
            raise
        return _Body(body, exchange, lambda: self._over(exchange, began))

    def _over(self, exchange: Exchange, began: int) -> None:
        exchange.usage = exchange.scope.get(USAGE, {})
        self._metering.note(exchange, time.perf_counter_ns() - began)


class _Body:
    """The application's body, counted as it goes; the server closes it in any case."""

    def __init__(self, body: Iterable[bytes], exchange: Exchange, over: Callable[[], None]) -> None:
        self._body = body
        self._exchange = exchange
        self._over: Callable[[], None] | None = over

    def __iter__(self) -> Iterator[bytes]:
        try:
            for part in self._body:
                self._exchange.bytes_sent += len(part)
                yield part
        except BaseException as error:
            if not isinstance(error, GeneratorExit) and self._exchange.status < 400:
                self._exchange.status = 500
            raise

    def __len__(self) -> int:
        """Of how many parts it is, where that is known: servers make a Content-Length of it. Raises TypeError."""
        return len(self._body)  # type: ignore[arg-type]

    def close(self) -> None:
        """The answer is sent, or will never be."""
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            over, self._over = self._over, None
            if over is not None:
                over()


def _exchange(environ: Environ) -> Exchange:
    def read_header(name: str) -> str | None:
        variable = name.upper().replace("-", "_")
        found = environ.get(variable if name.lower() in _NOT_PREFIXED else f"HTTP_{variable}")
        return None if found is None else str(found)

    environ.setdefault(USAGE, {})
    length = environ.get("CONTENT_LENGTH") or ""
    return Exchange(
        environ,
        environ.get("REQUEST_METHOD", ""),
        _as_text(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")),
        read_header,
        time.time_ns(),
        bytes_received=int(length) if length.isascii() and length.isdigit() else 0,
    )


def _as_text(path: str) -> str:
    """WSGI hands bytes over as if they were Latin-1."""
    return path.encode("latin-1", "replace").decode("utf-8", "replace")
