"""What came to billed times after their bills, in the segments and in the books. Only SQL (DuckDB and PostgreSQL)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from farthing.events.model import VOID_TYPE
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.events.store.meter_sql import Bound
from farthing.kernel.instant import unix_microseconds
from farthing.usage.store import Connection, standing_sql


def came_later(
    store: EventStore,
    segments: Sequence[Segment],
    known_subjects: pa.Table,
    billed: pa.Table,
    start: datetime,
    end: datetime,
    most: int,
) -> list[tuple[Any, ...]]:
    """(number, source, id, type, subject, time, received at) of events that count and were received later."""
    if not segments:
        return []
    bound = Bound()
    files = bound.bind([str(store.data_dir / segment.path) for segment in segments])
    cursor = store.cursor()
    try:
        cursor.register("known_subjects", known_subjects)
        cursor.register("billed", billed)
        return cursor.execute(
            f"""
            SELECT number, source, id, type, subject, time, received_at
              FROM (SELECT source, id, type, subject, time, received_at FROM read_parquet({files})
                     WHERE time >= make_timestamp({bound.bind(unix_microseconds(start))})
                       AND time < make_timestamp({bound.bind(unix_microseconds(end))})
                       AND received_at > (SELECT min(since) FROM billed)
                       AND type <> {bound.bind(VOID_TYPE)}{standing_sql(segments, bound)}) AS events
              JOIN known_subjects USING (subject)
              JOIN billed ON billed.customer_id = known_subjects.customer_id AND time >= billed_start
                         AND time < billed_end AND received_at > since
             ORDER BY number, time, source, id LIMIT {bound.bind(most)}
            """,
            bound.values,
        ).fetchall()
    finally:
        cursor.close()


def voided_later(
    conn: Connection,
    tenant_id: int,
    numbers: Sequence[int],
    customers: Sequence[int],
    starts: Sequence[datetime],
    ends: Sequence[datetime],
    since: Sequence[datetime],
    most: int,
) -> list[dict[str, Any]]:
    """Events of billed times that were received before their bills and voided after them."""
    return conn.execute(
        """
        SELECT billed.number, v.source, v.event_id, v.event_type, v.subject, v.event_time, v.voided_at AS known_at
          FROM unnest(%(numbers)s::bigint[], %(customers)s::bigint[], %(starts)s::timestamptz[],
                      %(ends)s::timestamptz[], %(since)s::timestamptz[])
               AS billed (number, customer_id, billed_start, billed_end, since)
          JOIN customer_subjects s ON s.tenant_id = %(tenant)s AND s.customer_id = billed.customer_id
          JOIN voided_events v ON v.tenant_id = %(tenant)s AND v.subject = s.subject
                              AND v.event_time >= billed_start AND v.event_time < billed_end
         WHERE v.voided_at > since AND v.received_at <= since
         ORDER BY number, event_time, source, event_id LIMIT %(most)s
        """,
        {
            "tenant": tenant_id,
            "numbers": list(numbers),
            "customers": list(customers),
            "starts": list(starts),
            "ends": list(ends),
            "since": list(since),
            "most": most,
        },
    ).fetchall()
