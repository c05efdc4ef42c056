"""Receiving a request body: within a size, within a time, within the memory of this worker."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from farthing.kernel.errors import InvalidInput, LimitExceeded, Unavailable

BODY_SECONDS_MAX = 15.0
"""From the end of the headers to the last byte: a client that dribbles cannot hold a worker."""
BODIES_BYTES_MAX = 128 * 1024 * 1024
"""All bodies that one worker holds at a time; past it, requests are asked to come back."""
DISCARD_BYTES_MAX = 32 * 1024 * 1024
"""How much of a body that is too large is still read, and thrown away, before the answer."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGone(Exception):
    """The client hung up before its request was whole: there is nobody to answer."""


class Intake:
    """Receives bodies for one worker."""

    def __init__(self, *, seconds_max: float = BODY_SECONDS_MAX, bytes_max: int = BODIES_BYTES_MAX) -> None:
        self._seconds_max = seconds_max
        self._bytes_max = bytes_max
        self._held = 0

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """Room for one body, given back at the end of the block."""
        place = Place(self)
        try:
            yield place
        finally:
            self._held -= place.size

    def hold(self, size: int) -> None:
        if self._held + size > self._bytes_max:
            raise Unavailable("too_busy", "this server holds too many requests; send again in a moment")
        self._held += size

    @property
    def seconds_max(self) -> float:
        return self._seconds_max


class Place:
    """The memory that one body takes up."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.size = 0

    async def read(self, receive: Receive, headers: Mapping[bytes, bytes], bytes_max: int) -> bytes:
        """The whole body.

        Raises:
            LimitExceeded: `body_too_large`.
            InvalidInput: `body_too_slow`, `invalid_header`.
            Unavailable: `too_busy`.
            ClientGone: the connection ended first.
        """
        too_large = LimitExceeded("body_too_large", f"the body is larger than {bytes_max} bytes")
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self._intake.seconds_max):
                if (_declared_length(headers) or 0) > bytes_max:
                    # A client that waits for "100 Continue" has sent nothing that could be in the way.
                    if b"expect" not in headers:
                        await _discard(receive)
                    raise too_large
                more = True
                while more:
                    part, more = await _next_part(receive)
                    if self.size + len(part) > bytes_max:
                        await _discard(receive)
                        raise too_large
                    self._intake.hold(len(part))
                    self.size += len(part)
                    parts.append(part)
        except TimeoutError:
            limit = self._intake.seconds_max
            raise InvalidInput("body_too_slow", f"the body did not arrive within {limit:g} seconds") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)


async def _next_part(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def _discard(receive: Receive) -> None:
    """Let a client finish, within bounds: one that is still sending may never see why it was refused."""
    left, more = DISCARD_BYTES_MAX, True
    while more and left > 0:
        part, more = await _next_part(receive)
        left -= len(part)


def _declared_length(headers: Mapping[bytes, bytes]) -> int | None:
    """The Content-Length, None for a body in chunks. Raises `invalid_header`."""
    length = headers.get(b"content-length")
    if length is None:
        return None
    if not length.isdigit() or len(length) > 18:
        raise InvalidInput("invalid_header", "Content-Length must be a whole number", path="Content-Length")
    return int(length)
