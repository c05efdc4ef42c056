"""Erased customers' events: in the books, in a decoded batch, in segments. Only SQL (the books and DuckDB)."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from farthing.events.erasing.erased import (
    ERASED_SOURCE,
    ERASED_SUBJECT,
    FINGERPRINT_CHARACTERS,
    fingerprint_id,
    subject_hash,
)
from farthing.events.log.files import make_directory
from farthing.events.sealing.typed_columns import TypedColumns, text_column
from farthing.events.store.books import Connection
from farthing.events.store.duckdb import EventStore
from farthing.events.store.identities import row_identities
from farthing.events.store.identity_sql import OWN_TIME, SEGMENT_FILES
from farthing.events.store.merging import ROW_GROUP_EVENTS
from farthing.events.store.meter_sql import identifier
from farthing.events.store.segment_file import PARQUET, SegmentFile, finished_segment

Identity = tuple[str, str]
"""(source, id)"""


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event of the customer in a segment. row: its place in the file. key, check: as the id index has them."""

    row: int
    source: str
    event_id: str
    event_type: str
    data: str
    key: int
    check: int

    @property
    def identity(self) -> Identity:
        return self.source, self.event_id


@dataclass(frozen=True, slots=True)
class LeftEvent:
    """What is left of it. texts: of each text column of the segment."""

    row: int
    event_id: str
    event_type: str
    data: str
    texts: Sequence[str | None]


# -------------------------------------------------------------------------------------------------
# The books


def erased_subject_hashes(conn: Connection, tenant_id: int) -> frozenset[bytes]:
    """By what the subjects of erased customers are known."""
    found = conn.execute("SELECT subject_hash FROM erased_subjects WHERE tenant_id = %s", [tenant_id])
    return frozenset(bytes(row["subject_hash"]) for row in found)


def corrections_touching(conn: Connection, tenant_id: int, subjects: Sequence[str]) -> set[Identity]:
    """The events, of whatever subject, that correct events of these subjects."""
    found = conn.execute(
        """
        SELECT c.source, c.event_id FROM event_corrections c
          JOIN voided_events v ON v.tenant_id = c.tenant_id AND v.correction_id = c.correction_id
         WHERE c.tenant_id = %s AND v.subject = ANY(%s) AND c.source <> %s
        """,
        [tenant_id, list(subjects), ERASED_SOURCE],
    )
    return {(row["source"], row["event_id"]) for row in found}


def corrected_or_correcting(conn: Connection, tenant_id: int) -> set[Identity]:
    """Every event that a correction names, or is."""
    found = conn.execute(
        """
        SELECT source, event_id FROM event_corrections WHERE tenant_id = %(tenant)s
         UNION SELECT target_source, target_id FROM event_corrections WHERE tenant_id = %(tenant)s
        """,
        {"tenant": tenant_id},
    )
    return {(row["source"], row["event_id"]) for row in found}


def erased_targets(conn: Connection, tenant_id: int) -> frozenset[str]:
    """The fingerprints of erased events that were corrected."""
    found = conn.execute(
        "SELECT target_id FROM event_corrections WHERE tenant_id = %s AND target_source = %s",
        [tenant_id, ERASED_SOURCE],
    )
    return frozenset(row["target_id"][:FINGERPRINT_CHARACTERS] for row in found)


def fingerprint(store: EventStore, identity: Identity) -> str:
    """By what an event is known once it is erased, content aside."""
    cursor = store.cursor()
    try:
        cursor.register("one", pa.table({"source": [identity[0]], "id": [identity[1]]}))
        found = row_identities(cursor, "one")
    finally:
        cursor.close()
    return fingerprint_id(int(found.keys[0]), int(found.checks[0]), 0)[:FINGERPRINT_CHARACTERS]


