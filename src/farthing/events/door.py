"""The door for events that arrive over a network: parse, append, wait for the disk, then answer.

Requests that come while the disk is busy are gathered, and go into the log together: one block for each
tenant, one write, one fdatasync, then the answers. The busier the server, the more share one sync.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from farthing.events.intake.formats import TABLE_TYPES, media_type_of, parse_events
from farthing.events.intake.table_process import TableReader
from farthing.events.log.files import PENDING_BYTES_MAX, BlockHeader, LogPosition, LogWriter, encode_block
from farthing.events.model import ParsedBatch, Rejected
from farthing.kernel.errors import FarthingError, Unavailable
from farthing.kernel.instant import unix_microseconds

PARSED_AT_ONCE_BYTES = 256 * 1024
"""Larger bodies are parsed beside the event loop, so that others are answered meanwhile."""
PARSED_BESIDE_MAX = 2
"""How many of the larger bodies are parsed at a time: unpacked, each takes many times its size."""
BLOCK_BYTES_MAX = 4 * 1024 * 1024
"""A block that has grown past this takes no further request; one request is never split."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a request: `accepted` events are on disk; the rejected ones are named, in order."""

    accepted: int
    rejected: tuple[Rejected, ...]


_Read = TypeVar("_Read")

Stored = Callable[[FarthingError | None], None]
"""Called once a request's events are on disk, or with the reason why they are not."""


@dataclass(slots=True)
class _Gathered:
    """Events of one tenant that go into the log as one block."""

    tenant_id: int
    received_at: datetime
    lines: list[bytes] = field(default_factory=list)
    events: int = 0
    size: int = 0
    waiting: list[Stored] = field(default_factory=list)

    def encoded(self) -> bytes:
        header = BlockHeader(
            block=1,
            tenant=self.tenant_id,
            kind="events",
            received_us=unix_microseconds(self.received_at),
            events=self.events,
            bytes=self.size,
            origin="http",
        )
        return encode_block(header, self.lines[0] if len(self.lines) == 1 else b"".join(self.lines))


class Door:
    """Takes request bodies for one server process, in its event loop. Accepted means durable in the log."""

    def __init__(self, log_dir: Path, writer: str) -> None:
        self._log = LogWriter(log_dir, writer)
        self._blocks: list[_Gathered] = []
        self._open: dict[int, _Gathered] = {}
        self._held_bytes = 0
        self._writing = False
        self._beside = asyncio.Semaphore(PARSED_BESIDE_MAX)
        self._tables = TableReader()
        self._one_table = asyncio.Lock()

    async def accept(
        self, tenant_id: int, body: bytes, content_type: str, content_encoding: str, now: datetime
    ) -> Accepted:
        """Parse a body, put its good events in the log, and return when they are on disk.

        Raises:
            InvalidInput, LimitExceeded: the body as a whole cannot be read; nothing was taken.
            Unavailable: the disk is full or busy, or the log failed; nothing was acknowledged.
        """
        if (media_type := media_type_of(content_type)) in TABLE_TYPES:
            async with self._one_table:
                batch = await asyncio.to_thread(self._tables.read, body, media_type, content_encoding)
        else:
            batch = await self.read(body, lambda body: parse_events(body, content_type, content_encoding))
        return await self.keep(tenant_id, batch, now)

    async def read(self, body: bytes, parse: Callable[[bytes], _Read]) -> _Read:
        """Read a body with `parse`: a small one at once, a larger one beside the event loop."""
        if len(body) <= PARSED_AT_ONCE_BYTES:
            return parse(body)
        async with self._beside:
            return await asyncio.to_thread(parse, body)

    async def keep(self, tenant_id: int, batch: ParsedBatch, now: datetime) -> Accepted:
        """Put the events of a batch in the log, and return when they are on disk.

        Raises Unavailable: the disk is full or busy, or the log failed; nothing was acknowledged.
        """
        if batch.accepted:
            done = asyncio.get_running_loop().create_future()

            def stored(error: FarthingError | None) -> None:
                if not done.done():  # The client may be gone; the others still get their answer.
                    done.set_result(error)

            self._gather(tenant_id, batch, now, stored)
            if (error := await done) is not None:
                raise error
        return Accepted(batch.accepted, batch.rejected)

    def accept_soon(
        self,
        tenant_id: int,
        body: bytes,
        content_type: str,
        content_encoding: str,
        now: datetime,
        answer: Callable[[Accepted | FarthingError], None],
    ) -> None:
        """The same for JSON of at most `PARSED_AT_ONCE_BYTES`, without a task: `answer` is called instead.

        Raises as `accept` does where there is nothing to wait for.
        """
        batch = parse_events(body, content_type, content_encoding)
        outcome = Accepted(batch.accepted, batch.rejected)
        if batch.accepted:
            self._gather(tenant_id, batch, now, lambda error: answer(error or outcome))
        else:
            answer(outcome)

    def _gather(self, tenant_id: int, batch: ParsedBatch, now: datetime, stored: Stored) -> None:
        size = len(batch.lines)
        if self._held_bytes > PENDING_BYTES_MAX:
            raise Unavailable("log_busy", "the disk cannot keep up; send again in a moment")
        block = self._open.get(tenant_id)
        if block is None or block.size > BLOCK_BYTES_MAX:
            block = self._open[tenant_id] = _Gathered(tenant_id, now)
            self._blocks.append(block)
            if not self._writing:
                # Not yet: whatever else has arrived by now shall share the write.
                self._writing = True
                asyncio.get_running_loop().call_soon(self._write)
        block.lines.append(batch.lines)
        block.events += batch.accepted
        block.size += size
        block.waiting.append(stored)
        self._held_bytes += size

    def _write(self) -> None:
        """Hand what was gathered to the log, as one piece."""
        blocks, self._blocks, self._open = self._blocks, [], {}
        loop = asyncio.get_running_loop()

        def written(done: "Future[LogPosition]") -> None:
            with suppress(RuntimeError):  # The loop has ended, and with it all who waited.
                loop.call_soon_threadsafe(self._written, blocks, done.exception())

        try:
            self._log.append(b"".join([block.encoded() for block in blocks])).add_done_callback(written)
        except Unavailable as error:
            self._written(blocks, error)

    def _written(self, blocks: list[_Gathered], error: BaseException | None) -> None:
        self._held_bytes -= sum(block.size for block in blocks)
        self._writing = bool(self._blocks)
        if self._writing:  # First the disk gets its work, then the clients their answers.
            self._write()
        assert error is None or isinstance(error, FarthingError)
        for block in blocks:
            for stored in block.waiting:
                stored(error)

    @property
    def log(self) -> LogWriter:
        """The log file behind this door."""
        return self._log

    @property
    def failure(self) -> str | None:
        """Why this door stopped taking events for good, or None."""
        return self._log.failure

    def close(self) -> None:
        """Write what was handed to the log and let its file go. What is only gathered was not acknowledged."""
        self._tables.close()
        self._log.close()
