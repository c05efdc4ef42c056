"""Noticing requests of an ASGI application."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Protocol

from farthing.middleware.exchange import USAGE, Exchange

CLIENT_GONE = 499
"""The status of a request whose client hung up before it was answered, as nginx has it."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Notes(Protocol):
    """Who takes note of an exchange: never waits, never raises."""

    def note(self, exchange: Exchange, duration_ns: int) -> None:
        """The exchange is over."""


class MeteredAsgi:
    """The same application, each of its HTTP exchanges noted when it is over."""

    def __init__(self, app: Application, metering: Notes) -> None:
        self._app = app
        self._metering = metering

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One exchange, connection or lifespan; only the first of these is metered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _exchange(scope)

        async def receive_counted() -> Message:
            message = await receive()
            exchange.bytes_received += len(message.get("body", b""))
            return message

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            else:
                exchange.bytes_sent += len(message.get("body", b""))
            await send(message)

        began = time.perf_counter_ns()
        try:
            await self._app(scope, receive_counted, send_counted)
        except asyncio.CancelledError:
            exchange.status = exchange.status or CLIENT_GONE
            raise
        except BaseException:
            exchange.status = exchange.status or 500
            raise
        finally:
            exchange.route = getattr(scope.get("route"), "path", None)
            exchange.usage = scope.get(USAGE, {})
            self._metering.note(exchange, time.perf_counter_ns() - began)


def _exchange(scope: MutableMapping[str, Any]) -> Exchange:
    def read_header(name: str) -> str | None:
        wanted = name.lower().encode("latin-1")
        for found, value in scope.get("headers", ()):
            if found == wanted:
                return bytes(value).decode("latin-1")
        return None

    with suppress(TypeError):  # A scope that nobody may write to is somebody's own; then nothing is added.
        scope.setdefault(USAGE, {})
    return Exchange(scope, scope.get("method", ""), scope.get("path", ""), read_header, time.time_ns())
