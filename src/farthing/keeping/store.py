"""SQL of retention: what a tenant said, and which files hold events that are still to be billed (DuckDB)."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from farthing.db.pool import BooksConnection
from farthing.events.store.duckdb import EventStore


def select_keep_days(conn: BooksConnection, tenant_id: int) -> int | None:
    """For how many days events are kept; None: for ever."""
    row = conn.execute("SELECT keep_days FROM retention WHERE tenant_id = %s", [tenant_id]).fetchone()
    return None if row is None else int(row["keep_days"])


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
    store: EventStore, paths: Sequence[Path], known_subjects: pa.Table, spans: pa.Table
) -> set[str]:
    """The files that hold an event of a customer in one of these spans of time."""
    cursor = store.cursor()
    try:
        cursor.register("known_subjects", known_subjects)
        cursor.register("spans", spans)
        found = cursor.execute(
            """
            SELECT DISTINCT filename
              FROM read_parquet($1, filename = true, union_by_name = true) AS events
              JOIN known_subjects USING (subject)
              JOIN spans ON spans.customer_id = known_subjects.customer_id
                        AND events.time >= spans.span_start AND events.time < spans.span_end
            """,
            [[str(path) for path in paths]],
        ).fetchall()
        return {str(name) for (name,) in found}
    finally:
        cursor.close()
