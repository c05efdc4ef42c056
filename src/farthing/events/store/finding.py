"""Where an event is: in which segments, in which quarantined bytes, in which seal. Only SQL (the books and DuckDB)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from farthing.events.ids.filter import probes
from farthing.events.ids.index import Identities
from farthing.events.store.books import Connection, Segment, segments
from farthing.events.store.duckdb import EventStore
from farthing.events.store.identities import row_identities
from farthing.events.store.identity_sql import OWN_TIME, SEGMENT_FILES
from farthing.kernel.instant import unix_microseconds

IDENTITIES_PROBED_MAX = 1_000
"""More identities at once than this are looked for in every segment: no filter would leave much out."""
SEGMENTS_AT_ONCE = 8

Identity = tuple[str, str]
"""(source, id)"""


def known_sources(conn: Connection, tenant_id: int) -> set[str]:
    """The sources that segments list."""
    found = conn.execute(
        "SELECT DISTINCT unnest(sources) AS source FROM segments WHERE tenant_id = %s", [tenant_id]
    )
    return {row["source"] for row in found}


def holding(
    conn: Connection, store: EventStore, tenant_id: int, wanted: Sequence[Identity]
) -> list[str] | None:
    """The ids of the segments that may hold one of these identities; None: any of them may.

    A filter is probed where it lies, a page of it for each place: it is not read as a whole.
    """
    if len(wanted) > IDENTITIES_PROBED_MAX:
        return None
    found = conn.execute(
        """
        SELECT segment_id FROM segments
         WHERE tenant_id = %(tenant)s
           AND (id_filter IS NULL OR EXISTS (
                SELECT FROM unnest(%(p0)s::bigint[], %(p1)s::bigint[], %(p2)s::bigint[], %(p3)s::bigint[])
                         AS probe (p0, p1, p2, p3)
                 WHERE filter_holds(id_filter, p0) AND filter_holds(id_filter, p1)
                   AND filter_holds(id_filter, p2) AND filter_holds(id_filter, p3)))
        """,
        {"tenant": tenant_id} | _probes(store, wanted),
    )
    return [row["segment_id"] for row in found]


def segments_holding(
    conn: Connection, store: EventStore, tenant_id: int, wanted: Sequence[Identity]
) -> list[Segment]:
    """The segments in force that may hold one of these identities, in the order of their ids, without voids."""
    chosen = holding(conn, store, tenant_id, wanted)
    found = segments(conn, tenant_id, with_voids=False)
    if chosen is None:
        return found
    may_hold = set(chosen)
    return [segment for segment in found if segment.segment_id in may_hold]


def identity_hashes(store: EventStore, wanted: Sequence[Identity]) -> Identities:
    """By what the id index knows events, in the order of `wanted`; their contents are zero."""
    cursor = store.cursor()
    try:
        cursor.register("wanted", _identity_table(wanted))
        return row_identities(cursor, "wanted")
    finally:
        cursor.close()


def _probes(store: EventStore, wanted: Sequence[Identity]) -> dict[str, list[int]]:
    found = identity_hashes(store, wanted)
    places = probes(found.keys, found.checks)
    return {f"p{number}": [int(place) for place in some] for number, some in enumerate(places)}


def _identity_table(wanted: Sequence[Identity]) -> pa.Table:
    return pa.table(
        {
            "source": pa.array([source for source, _ in wanted], pa.string()),
            "id": pa.array([event_id for _, event_id in wanted], pa.string()),
        }
    )


def events_of(
    store: EventStore, segments: Sequence[Segment], wanted: Sequence[Identity]
) -> list[dict[str, Any]]:
    """The events with these identities that these segments hold."""
    if not segments or not wanted:
        return []
    ids = sorted({event_id for _, event_id in wanted})
    # One id is compared while the file is read, and where ids are in order most of it is not even read.
    single = "id = ?" if len(ids) == 1 else "id IN (SELECT id FROM wanted)"
    cursor = store.cursor()
    try:
        cursor.register("wanted", _identity_table(wanted))
        return _rows(
            cursor,
            f"SELECT {_COLUMNS} FROM {SEGMENT_FILES} AS held JOIN wanted USING (source, id) WHERE {single}",
            [_files(store, segments), *(ids if len(ids) == 1 else ())],
        )
    finally:
        cursor.close()


def events_with_id(store: EventStore, segments: Sequence[Segment], event_id: str) -> list[dict[str, Any]]:
    """The events with this id, of whatever source, that these segments hold."""
    if not segments:
        return []
    cursor = store.cursor()
    try:
        statement = f"SELECT {_COLUMNS} FROM {SEGMENT_FILES} WHERE id = ? ORDER BY source"
        return _rows(cursor, statement, [_files(store, segments), event_id])
    finally:
        cursor.close()


def newest(
    store: EventStore,
    segments: Sequence[tuple[Segment, datetime]],
    *,
    subjects: Sequence[str] | None,
    event_type: str | None,
    start: datetime | None,
    end: datetime | None,
    before: tuple[int, str, str] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """The newest events by (time, source, id) that stand before a place, from segments given with their last moment.

    Segments are read from the latest on, and no further than the page needs.
    """
    conditions, values = ["TRUE"], list[object]()
    for condition, value in (
        ("subject IN (SELECT unnest(?::VARCHAR[]))", None if subjects is None else list(subjects)),
        ("type = ?", event_type),
        ("time >= make_timestamp(?)", None if start is None else unix_microseconds(start)),
        ("time < make_timestamp(?)", None if end is None else unix_microseconds(end)),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if before is not None:
        at, source, event_id = before
        conditions.append(
            "(time < make_timestamp(?) OR (time = make_timestamp(?) AND (source < ? OR (source = ? AND id < ?))))"
        )
        values += [at, at, source, source, event_id]
    found: list[dict[str, Any]] = []
    in_turn = sorted(segments, key=lambda one: one[1], reverse=True)
    cursor = store.cursor()
    try:
        for first in range(0, len(in_turn), SEGMENTS_AT_ONCE):
            if len(found) >= limit and unix_microseconds(in_turn[first][1]) < found[limit - 1]["time_us"]:
                break
            some = [segment for segment, _ in in_turn[first : first + SEGMENTS_AT_ONCE]]
            found += _rows(
                cursor,
                f"SELECT {_COLUMNS} FROM {SEGMENT_FILES} WHERE {' AND '.join(conditions)} "
                "ORDER BY time DESC, source DESC, id DESC LIMIT ?",
                [_files(store, some), *values, limit],
            )
            found = sorted(found, key=place_of, reverse=True)[:limit]
    finally:
        cursor.close()
    return found


_COLUMNS = (
    "source, id, type, subject, epoch_us(time) AS time_us, epoch_us(received_at) AS received_us, "
    f"{OWN_TIME} AS own_time, data"
)


def place_of(event: dict[str, Any]) -> tuple[int, bytes, bytes]:
    """Where an event stands in the order of (time, source, id), texts by their bytes as DuckDB compares them."""
    return event["time_us"], event["source"].encode(), event["id"].encode()


def _rows(cursor: Any, statement: str, values: Sequence[object]) -> list[dict[str, Any]]:
    found = cursor.execute(statement, values)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _files(store: EventStore, segments: Sequence[Segment]) -> list[str]:
    return [str(store.data_dir / segment.path) for segment in segments]


def quarantined_with_id(
    conn: Connection, tenant_id: int, event_id: str, source: str | None, limit: int
) -> list[dict[str, Any]]:
    """What stands in quarantine under this id, oldest first, and how it was closed."""
    if "\0" in event_id or "\0" in (
        source or ""
    ):  # PostgreSQL text cannot hold NUL, so neither can what it was told
        return []
    return conn.execute(
        """
        SELECT quarantine_id, quarantine.seal_id, source, reason, detail, origin, raw, received_at, resolution,
               resolved_at
          FROM quarantine LEFT JOIN quarantine_resolutions AS closed USING (tenant_id, quarantine_id)
         WHERE tenant_id = %(tenant)s AND event_id = %(id)s AND (%(source)s::text IS NULL OR source = %(source)s)
         ORDER BY quarantine_id LIMIT %(limit)s
        """,
        {"tenant": tenant_id, "id": event_id, "source": source, "limit": limit},
    ).fetchall()


def seals_of(
    conn: Connection, tenant_id: int, places: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """The seal that took in each place (log file, offset) of the log, where one did."""
    found = conn.execute(
        """
        SELECT place.log_file, place.log_offset, seal_id, sealed_at
          FROM unnest(%(files)s::text[], %(offsets)s::bigint[]) AS place (log_file, log_offset)
          JOIN seals ON seals.tenant_id = %(tenant)s AND seals.log_file = place.log_file
                    AND seals.log_from <= place.log_offset AND place.log_offset < seals.log_to
        """,
        {
            "tenant": tenant_id,
            "files": [log_file for log_file, _ in places],
            "offsets": [offset for _, offset in places],
        },
    )
    return {(row["log_file"], row["log_offset"]): row for row in found}


def segments_of_unlisted_sources(conn: Connection, tenant_id: int) -> set[str]:
    """The ids of the segments that do not list their sources, or have no filter."""
    found = conn.execute(
        "SELECT segment_id FROM segments WHERE tenant_id = %s AND (sources IS NULL OR id_filter IS NULL)",
        [tenant_id],
    )
    return {row["segment_id"] for row in found}
