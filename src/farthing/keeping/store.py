"""SQL of retention: what a tenant said, and which files hold events that are still to be billed (DuckDB)."""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from farthing.db.pool import BooksConnection
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.keeping.retention import Retention


def select_keep_days(conn: BooksConnection, tenant_id: int) -> int | None:
    """For how many days events are kept; None: for ever."""
    row = conn.execute("SELECT keep_days FROM retention WHERE tenant_id = %s", [tenant_id]).fetchone()
    return None if row is None else int(row["keep_days"])


def select_retention(conn: BooksConnection, tenant_id: int) -> Retention:
    """What was said, and what was removed."""
    row = conn.execute(
        """
        SELECT (SELECT keep_days FROM retention WHERE tenant_id = %(tenant)s) AS keep_days,
               count(*) AS removed_segments, coalesce(sum(events), 0)::bigint AS removed_events,
               max(max_time) AS removed_until
          FROM removed_segments WHERE tenant_id = %(tenant)s
        """,
        {"tenant": tenant_id},
    ).fetchone()
    assert row is not None
    return Retention(**row)


def put_keep_days(conn: BooksConnection, tenant_id: int, keep_days: int | None, now: datetime) -> None:
    """Say it anew."""
    if keep_days is None:
        conn.execute("DELETE FROM retention WHERE tenant_id = %s", [tenant_id])
        return
    conn.execute(
        """
        INSERT INTO retention (tenant_id, keep_days, set_at) VALUES (%s, %s, %s)
        ON CONFLICT (tenant_id) DO UPDATE SET keep_days = excluded.keep_days, set_at = excluded.set_at
        """,
        [tenant_id, keep_days, now],
    )


def unbilled_files(
    store: EventStore, segments: Sequence[Segment], known_subjects: pa.Table, spans: pa.Table
) -> set[str]:
    """The files that hold an event of a customer in one of these spans of time that is not void."""
    voids = sorted({identity for segment in segments for identity in segment.voids})
    cursor = store.cursor()
    try:
        cursor.register("known_subjects", known_subjects)
        cursor.register("spans", spans)
        cursor.register(
            "voids",
            pa.table(
                {
                    "source": pa.array([source for source, _ in voids], pa.string()),
                    "id": pa.array([event_id for _, event_id in voids], pa.string()),
                }
            ),
        )
        found = cursor.execute(
            """
            SELECT DISTINCT filename
              FROM read_parquet($1, filename = true, union_by_name = true) AS events
              JOIN known_subjects USING (subject)
              JOIN spans ON spans.customer_id = known_subjects.customer_id
                        AND events.time >= spans.span_start AND events.time < spans.span_end
              ANTI JOIN voids ON voids.source = events.source AND voids.id = events.id
            """,
            [[str(store.data_dir / segment.path) for segment in segments]],
        ).fetchall()
        return {str(name) for (name,) in found}
    finally:
        cursor.close()
