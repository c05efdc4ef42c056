"""What the books know about events: seals, segments, id runs, quarantine, cursors, imports. Only SQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from farthing.events.store.corrections import NO_VOIDS, Voids, voided_between
from farthing.events.store.segment_file import SegmentFile
from farthing.kernel.instant import from_unix_microseconds

Connection = psycopg.Connection[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment in force: one immutable file that the event store may read.

    merge_id: the merge that made it; the segments of one follow each other in the order of type and subject.
        None: its events stand in the order of arrival.
    min_time, max_time: of its events. voids: events (source, id) that may be in it and no longer count.
    """

    segment_id: str
    path: str
    events: int
    size_bytes: int
    checksum: bytes
    event_types: tuple[str, ...]
    columns: Mapping[str, str]
    min_time: datetime
    max_time: datetime
    voids: tuple[tuple[str, str], ...] = ()
    merge_id: str | None = None


@dataclass(frozen=True, slots=True)
class RunRow:
    """An id run in force."""

    run_id: str
    path: str
    ids: int
    checksum: bytes


@dataclass(frozen=True, slots=True)
class Seal:
    """One sealed piece of one log file for one tenant, and what became of its events."""

    seal_id: str
    log_file: str
    log_from: int
    log_to: int
    accepted: int
    counted: int
    duplicate: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """An event set aside, with its bytes and the reason."""

    reason: str
    detail: str
    origin: str
    raw: bytes
    received_at: datetime


def cursor_of(conn: Connection, log_file: str) -> int:
    """How far a log file has been sealed; 0 for one not seen yet."""
    row = conn.execute("SELECT sealed_to FROM log_cursors WHERE log_file = %s", [log_file]).fetchone()
    return row["sealed_to"] if row else 0


def cursors(conn: Connection) -> dict[str, int]:
    """How far each log file has been sealed."""
    return {
        row["log_file"]: row["sealed_to"]
        for row in conn.execute("SELECT log_file, sealed_to FROM log_cursors")
    }


def move_cursor(conn: Connection, log_file: str, sealed_from: int, sealed_to: int, now: datetime) -> bool:
    """Move a cursor on. False when it was not at `sealed_from`: somebody else sealed this piece."""
    moved = conn.execute(
        """
        INSERT INTO log_cursors (log_file, sealed_to, updated_at) VALUES (%(file)s, %(to)s, %(now)s)
        ON CONFLICT (log_file) DO UPDATE SET sealed_to = excluded.sealed_to, updated_at = excluded.updated_at
         WHERE log_cursors.sealed_to = %(from)s
        """,
        {"file": log_file, "from": sealed_from, "to": sealed_to, "now": now},
    )
    return moved.rowcount == 1


def drop_cursor(conn: Connection, log_file: str) -> None:
    """Forget a log file that has been removed."""
    conn.execute("DELETE FROM log_cursors WHERE log_file = %s", [log_file])


def insert_seal(conn: Connection, tenant_id: int, seal: Seal, now: datetime) -> None:
    """Append the account of a sealed batch. The database checks that it adds up."""
    conn.execute(
        """
        INSERT INTO seals (tenant_id, seal_id, log_file, log_from, log_to, accepted, counted, duplicate, quarantined,
                           sealed_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            tenant_id,
            seal.seal_id,
            seal.log_file,
            seal.log_from,
            seal.log_to,
            seal.accepted,
            seal.counted,
            seal.duplicate,
            seal.quarantined,
            now,
        ],
    )


def insert_segment(
    conn: Connection,
    tenant_id: int,
    segment_id: str,
    path: str,
    file: SegmentFile,
    now: datetime,
    merge_id: str | None = None,
    merged_from: Sequence[str] | None = None,
) -> None:
    """Put a segment in force. merged_from: those whose events it has, where it was not sealed."""
    conn.execute(
        """
        INSERT INTO segments (tenant_id, segment_id, path, events, bytes, checksum, event_types, first_subjects,
                              last_subjects, min_time, max_time, columns, sealed_at, merge_id, sources, id_filter,
                              merged_from)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            tenant_id,
            segment_id,
            path,
            file.events,
            file.size_bytes,
            file.checksum,
            [_postgres_text(event_type) for event_type in file.event_types],
            [None if subject is None else subject.partition("\0")[0] for subject in file.first_subjects],
            [None if subject is None else _at_least(subject) for subject in file.last_subjects],
            from_unix_microseconds(file.min_time_us),
            from_unix_microseconds(file.max_time_us),
            Jsonb(file.columns),
            now,
            merge_id,
            None if file.sources is None else list(file.sources),
            file.id_filter or None,
            None if merged_from is None else list(merged_from),
        ],
    )


