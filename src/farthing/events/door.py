"""The door for events that arrive over a network: parse, append, wait for the disk, then answer."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from farthing.events.formats import parse_events
from farthing.events.log.files import BlockHeader, LogWriter, encode_block
from farthing.events.model import Rejected
from farthing.kernel.instant import unix_microseconds

PARSED_AT_ONCE_BYTES = 256 * 1024
"""Larger bodies are parsed beside the event loop, so that others are answered meanwhile."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a request: `accepted` events are on disk; the rejected ones are named, in order."""

    accepted: int
    rejected: tuple[Rejected, ...]


class Door:
    """Takes request bodies for one server process. Accepted means durable in the event log."""

    def __init__(self, log_dir: Path, writer: str) -> None:
        self._log = LogWriter(log_dir, writer)

    async def accept(
        self, tenant_id: int, body: bytes, content_type: str, content_encoding: str, now: datetime
    ) -> Accepted:
        """Parse a body, put its good events in the log, and return when they are on disk.

        Raises:
            InvalidInput, LimitExceeded: the body as a whole cannot be read; nothing was taken.
            Unavailable: the disk is full or busy, or the log failed; nothing was acknowledged.
        """
        if len(body) <= PARSED_AT_ONCE_BYTES:
            batch = parse_events(body, content_type, content_encoding)
        else:
            batch = await asyncio.to_thread(parse_events, body, content_type, content_encoding)
        if batch.accepted:
            header = BlockHeader(
                block=1,
                tenant=tenant_id,
                kind="events",
                received_us=unix_microseconds(now),
                events=batch.accepted,
                bytes=len(batch.lines),
                origin="http",
            )
            await asyncio.wrap_future(self._log.append(encode_block(header, batch.lines)))
        return Accepted(batch.accepted, batch.rejected)

    @property
    def log(self) -> LogWriter:
        """The log file behind this door."""
        return self._log

    @property
    def failure(self) -> str | None:
        """Why this door stopped taking events for good, or None."""
        return self._log.failure

    def close(self) -> None:
        """Write what waits and let the log file go."""
        self._log.close()
