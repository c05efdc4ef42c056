"""What the checks of the events ask of the books and of the segments. Only SQL."""

from collections.abc import Collection, Sequence
from pathlib import Path

from farthing.events.store.books import Connection
from farthing.events.store.duckdb import EventStore

REPEATED_MAX = 101
"""More than anybody reads."""


def accepted_by_log_file(conn: Connection, tenant_id: int, log_files: Collection[str]) -> dict[str, int]:
    """How many events the seals of each of these log files account for."""
    found = conn.execute(
        """
        SELECT log_file, sum(accepted)::bigint AS accepted FROM seals
         WHERE tenant_id = %s AND log_file = ANY(%s) GROUP BY log_file
        """,
        [tenant_id, list(log_files)],
    )
    return {row["log_file"]: row["accepted"] for row in found}


def repeated_events(store: EventStore, paths: Sequence[Path]) -> tuple[int, list[tuple[str, str, int]]]:
    """How many events the segments hold, and the (source, id, times) of those that stand in them again."""
    if not paths:
        return 0, []
    cursor = store.cursor()
    files = [str(path) for path in paths]
    try:
        total = cursor.execute("SELECT count(*) FROM read_parquet(?)", [files]).fetchone()
        assert total is not None
        repeated = cursor.execute(
            """
            SELECT source, id, count(*) FROM read_parquet(?)
             GROUP BY source, id HAVING count(*) > 1 ORDER BY source, id LIMIT ?
            """,
            [files, REPEATED_MAX],
        ).fetchall()
    finally:
        cursor.close()
    return total[0], repeated
