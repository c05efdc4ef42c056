"""The use case of counters that arrive over OTLP as running totals: each point counted once, across crashes.

Two transactions with the log between them. The first moves the streams on and keeps the events that come of it, the
log makes them durable, the second forgets them. Whoever comes after a crash finds what was kept and writes it
again, with the ids that it had.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from farthing.db import Books
from farthing.events.doors.counted import Counted
from farthing.events.doors.otlp_streams import Reading, advance
from farthing.events.doors.translated import as_batch
from farthing.events.intake.formats import count_lines
from farthing.events.model import ParsedBatch, Rejected
from farthing.events.store import otlp_streams as rows
from farthing.events.store.otlp_streams import StreamRow


@dataclass(frozen=True, slots=True)
class MovedOn:
    """Streams that were moved on, and the events that have to reach the log before `confirm`."""

    streams: tuple[StreamRow, ...]
    batch: ParsedBatch


def move_on(books: Books, tenant_id: int, readings: Sequence[Reading]) -> MovedOn:
    """Count these readings. Running it again after a crash gives the same events again."""
    by_stream = sorted({reading.stream for reading in readings})
    with books.transaction(tenant_id) as conn:
        found = rows.lock_streams(conn, tenant_id, [bytes.fromhex(stream) for stream in by_stream])
        counted = {row.stream.hex(): row.counted for row in found}
        after, events = advance(counted, readings)
        refused: list[Rejected] = []
        moved = []
        for row in found:
            stream = row.stream.hex()
            new = as_batch(events.get(stream, []), {})
            refused += new.rejected
            moved.append(_moved(row, after[stream], new.lines))
        changed = [row for row, before in zip(moved, found, strict=True) if row != before]
        if changed:
            rows.move_on(conn, tenant_id, changed)
    lines = b"".join(row.unconfirmed for row in moved)
    return MovedOn(
        tuple(row for row in moved if row.unconfirmed),
        ParsedBatch(lines, count_lines(lines), tuple(refused)),
    )


def confirm(books: Books, tenant_id: int, moved: MovedOn) -> None:
    """The log has the events of these streams."""
    if moved.streams:
        with books.transaction(tenant_id) as conn:
            rows.confirm(conn, tenant_id, moved.streams)


def _moved(row: StreamRow, counted: Counted, lines: bytes) -> StreamRow:
    if counted == row.counted:
        return row
    return replace(row, counted=counted, advanced=row.advanced + 1, unconfirmed=row.unconfirmed + lines)