def rename_in_corrections(
    conn: Connection, tenant_id: int, pseudonym: str, renamed: Mapping[Identity, tuple[str, str]]
) -> None:
    """Let corrections speak of erased events by what is left of them (id, type). In an erasing transaction only."""
    if not renamed:
        return
    given = {
        "tenant": tenant_id,
        "erased": ERASED_SOURCE,
        "pseudonym": pseudonym,
        "sources": [source for source, _ in renamed],
        "ids": [event_id for _, event_id in renamed],
        "new_ids": [event_id for event_id, _ in renamed.values()],
        "types": [event_type for _, event_type in renamed.values()],
    }
    events = """
        (SELECT * FROM unnest(%(sources)s::text[], %(ids)s::text[], %(new_ids)s::text[], %(types)s::text[])
             AS one (source, id, new_id, type)) AS e
    """
    for statement in (
        f"""UPDATE event_corrections c SET source = %(erased)s, event_id = e.new_id, reason = '' FROM {events}
             WHERE c.tenant_id = %(tenant)s AND c.source = e.source AND c.event_id = e.id""",
        f"""UPDATE event_corrections c SET target_source = %(erased)s, target_id = e.new_id FROM {events}
             WHERE c.tenant_id = %(tenant)s AND c.target_source = e.source AND c.target_id = e.id""",
        f"""UPDATE voided_events v SET source = %(erased)s, event_id = e.new_id, event_type = e.type,
                   subject = CASE WHEN v.subject IS NOT NULL THEN %(pseudonym)s END FROM {events}
             WHERE v.tenant_id = %(tenant)s AND v.source = e.source AND v.event_id = e.id""",
    ):
        conn.execute(statement.encode(), given)


# -------------------------------------------------------------------------------------------------
# A decoded batch


def put_out_erased(
    cursor: duckdb.DuckDBPyConnection, hashes: Collection[bytes], secret: bytes, tenant_id: int
) -> None:
    """Let no event of an erased subject count: each has this fault, and no other that would quote it."""
    if not hashes:
        return
    subjects = cursor.execute("SELECT DISTINCT subject FROM decoded WHERE subject IS NOT NULL").fetchall()
    erased = [subject for (subject,) in subjects if subject_hash(secret, tenant_id, subject) in hashes]
    if not erased:
        return
    cursor.register("erased", pa.table({"subject": pa.array(erased, pa.string())}))
    cursor.execute(
        "CREATE OR REPLACE TEMP TABLE put_out AS SELECT row FROM decoded JOIN erased USING (subject)"
    )
    cursor.unregister("erased")
    cursor.execute("DELETE FROM faults WHERE row IN (SELECT row FROM put_out)")
    cursor.execute(
        "INSERT INTO faults SELECT row, ? FROM put_out", [f"{ERASED_SUBJECT}|the customer was erased"]
    )
    cursor.execute("DROP TABLE put_out")


# -------------------------------------------------------------------------------------------------
# Segments


def files_holding(
    cursor: duckdb.DuckDBPyConnection,
    paths: Sequence[Path],
    subjects: Sequence[str],
    also: Collection[Identity],
) -> set[str]:
    """The files that hold an event of these subjects, or one of these events."""
    _register(cursor, subjects, also)
    found = cursor.execute(
        f"SELECT DISTINCT filename FROM read_parquet(?, filename = true, union_by_name = true) WHERE {_WANTED}",
        [[str(path) for path in paths]],
    ).fetchall()
    return {name for (name,) in found}


def held_events(
    cursor: duckdb.DuckDBPyConnection, path: Path, subjects: Sequence[str], also: Collection[Identity]
) -> Iterator[list[HeldEvent]]:
    """The events of these subjects, and these events, that a segment holds; so many at a time."""
    _register(cursor, subjects, also)
    found = cursor.execute(
        f"""
        SELECT file_row_number, source, id, type, data, (identity >> 64)::UBIGINT,
               (identity & 18446744073709551615::UHUGEINT)::UBIGINT
          FROM (SELECT *, held_identity(source, id) AS identity FROM read_parquet(?, file_row_number = true))
         WHERE {_WANTED}
        """,
        [str(path)],
    )
    while some := found.fetchmany(_EVENTS_AT_ONCE):
        yield [HeldEvent(*row) for row in some]


_EVENTS_AT_ONCE = 50_000
# A join on a list of subjects that is given as a table passes over pages by their statistics.
_WANTED = """
    NOT is_erased(source) AND (subject IN (SELECT subject FROM person_subjects)
                               OR (source, id) IN (SELECT (source, id) FROM person_events))
"""


