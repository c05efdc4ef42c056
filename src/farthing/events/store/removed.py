"""What the books know about segments that were removed because they were old enough. Only SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from farthing.events.store.books import Connection


def remove_segments(conn: Connection, tenant_id: int, segment_ids: Sequence[str], now: datetime) -> int:
    """Take segments out of force for good, and remember what they held. Returns how many there were."""
    return conn.execute(
        """
        WITH gone AS (
            DELETE FROM segments WHERE tenant_id = %(tenant)s AND segment_id = ANY(%(ids)s)
            RETURNING segment_id, events, event_types, min_time, max_time
        )
        INSERT INTO removed_segments (tenant_id, segment_id, events, event_types, min_time, max_time, removed_at)
        SELECT %(tenant)s, segment_id, events, event_types, min_time, max_time, %(now)s FROM gone
        """,
        {"tenant": tenant_id, "ids": list(segment_ids), "now": now},
    ).rowcount


@dataclass(frozen=True, slots=True)
class RemovedSpan:
    """What was in a segment that was removed."""

    event_types: tuple[str, ...]
    min_time: datetime
    max_time: datetime


def removed_spans(conn: Connection, tenant_id: int) -> list[RemovedSpan]:
    """Every segment that was removed."""
    rows = conn.execute(
        "SELECT event_types, min_time, max_time FROM removed_segments WHERE tenant_id = %s", [tenant_id]
    )
    return [RemovedSpan(tuple(row["event_types"]), row["min_time"], row["max_time"]) for row in rows]


def removed_events(conn: Connection, tenant_id: int) -> int:
    """How many counted events were removed."""
    row = conn.execute(
        "SELECT coalesce(sum(events), 0)::bigint AS events FROM removed_segments WHERE tenant_id = %s",
        [tenant_id],
    ).fetchone()
    assert row is not None
    return int(row["events"])


def removed_until(
    conn: Connection, tenant_id: int, event_type: str, start: datetime, end: datetime
) -> datetime | None:
    """The time of the last removed event of a segment that may have had some of a type in [start, end)."""
    row = conn.execute(
        """
        SELECT max(max_time) AS until FROM removed_segments
         WHERE tenant_id = %s AND %s = ANY(event_types) AND max_time >= %s AND min_time < %s
        """,
        [tenant_id, event_type, start, end],
    ).fetchone()
    assert row is not None
    until: datetime | None = row["until"]
    return until
