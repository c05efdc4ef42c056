"""How far counters are counted that arrive over OTLP as running totals, in the books. Only SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from farthing.events.doors.counted import Counted
from farthing.events.store.books import Connection


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A stream as it stands: how far it is counted, how often it was moved on, and lines that the log may lack."""

    stream: bytes
    counted: Counted
    advanced: int
    unconfirmed: bytes


def lock_streams(conn: Connection, tenant_id: int, streams: Sequence[bytes]) -> list[StreamRow]:
    """These streams, new ones included, held until the transaction ends; in one order, so that none waits in a ring."""
    conn.execute(
        """
        INSERT INTO otlp_streams (tenant_id, stream, value, advanced, unconfirmed)
        SELECT %s, stream, 0, 0, '' FROM unnest(%s::bytea[]) AS new (stream) ORDER BY stream
        ON CONFLICT DO NOTHING
        """,
        [tenant_id, list(streams)],
    )
    found = conn.execute(
        """
        SELECT stream, time_ns, value, total, advanced, unconfirmed FROM otlp_streams
         WHERE tenant_id = %s AND stream = ANY(%s) ORDER BY stream FOR UPDATE
        """,
        [tenant_id, list(streams)],
    )
    return [
        StreamRow(
            row["stream"],
            Counted(None if row["time_ns"] is None else int(row["time_ns"]), row["value"], row["total"]),
            row["advanced"],
            row["unconfirmed"],
        )
        for row in found
    ]


def move_on(conn: Connection, tenant_id: int, rows: Sequence[StreamRow]) -> None:
    """Write how far these streams are counted now."""
    conn.execute(
        """
        UPDATE otlp_streams AS old
           SET time_ns = new.time_ns, value = new.value, total = new.total,
               advanced = new.advanced, unconfirmed = new.unconfirmed
          FROM unnest(%s::bytea[], %s::numeric[], %s::numeric[], %s::numeric[], %s::bigint[],
                      %s::bytea[]) AS new (stream, time_ns, value, total, advanced, unconfirmed)
         WHERE old.tenant_id = %s AND old.stream = new.stream
        """,
        [
            [row.stream for row in rows],
            [None if row.counted.time_ns is None else Decimal(row.counted.time_ns) for row in rows],
            [row.counted.value for row in rows],
            [row.counted.total for row in rows],
            [row.advanced for row in rows],
            [row.unconfirmed for row in rows],
            tenant_id,
        ],
    )


def confirm(conn: Connection, tenant_id: int, rows: Sequence[StreamRow]) -> None:
    """Forget the lines of streams that nobody has moved on since: the log has them."""
    conn.execute(
        """
        UPDATE otlp_streams AS old SET unconfirmed = ''
          FROM unnest(%s::bytea[], %s::bigint[]) AS new (stream, advanced)
         WHERE old.tenant_id = %s AND old.stream = new.stream AND old.advanced = new.advanced
        """,
        [[row.stream for row in rows], [row.advanced for row in rows], tenant_id],
    )