def _register(cursor: duckdb.DuckDBPyConnection, subjects: Sequence[str], also: Collection[Identity]) -> None:
    cursor.register("person_subjects", pa.table({"subject": pa.array(subjects, pa.string())}))
    cursor.register(
        "person_events",
        pa.table(
            {
                "source": pa.array([source for source, _ in also], pa.string()),
                "id": pa.array([event_id for _, event_id in also], pa.string()),
            }
        ),
    )


def shared_words(
    cursor: duckdb.DuckDBPyConnection,
    segments: Sequence[tuple[Path, Collection[str]]],
    texts: Sequence[str],
    subjects: Sequence[str],
) -> set[str]:
    """The types and texts in events of these subjects that events of others have, too.

    segments: each file with its columns. texts: paths of text columns.
    """
    _register(cursor, subjects, ())
    person = "coalesce(subject IN (SELECT subject FROM person_subjects), FALSE)"
    shared: set[str] = set()
    for column in ("type", *map(text_column, texts)):
        files = [str(path) for path, columns in segments if column == "type" or column in columns]
        if files:
            found = cursor.execute(
                f"""
                SELECT word FROM (SELECT {identifier(column)} AS word, {person} AS own
                                    FROM read_parquet(?, union_by_name = true) WHERE NOT is_erased(source))
                 WHERE word IS NOT NULL GROUP BY word HAVING bool_or(own) AND bool_or(NOT own)
                """,
                [files],
            ).fetchall()
            shared |= {word for (word,) in found}
    return shared


def write_without(
    cursor: duckdb.DuckDBPyConnection,
    source: Path,
    target: Path,
    columns: Mapping[str, str],
    wanted: TypedColumns,
    pseudonym: str,
    left: Iterable[Sequence[LeftEvent]],
) -> SegmentFile:
    """Write a segment anew, with what is left of some of its events. Numbers are taken over as they stand."""
    texts = [text_column(path) for path in wanted.texts if text_column(path) in columns]
    _load_left(cursor, left, len(texts))
    gone = "left_row IS NOT NULL"
    typed = ""
    for name, kind in columns.items():
        quoted = identifier(name)
        value = (
            quoted
            if name not in texts
            else f"CASE WHEN {gone} THEN left_text_{texts.index(name)} ELSE {quoted} END"
        )
        typed += f", {value}::{kind} AS {quoted}"
    make_directory(target.parent)
    files = SEGMENT_FILES.replace("read_parquet(?", "read_parquet(?, file_row_number = true")
    cursor.execute(
        f"""
        COPY (SELECT CASE WHEN {gone} THEN '{ERASED_SOURCE}' ELSE source END AS source,
                     CASE WHEN {gone} THEN left_id ELSE id END AS id,
                     CASE WHEN {gone} THEN left_type ELSE type END AS type,
                     CASE WHEN {gone} AND subject IS NOT NULL THEN ? ELSE subject END AS subject,
                     time, {OWN_TIME} AS own_time, received_at,
                     CASE WHEN {gone} THEN left_data ELSE data END AS data{typed}
                FROM {files} AS held LEFT JOIN left_events ON left_row = file_row_number
               ORDER BY 3, 4 NULLS FIRST, time)
          TO ? ({PARQUET}, ROW_GROUP_SIZE {ROW_GROUP_EVENTS})
        """,
        [pseudonym, [str(source)], str(target)],
    )
    cursor.execute("DROP TABLE left_events")
    return finished_segment(cursor, target, columns)


def _load_left(cursor: duckdb.DuckDBPyConnection, left: Iterable[Sequence[LeftEvent]], texts: int) -> None:
    """Make the table `left_events`."""
    names = ["left_id", "left_type", "left_data", *(f"left_text_{place}" for place in range(texts))]
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE left_events (left_row BIGINT, {', '.join(f'{name} VARCHAR' for name in names)})"
    )
    for some in left:
        rows = [(one.event_id, one.event_type, one.data, *one.texts) for one in some]
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        cursor.register(
            "some_left",
            pa.table(
                {"left_row": pa.array([one.row for one in some], pa.int64())}
                | {name: pa.array(column, pa.string()) for name, column in columns.items()}
            ),
        )
        cursor.execute("INSERT INTO left_events SELECT * FROM some_left")
        cursor.unregister("some_left")
