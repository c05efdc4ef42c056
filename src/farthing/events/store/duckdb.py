"""Segments in Parquet, decoded and queried in columns by DuckDB.

A segment is one immutable file of one tenant's events; sealed in the order of arrival, sorted by type,
subject and time when it is rewritten:

    source, id, type, subject, time, received_at     the envelope; an event without a time has that of its receipt
    own_time                                         whether it said its time itself
    data                                             the bytes that the client wrote
    num:<path>                                       DECIMAL(18,0) where all are whole, else DECIMAL(38,12)
    dim:<path>                                       text

JSON numbers are read by DuckDB through binary floating point, which keeps 15 digits, and spelt anew. An
event whose number or text would change by that is found by its spelling and read again exactly
(`_read_again`); no float stands between an event and a quantity.
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

from farthing.catalog.event_data import (
    NUMBER_DIGITS_AFTER_POINT_MAX,
    NUMBER_DIGITS_BEFORE_POINT_MAX,
    at_path,
    number_of,
    read_data,
    text_of,
)
from farthing.catalog.expression import paths
from farthing.catalog.model import Aggregation, Meter
from farthing.events.erasing.erased import RESERVED_SOURCE
from farthing.events.ids.deduplicate import Outcome
from farthing.events.log.files import make_directory
from farthing.events.sealing.typed_columns import (
    TypedColumns,
    number_column,
    spelling_column,
    text_column,
    value_paths,
    whole_column,
)
from farthing.events.segments.verified import VerifiedFiles
from farthing.events.store.correcting import find_corrections
from farthing.events.store.identity_sql import HASH_MACROS, OWN_TIME, SEGMENT_FILES
from farthing.events.store.meter_sql import (
    EXACT_NUMBER,
    MACROS,
    WHOLE_NUMBER,
    Bound,
    filter_sql,
    identifier,
    value_sql,
)
from farthing.events.store.segment_file import SegmentFile, seal_file, segment_facts, segment_sources

if TYPE_CHECKING:
    from farthing.events.sealing.seal import SealedBatch


_PLAIN_NUMBER = r"-?[0-9]{1,18}(\.[0-9]{1,12})?"
# How a JSON number begins (behind a colon, comma, bracket or white space), and how one goes on that does
# not survive a double: with more than 15 digits, more than 12 after the point, or an exponent.
_BEGINS = r"[:,\[\s]-?[0-9]"
_LONG = r"[0-9.]{15}|[0-9]*\.[0-9]{13}|[0-9.]*[eE]"
_LONG_NUMBER = rf"{_BEGINS}({_LONG})"
# One that is spelt otherwise once it was read: also with zeros at its end, very small, or -0.
_RESPELT_NUMBER = rf"{_BEGINS}({_LONG}|[0-9]*\.[0-9]+0([^0-9]|$)|\.0000)|[:,\[\s]-0([^0-9.]|$)"
# The text that DuckDB gives for a number that is not a plain whole one, and for an object or a list.
_FRACTION_TEXT = r"-?[0-9]*\.[0-9]+(e[-+]?[0-9]+)?|-?[0-9]+e[-+]?[0-9]+|0"
_NESTED_TEXT = r"^[\[{]"
# A text that is neither of these by its first character: no digit, point, sign or opening bracket.
_PLAIN_TEXT = r"({0} < '-' OR {0} >= ':' AND {0} < '[' OR {0} >= '\' AND {0} < '{{' OR {0} >= '|')"
# What stands before an event's data in its line: attributes come in one order, and data is the last.
_BEFORE_DATA = """',"data":'"""


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
    """What else becomes true with a sealed batch. Called once the batch is written, before it is committed; what it
    gives back is called in the transaction that commits the batch, with its tenant bound."""

    def __call__(
        self, batch: "SealedBatch", now: datetime
    ) -> "Callable[[psycopg.Connection[dict[str, Any]]], None]":
        """Reckon what the batch brings about."""


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
# From lines to a decoded batch


def decode(
    cursor: duckdb.DuckDBPyConnection,
    columns: TypedColumns,
    meters: Sequence[Meter],
    lateness: Lateness,
) -> bool:
    """Make the table `decoded` from `lines`: envelope, hashes and typed columns; and `faults` beside it.

    True where some of the events correct other events; they are listed in `correcting`.

    A line that is no JSON at all has every column NULL but `row` and `received_us`.
    """
    try:
        _decode_lines(cursor, columns, "TRUE", "json_extract_string(line, ?)")
    except duckdb.InvalidInputException:
        # A line that the door took for JSON and DuckDB does not (half a surrogate pair, say): find out which.
        guarded = "CASE WHEN json_valid(line) THEN json_extract_string(line, ?) END"
        _decode_lines(cursor, columns, "json_valid(line)", guarded)
    _read_again(cursor, "decoded", columns)
    corrections = find_corrections(cursor)
    _find_faults(cursor, meters, lateness)
    return corrections


def _decode_lines(cursor: duckdb.DuckDBPyConnection, columns: TypedColumns, valid: str, found: str) -> None:
    envelope = ("id", "source", "type", "subject", "time", "corrects")
    cursor.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE decoded AS
        WITH read AS (
            SELECT row, received_us, line, {valid} AS valid, {found} AS found,
                   string_split(shifted, {_BEFORE_DATA}) AS parts
              FROM lines
        ), cut AS (
            SELECT row, received_us, valid, found, epoch_us(TRY_CAST(found[5] AS TIMESTAMPTZ)) AS own_us,
                   CASE WHEN len(parts) = 2 THEN parts[2]
                        -- An object in data has a member of that name as well: the first one is the event's.
                        ELSE line[instr(line, {_BEFORE_DATA}) + 8 : -3] END AS data
                   {_rounded_sql(columns, len(envelope))}
              FROM read
        )
        SELECT row, received_us, valid, data, found[1] AS id, found[2] AS source, found[3] AS type,
               found[4] AS subject, found[6] IS NOT NULL AS corrects, {_typed_sql(columns, len(envelope))},
               make_timestamp(coalesce(own_us, received_us)) AS time, own_us IS NOT NULL AS own_time,
               event_identity(found[2], found[1]) AS identity,
               event_content(found[3], found[4], own_us, data) AS content
          FROM cut
        """,
        [[json_path(path) for path in (*envelope, *columns.numbers, *columns.texts)]],
    )


