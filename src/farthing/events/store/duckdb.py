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
from collections.abc import Callable, Collection, Iterator, Sequence
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
from farthing.events.store.plain_lines import PlainLines
from farthing.events.store.segment_file import (
    PARQUET,
    ROW_GROUP_ROWS,
    SegmentFile,
    finished_segment,
    write_table,
)

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

    def __init__(
        self, data_dir: Path, *, threads: int, memory_limit: str, verifying_threads: int | None = None
    ) -> None:
        """threads: of queries. verifying_threads: that read files for `verified`, as many where it is None."""
        self.data_dir = data_dir
        self._database = duckdb.connect(
            config={
                "threads": threads,
                "async_threads": 0,  # For files that are far away; while they wait, they have memory given back.
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
        self.verified = VerifiedFiles(data_dir, threads if verifying_threads is None else verifying_threads)

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
    plain: PlainLines | None,
) -> SegmentFile:
    """Write the counted rows of the decoded batch as a segment.

    plain: what is registered as such, see `load_lines`.
    """
    left_out = np.flatnonzero(outcomes != Outcome.COUNTED)
    if len(left_out):
        cursor.register("left_out", pa.table({"row": left_out}))
        cursor.execute("DELETE FROM general WHERE row IN (SELECT row FROM left_out)")
        cursor.unregister("left_out")
    cursor.execute(
        "CREATE OR REPLACE TEMP VIEW segment_rows AS "
        "SELECT *, make_timestamp(received_us) AS received_at FROM general"
    )
    fractions = _with_fractions(cursor, columns.numbers)
    if plain is not None:
        fractions |= plain.with_fractions(outcomes)
    general: pa.Table = cursor.sql(_segment_sql(columns, fractions)).to_arrow_table()
    if plain is None:
        write_table(general, path)
    else:
        rows = plain.segment(outcomes, fractions)
        write_table(pa.concat_tables([rows, general.cast(rows.schema)]) if len(general) else rows, path)
    return finished_segment(cursor, path, dict(_types(columns, fractions)))


def write_segment(
    cursor: duckdb.DuckDBPyConnection,
    path: Path,
    columns: TypedColumns,
    order: str = "ORDER BY type, subject, time",
) -> SegmentFile:
    """Write `segment_rows` as a segment, durable and checksummed."""
    fractions = _with_fractions(cursor, columns.numbers)
    make_directory(path.parent)
    cursor.execute(
        f"COPY ({_segment_sql(columns, fractions)} {order}) TO ? ({PARQUET}, ROW_GROUP_SIZE {ROW_GROUP_ROWS})",
        [str(path)],
    )
    return finished_segment(cursor, path, dict(_types(columns, fractions)))


def _segment_sql(columns: TypedColumns, fractions: Collection[str]) -> str:
    """`segment_rows` as a segment has them. fractions: numbers of which some have one."""
    typed = ""
    for number in columns.numbers:
        name, quick = identifier(number_column(number)), identifier(whole_column(number))
        if number in fractions:
            quick = name
        else:
            # Narrowing 128-bit decimals takes far longer than reading the odd text again.
            spelt = f"TRY_CAST({identifier(spelling_column(number))} AS {WHOLE_NUMBER})"
            quick = f"coalesce({quick}, CASE WHEN {name} IS NOT NULL THEN {spelt} END)"
        typed += f", {quick} AS {name}"
    for text in columns.texts:
        typed += f", {identifier(text_column(text))}"
    return f"SELECT source, id, type, subject, time, own_time, received_at, data{typed} FROM segment_rows"


def _types(columns: TypedColumns, fractions: Collection[str]) -> Iterator[tuple[str, str]]:
    """The typed columns of a segment and what they hold. fractions: numbers of which some have one."""
    for number in columns.numbers:
        yield number_column(number), EXACT_NUMBER if number in fractions else WHOLE_NUMBER
    for text in columns.texts:
        yield text_column(text), "VARCHAR"


def _with_fractions(cursor: duckdb.DuckDBPyConnection, numbers: Sequence[str]) -> set[str]:
    """Those of these numbers that some of `segment_rows` have with a fraction."""
    if not numbers:
        return set()
    asked = ", ".join(
        f"coalesce(bool_or({identifier(whole_column(number))} IS NULL"
        f" AND regexp_matches({identifier(spelling_column(number))}, '[.eE]')), FALSE)"
        for number in numbers
    )
    (found,) = cursor.execute(f"SELECT {asked} FROM segment_rows").fetchall()
    return {number for number, has_fraction in zip(numbers, found, strict=True) if has_fraction}
