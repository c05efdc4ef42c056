"""What the checks of the events ask of the books and of the segments. Only SQL."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from farthing.events.store.books import Connection
from farthing.events.store.duckdb import EventStore

REPEATED_MAX = 101
"""More than anybody reads."""


@dataclass(frozen=True, slots=True)
class SegmentClaim:
    """What the books say is in a segment. Subjects: of each type, as ranges; None: not known."""

    events: int
    event_types: tuple[str, ...]
    first_subjects: tuple[str | None, ...] | None
    last_subjects: tuple[str | None, ...] | None
    min_time: datetime
    max_time: datetime


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


def segment_claims(conn: Connection, tenant_id: int) -> dict[str, SegmentClaim]:
    """What the books say is in each segment, by path: what questions pass files over for."""
    found = conn.execute(
        """
        SELECT path, events, event_types, first_subjects, last_subjects, min_time, max_time FROM segments
         WHERE tenant_id = %s ORDER BY segment_id
        """,
        [tenant_id],
    )
    return {
        row["path"]: SegmentClaim(
            row["events"],
            tuple(row["event_types"]),
            None if row["first_subjects"] is None else tuple(row["first_subjects"]),
            None if row["last_subjects"] is None else tuple(row["last_subjects"]),
            row["min_time"].replace(tzinfo=None),
            row["max_time"].replace(tzinfo=None),
        )
        for row in found
    }


def segment_contents(
    store: EventStore, path: Path
) -> list[tuple[str, int, str | None, str | None, datetime, datetime]]:
    """What is in a segment: for each type of event how many, first and last subject, first and last time."""
    cursor = store.cursor()
    try:
        return cursor.execute(
            "SELECT type, count(*), min(subject), max(subject), min(time), max(time) FROM read_parquet($1) "
            "GROUP BY type ORDER BY type",
            [str(path)],
        ).fetchall()
    finally:
        cursor.close()