def reread(cursor: duckdb.DuckDBPyConnection, paths: Sequence[Path], columns: TypedColumns) -> None:
    """Make the table `segment_rows` from segments in force, with these typed columns taken from `data` anew."""
    cursor.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE segment_rows AS
        WITH members AS (
            SELECT source, id, type, subject, time, {OWN_TIME} AS own_time, received_at, data,
                   json_extract_string('{{"data":' || data || '}}', ?) AS found
              FROM {SEGMENT_FILES}
        ), cut AS (SELECT *{_rounded_sql(columns, 0)} FROM members)
        SELECT row_number() OVER () AS row, source, id, type, subject, time, own_time, received_at, data,
               {_typed_sql(columns, 0)}
          FROM cut
        """,
        [
            [json_path(path) for path in (*columns.numbers, *columns.texts)],
            [str(path) for path in paths],
        ],
    )
    _read_again(cursor, "segment_rows", columns)


def _rounded_sql(columns: TypedColumns, skipped: int) -> str:
    """Columns `rounded_1` and so on: what is a number among those of the list `found`, made whole."""
    return "".join(
        f", TRY_CAST(found[{skipped + place}] AS {WHOLE_NUMBER}) AS rounded_{place}"
        for place in range(1, len(columns.numbers) + 1)
    )


def _typed_sql(columns: TypedColumns, skipped: int) -> str:
    """The typed columns out of the lists `found`, whose first `skipped` members are something else, and the `rounded`.

    `found` holds a string's content, the spelling of any other value, and NULL for null and for what
    is absent. Nearly every number is whole and spelt as DuckDB would spell it: that is seen without a pattern.
    """
    first_text = skipped + len(columns.numbers) + 1
    numbers = [f"found[{place}]" for place in range(skipped + 1, first_text)]
    texts = [f"found[{place}]" for place in range(first_text, first_text + len(columns.texts))]
    typed = []
    for place, (path, found) in enumerate(zip(columns.numbers, numbers, strict=True), start=1):
        whole = identifier(whole_column(path))
        plain = f"WHEN regexp_full_match({found}, '{_PLAIN_NUMBER}') THEN {found}::{EXACT_NUMBER}"
        number = f"CASE WHEN {whole} IS NOT NULL THEN {whole}::{EXACT_NUMBER} {plain} END"
        typed += [
            f"CASE WHEN rounded_{place}::VARCHAR = {found} THEN rounded_{place} END AS {whole}",
            f"{number} AS {identifier(number_column(path))}",
            f"{found} AS {identifier(spelling_column(path))}",
        ]
    typed += [
        f"{found} AS {identifier(text_column(path))}"
        for path, found in zip(columns.texts, texts, strict=True)
    ]
    wholes = [identifier(whole_column(path)) for path in columns.numbers]
    return ", ".join([*typed, f"{_suspicious_sql(wholes, numbers, texts)} AS suspicious"])


def _suspicious_sql(wholes: Sequence[str], numbers: Sequence[str], texts: Sequence[str]) -> str:
    """Whether a value may have changed on its way through a double. Whole numbers are read as integers."""
    plain = [
        f"({whole} IS NOT NULL OR {found} IS NULL)" for whole, found in zip(wholes, numbers, strict=True)
    ]
    plain += [f"coalesce({_PLAIN_TEXT.format(found)}, TRUE)" for found in texts]
    if not plain:
        return "FALSE"
    cases = [
        f"WHEN {' AND '.join(plain)} THEN FALSE",
        *(f"WHEN contains({found}, 'e') THEN TRUE" for found in numbers),
        *(f"WHEN regexp_matches({found}, '{_NESTED_TEXT}') THEN TRUE" for found in texts),
    ]
    fractions = [f"contains({found}, '.')" for found in numbers]
    respelt = [f"regexp_full_match({found}, '{_FRACTION_TEXT}')" for found in texts]
    for spelt, pattern in ((fractions, _LONG_NUMBER), (respelt, _RESPELT_NUMBER)):
        if spelt:
            cases.append(f"WHEN ({' OR '.join(spelt)}) AND regexp_matches(data, '{pattern}') THEN TRUE")
    return f"CASE {' '.join(cases)} ELSE FALSE END"


def json_path(path: str) -> str:
    """`data.input_tokens` as a JSON path with quoted names."""
    return "$" + "".join(f'."{name}"' for name in path.split("."))


def _read_again(cursor: duckdb.DuckDBPyConnection, table: str, columns: TypedColumns) -> None:
    """Read the numbers and texts of suspicious rows again from what the client wrote."""
    suspects = cursor.execute(
        f"SELECT row, data FROM {identifier(table)} WHERE suspicious AND id IS NOT NULL"
    ).fetchall()
    if not suspects:
        return
    contents = [read_data(data) for _, data in suspects]
    exact = {"row": pa.array([row for row, _ in suspects], pa.int64())}
    for path in columns.numbers:
        found = [at_path(content, path) for content in contents]
        exact[number_column(path)] = pa.array(map(number_of, found), _EXACT_NUMBER_TYPE)
        exact[spelling_column(path)] = pa.array(map(text_of, found), pa.string())
    for path in columns.texts:
        found = [at_path(content, path) for content in contents]
        exact[text_column(path)] = pa.array(map(text_of, found), pa.string())
    cursor.register("exact", pa.table(exact))
    assignments = ", ".join(
        f"{identifier(name)} = exact.{identifier(name)}" for name in exact if name != "row"
    )
    cursor.execute(
        f"UPDATE {identifier(table)} SET {assignments} FROM exact WHERE {identifier(table)}.row = exact.row"
    )
    cursor.unregister("exact")


_EXACT_NUMBER_TYPE = pa.decimal128(38, NUMBER_DIGITS_AFTER_POINT_MAX)


def _find_faults(cursor: duckdb.DuckDBPyConnection, meters: Sequence[Meter], lateness: Lateness) -> None:
    """Make `faults (row, fault)`: the first thing that keeps an event from being counted."""
    bound = Bound()
    too_late = bound.bind("too_late|time lies further back than events are accepted")
    too_early = bound.bind("too_early|time lies further ahead than clocks may differ")
    cases = [
        "WHEN NOT valid THEN 'malformed_json|the event is not valid JSON'",
        "WHEN identity IS NULL OR type IS NULL THEN 'malformed_json|the line is JSON and no event'",
        f"WHEN is_erased(source) THEN {bound.bind(RESERVED_SOURCE)}",
        f"WHEN epoch_us(time) < received_us - {bound.bind(lateness.too_late_seconds * 1_000_000)} THEN {too_late}",
        f"WHEN epoch_us(time) > received_us + {bound.bind(lateness.too_early_seconds * 1_000_000)} THEN {too_early}",
    ]
    cases += [case for meter in meters if (case := _unusable_sql(meter, bound)) is not None]
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE faults AS SELECT row, fault FROM "
        f"(SELECT row, CASE {' '.join(cases)} END AS fault FROM decoded) WHERE fault IS NOT NULL",
        bound.values,
    )


def _unusable_sql(meter: Meter, bound: Bound) -> str | None:
    """The case in which an event that the meter is for has no value that the meter can use."""
    if meter.value is None:
        return None
    applies = f"type = {bound.bind(meter.event_type)} AND {filter_sql(meter, bound)}"
    if meter.aggregation is Aggregation.UNIQUE:
        (path,) = paths(meter.value)
        missing = bound.bind(f"missing_value|{path} is missing; the meter {meter.key} needs it")
        return f"WHEN {applies} AND {identifier(text_column(path))} IS NULL THEN {missing}"
    usable = value_sql(meter.value, bound)
    missing = " ".join(
        f"WHEN {identifier(spelling_column(path))} IS NULL "
        f"THEN {bound.bind(f'missing_value|{path} is missing; the meter {meter.key} needs it')}"
        for path in value_paths(meter)
    )
    invalid = " ".join(
        f"WHEN {identifier(number_column(path))} IS NULL THEN {bound.bind(f'invalid_value|{path} is ')} || "
        f"left({identifier(spelling_column(path))}, 60) || {bound.bind(_NOT_USABLE)}"
        for path in value_paths(meter)
    )
    beyond = bound.bind(f"invalid_value|the value of the meter {meter.key} has too many digits to be exact")
    return f"WHEN {applies} AND ({usable}) IS NULL THEN CASE {missing} {invalid} ELSE {beyond} END"


_NOT_USABLE = (
    f", which is not a number of at most {NUMBER_DIGITS_BEFORE_POINT_MAX} digits before "
    f"and {NUMBER_DIGITS_AFTER_POINT_MAX} after the point"
)


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
    cursor: duckdb.DuckDBPyConnection, path: Path, columns: TypedColumns, outcomes: npt.NDArray[np.uint8]
) -> SegmentFile:
    """Write the counted rows of the decoded batch as a segment. The others are taken out of it."""
    left_out = np.flatnonzero(outcomes != Outcome.COUNTED)
    if len(left_out):
        # Rows that are marked as deleted cost nothing to skip; a join in the way of all others costs as much as
        # half of the writing.
        cursor.register("left_out", pa.table({"row": left_out}))
        cursor.execute("DELETE FROM decoded WHERE row IN (SELECT row FROM left_out)")
        cursor.unregister("left_out")
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
