"""Segments in Parquet, decoded and queried in columns by DuckDB.

A segment is one immutable file of one tenant's events; sealed about in the order of arrival, sorted by type,
subject and time when it is rewritten:

    source, id, type, subject, time, received_at     the envelope; an event without a time has that of its receipt
    own_time                                         whether it said its time itself
    data                                             the bytes that the client wrote
    num:<path>                                       DECIMAL(18,0) where all are whole, else DECIMAL(38,12)
    dim:<path>                                       text
"""

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import duckdb
import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa

from farthing.events.ids.deduplicate import Outcome
from farthing.events.log.files import make_directory
from farthing.events.sealing.typed_columns import (
    TypedColumns,
    number_column,
    spelling_column,
    text_column,
    whole_column,
)
from farthing.events.segments.verified import VerifiedFiles
from farthing.events.store.identity_sql import HASH_MACROS
from farthing.events.store.meter_sql import (
    EXACT_NUMBER,
    MACROS,
    WHOLE_NUMBER,
    identifier,
)
from farthing.events.store.plain_lines import with_outcomes
from farthing.events.store.segment_file import SegmentFile, seal_file, segment_facts, segment_sources

if TYPE_CHECKING:
    from farthing.events.sealing.seal import SealedBatch


_stores = itertools.count()
"""Several stores of one process write what does not fit into memory to places of their own."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """How far an event's time may lie from its receipt before it is quarantined."""

    too_late_seconds: int
    too_early_seconds: int


@dataclass(frozen=True, slots=True)
class FaultyEvent:
    """An event that goes to quarantine: its line in the batch, why, and where in it."""

    row: int
    reason: str
    detail: str
    line: bytes
    received_us: int


class BesideSealing(Protocol):
    """What else becomes true with sealed batches. Called for the batches of a tenant that are committed together, in
    the order of the log, once they are written; what it gives back is called in the transaction that commits them,
    with their tenant bound."""

    def __call__(
        self, batches: "Sequence[SealedBatch]", now: datetime
    ) -> "Callable[[psycopg.Connection[dict[str, Any]]], None]":
        """Reckon what the batches bring about."""


class EventStore:
    """One DuckDB database in memory whose tables are files below the data directory.

    beside_sealing: what else belongs into the transaction that makes a batch count (law 4), whoever seals. The
        composition root says what; rooms that come later in the journey than this one know.
    """

    def __init__(self, data_dir: Path, *, threads: int, memory_limit: str) -> None:
        self.data_dir = data_dir
        self._database = duckdb.connect(
            config={
                "threads": threads,
                "memory_limit": memory_limit,
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "temp_directory": str(data_dir / "tmp" / f"{os.getpid()}-{next(_stores)}"),
            }
        )
        self._database.execute("SET TimeZone = 'UTC'")
        self._database.execute("SET parquet_metadata_cache = true")  # segments never change
        for macro in (*MACROS, *HASH_MACROS):
            self._database.execute(macro)
        self._lock = threading.Lock()
        self.beside_sealing: BesideSealing | None = None
        self.verified = VerifiedFiles(data_dir, threads)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own, with its own temporary tables. Close it after use."""
        with self._lock:
            cursor = self._database.cursor()
        cursor.execute("SET TimeZone = 'UTC'")
        return cursor

    def close(self) -> None:
        """Let everything go."""
        self._database.close()


# -------------------------------------------------------------------------------------------------
# From a decoded batch to a segment


def faulty_events(cursor: duckdb.DuckDBPyConnection, outcomes: npt.NDArray[np.uint8]) -> list[FaultyEvent]:
    """The events of the batch that go to quarantine, in log order."""
    rows = np.flatnonzero((outcomes == Outcome.FAULTY) | (outcomes == Outcome.CONFLICT))
    if not len(rows):
        return []
    cursor.register("wanted", pa.table({"row": rows}))
    found = cursor.execute(
        """
        SELECT row, coalesce(fault, 'conflict|another event with the same source and id was counted before'), line,
               received_us
          FROM wanted JOIN lines USING (row) LEFT JOIN faults USING (row) ORDER BY row
        """
    ).fetchall()
    cursor.unregister("wanted")
    events = []
    for row, fault, line, received_us in found:
        reason, _, detail = fault.partition("|")
        events.append(FaultyEvent(row, reason, detail, line.rstrip("\n").encode(), received_us))
    return events


def write_counted(
    cursor: duckdb.DuckDBPyConnection,
    path: Path,
    columns: TypedColumns,
    outcomes: npt.NDArray[np.uint8],
    plain: pa.Table,
) -> SegmentFile:
    """Write the counted rows of the decoded batch as a segment. The others are taken out of it.

    plain: what is registered as such, see `load_lines`.
    """
    left_out = np.flatnonzero(outcomes != Outcome.COUNTED)
    if len(left_out):
        # Rows that are marked as deleted, or by their outcome, cost nothing to skip; a join in the way of all others
        # costs as much as half of the writing.
        cursor.register("left_out", pa.table({"row": left_out}))
        cursor.execute("DELETE FROM general WHERE row IN (SELECT row FROM left_out)")
        cursor.unregister("left_out")
        cursor.register("plain", with_outcomes(plain, outcomes))
    cursor.execute(
        "CREATE OR REPLACE TEMP VIEW segment_rows AS "
        "SELECT *, make_timestamp(received_us) AS received_at FROM decoded"
    )
    return write_segment(cursor, path, columns, order="")


def write_segment(
    cursor: duckdb.DuckDBPyConnection,
    path: Path,
    columns: TypedColumns,
    order: str = "ORDER BY type, subject, time",
) -> SegmentFile:
    """Write `segment_rows` as a segment, durable and checksummed."""
    raws = [identifier(spelling_column(numeric)) for numeric in columns.numbers]
    wholes = [identifier(whole_column(numeric)) for numeric in columns.numbers]
    fractions = [
        f"{whole} IS NULL AND regexp_matches({raw}, '[.eE]')" for raw, whole in zip(raws, wholes, strict=True)
    ]
    facts = segment_facts(cursor, "segment_rows", whether=fractions)
    types: dict[str, str] = {}
    typed = ""
    for numeric, raw, whole, has_fraction in zip(columns.numbers, raws, wholes, facts.whether, strict=True):
        name = number_column(numeric)
        types[name] = EXACT_NUMBER if has_fraction else WHOLE_NUMBER
        # Narrowing 128-bit decimals takes far longer than reading the odd text again.
        spelt = f"CASE WHEN {identifier(name)} IS NOT NULL THEN TRY_CAST({raw} AS {WHOLE_NUMBER}) END"
        typed += (
            f", {identifier(name) if has_fraction else f'coalesce({whole}, {spelt})'} AS {identifier(name)}"
        )
    for text in columns.texts:
        types[text_column(text)] = "VARCHAR"
        typed += f", {identifier(text_column(text))}"
    make_directory(path.parent)
    cursor.execute(
        f"""
        COPY (SELECT source, id, type, subject, time, own_time, received_at, data{typed}
                FROM segment_rows {order})
          TO ? (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 100000)
        """,
        [str(path)],
    )
    size, checksum = seal_file(path)
    return facts.file(size, checksum, types, segment_sources(cursor, "segment_rows"))