def _at_least(subject: str) -> str:
    """The subject, or where PostgreSQL cannot hold it a text that sorts behind it."""
    before, nul, _ = subject.partition("\0")
    return before + "\U0010ffff" if nul else subject


def _postgres_text(text: str) -> str:
    """PostgreSQL text cannot hold NUL; no meter's event type has one either."""
    return text.replace("\0", "\ufffd")


def delete_segments(conn: Connection, tenant_id: int, segment_ids: Sequence[str]) -> int:
    """Take segments out of force, because others hold their events. Returns how many there were."""
    return conn.execute(
        "DELETE FROM segments WHERE tenant_id = %s AND segment_id = ANY(%s)", [tenant_id, list(segment_ids)]
    ).rowcount


def segments(
    conn: Connection,
    tenant_id: int,
    *,
    event_type: str | None = None,
    subjects: Sequence[str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    sealed_from: datetime | None = None,
    ended_before: datetime | None = None,
    lacking: Sequence[str] | None = None,
    among: Sequence[str] | None = None,
    with_voids: bool = True,
) -> list[Segment]:
    """The segments in force that may hold events of a type, of these subjects (with a type only), in [start, end).

    In the order of their ids. Each says which of its events no longer count (`voids`): whoever computes from it
    leaves them out.

    sealed_from: only those that were sealed from that moment on.
    ended_before: only those whose every event has an earlier time.
    lacking: only those that have not all of these typed columns.
    among: only those with these ids.
    with_voids: whoever computes nothing from them needs no voids, and saves reading them.
    """
    rows = conn.execute(
        """
        SELECT segment_id, path, events, bytes, checksum, event_types, columns, min_time, max_time, merge_id
          FROM segments
         WHERE tenant_id = %(tenant)s
           AND (%(type)s::text IS NULL OR %(type)s = ANY(event_types))
           AND (%(start)s::timestamptz IS NULL OR max_time >= %(start)s)
           AND (%(end)s::timestamptz IS NULL OR min_time < %(end)s)
           AND (%(sealed_from)s::timestamptz IS NULL OR sealed_at >= %(sealed_from)s)
           AND (%(before)s::timestamptz IS NULL OR max_time < %(before)s)
           AND (%(among)s::text[] IS NULL OR segment_id = ANY(%(among)s))
           AND (%(lacking)s::text[] IS NULL OR NOT jsonb_exists_all(columns, %(lacking)s))
           AND (%(subjects)s::text[] IS NULL OR first_subjects IS NULL OR EXISTS (
                SELECT FROM unnest(event_types, first_subjects, last_subjects) AS held (type, lowest, highest)
                  JOIN unnest(%(subjects)s::text[]) AS asked (subject)
                    ON asked.subject COLLATE "C" >= held.lowest AND asked.subject COLLATE "C" <= held.highest
                 WHERE held.type = %(type)s))
         ORDER BY segment_id
        """,
        {
            "tenant": tenant_id,
            "type": event_type,
            "subjects": None if subjects is None else list(subjects),
            "start": start,
            "end": end,
            "sealed_from": sealed_from,
            "before": ended_before,
            "lacking": None if lacking is None else list(lacking),
            "among": None if among is None else list(among),
        },
    ).fetchall()
    voids = voided_between(conn, tenant_id, event_type, start, end) if rows and with_voids else NO_VOIDS
    return [_segment(row, voids) for row in rows]


def _segment(row: dict[str, Any], voids: Voids) -> Segment:
    return Segment(
        row["segment_id"],
        row["path"],
        row["events"],
        row["bytes"],
        row["checksum"],
        tuple(row["event_types"]),
        row["columns"],
        row["min_time"],
        row["max_time"],
        voids.within(row["min_time"], row["max_time"]),
        row["merge_id"],
    )


def insert_run(conn: Connection, tenant_id: int, run: RunRow, now: datetime) -> None:
    """Put an id run in force."""
    conn.execute(
        "INSERT INTO id_runs (tenant_id, run_id, path, ids, checksum, created_at) VALUES (%s, %s, %s, %s, %s, %s)",
        [tenant_id, run.run_id, run.path, run.ids, run.checksum, now],
    )


def delete_runs(conn: Connection, tenant_id: int, run_ids: Sequence[str]) -> int:
    """Take id runs out of force. Returns how many there were."""
    return conn.execute(
        "DELETE FROM id_runs WHERE tenant_id = %s AND run_id = ANY(%s)", [tenant_id, list(run_ids)]
    ).rowcount


def id_runs(conn: Connection, tenant_id: int) -> list[RunRow]:
    """The id runs in force."""
    rows = conn.execute(
        "SELECT run_id, path, ids, checksum FROM id_runs WHERE tenant_id = %s ORDER BY run_id", [tenant_id]
    )
    return [RunRow(row["run_id"], row["path"], row["ids"], row["checksum"]) for row in rows]


def insert_quarantine(
    conn: Connection, tenant_id: int, seal_id: str, entries: Sequence[QuarantineEntry]
) -> None:
    """Set events aside."""
    conn.execute(
        """
        INSERT INTO quarantine (tenant_id, seal_id, reason, detail, origin, raw, received_at)
        SELECT %s, %s, entry.* FROM unnest(%s::text[], %s::text[], %s::text[], %s::bytea[], %s::timestamptz[]) AS entry
        """,
        [
            tenant_id,
            seal_id,
            [entry.reason for entry in entries],
            [_postgres_text(entry.detail) for entry in entries],
            [_postgres_text(entry.origin) for entry in entries],
            [entry.raw for entry in entries],
            [entry.received_at for entry in entries],
        ],
    )


def quarantine_reasons(
    conn: Connection, tenant_id: int, log_files: Collection[str] | None = None
) -> dict[str, int]:
    """How many events stand in quarantine for each reason, of all or of these log files."""
    rows = conn.execute(
        """
        SELECT reason, count(*) AS events FROM quarantine JOIN seals USING (tenant_id, seal_id)
         WHERE tenant_id = %(tenant)s AND (%(files)s::text[] IS NULL OR log_file = ANY(%(files)s))
         GROUP BY reason ORDER BY reason
        """,
        {"tenant": tenant_id, "files": None if log_files is None else list(log_files)},
    )
    return {row["reason"]: row["events"] for row in rows}


def tally(conn: Connection, tenant_id: int, log_files: Collection[str] | None = None) -> dict[str, int]:
    """What sealed batches accepted, and what became of it: of all of them, or of these log files."""
    row = conn.execute(
        """
        SELECT coalesce(sum(accepted), 0)::bigint AS accepted, coalesce(sum(counted), 0)::bigint AS counted,
               coalesce(sum(duplicate), 0)::bigint AS duplicate, coalesce(sum(quarantined), 0)::bigint AS quarantined
          FROM seals
         WHERE tenant_id = %(tenant)s AND (%(files)s::text[] IS NULL OR log_file = ANY(%(files)s))
        """,
        {"tenant": tenant_id, "files": None if log_files is None else list(log_files)},
    ).fetchone()
    assert row is not None
    return dict(row)


def put_import(
    conn: Connection, tenant_id: int, file_key: str, read_to: int, complete: bool, now: datetime
) -> None:
    """Remember how far a file has been read."""
    conn.execute(
        """
        INSERT INTO imports (tenant_id, file_key, read_to, complete, updated_at) VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (tenant_id, file_key)
        DO UPDATE SET read_to = excluded.read_to, complete = excluded.complete, updated_at = excluded.updated_at
        """,
        [tenant_id, file_key, read_to, complete, now],
    )


def import_progress(conn: Connection, tenant_id: int, file_key: str) -> tuple[int, bool]:
    """How far a file has been read, and whether to its end."""
    row = conn.execute(
        "SELECT read_to, complete FROM imports WHERE tenant_id = %s AND file_key = %s", [tenant_id, file_key]
    ).fetchone()
    return (row["read_to"], row["complete"]) if row else (0, False)
