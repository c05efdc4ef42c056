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

import hashlib
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
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
from farthing.events.deduplicate import Outcome
from farthing.events.id_index import Identities
from farthing.events.log.files import make_directory, sync_directory
from farthing.events.store.identity_sql import HASH_MACROS, HASHES, OWN_TIME, SEGMENT_FILES
from farthing.events.store.meter_sql import EXACT_NUMBER, MACROS, Bound, filter_sql, identifier, value_sql
from farthing.events.typed_columns import (
    TypedColumns,
    number_column,
    spelling_column,
    text_column,
    value_paths,
)
from farthing.events.verified import VerifiedFiles

_WHOLE_NUMBER = "DECIMAL(18,0)"
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


@dataclass(frozen=True, slots=True)
class Lateness:
    """How far an event's time may lie from its receipt before it is quarantined."""

    too_late_seconds: int
    too_early_seconds: int


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """What was written: the facts that the books keep about a segment."""

    events: int
    size_bytes: int
    checksum: bytes
    event_types: list[str]
    min_time_us: int
    max_time_us: int
    columns: dict[str, str]


@dataclass(frozen=True, slots=True)
class FaultyEvent:
    """An event that goes to quarantine: its line in the batch, why, and where in it."""

    row: int
    reason: str
    detail: str
    line: bytes
    received_us: int


class EventStore:
    """One DuckDB database in memory whose tables are files below the data directory."""

    def __init__(self, data_dir: Path, *, threads: int, memory_limit: str) -> None:
        self.data_dir = data_dir
        self._database = duckdb.connect(
            config={
                "threads": threads,
                "memory_limit": memory_limit,
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "temp_directory": str(data_dir / "tmp" / str(os.getpid())),
            }
        )
        self._database.execute("SET TimeZone = 'UTC'")
        for macro in (*MACROS, *HASH_MACROS):
            self._database.execute(macro)
        self._lock = threading.Lock()
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
# From log lines to a decoded batch


def load_lines(
    cursor: duckdb.DuckDBPyConnection, payloads: Sequence[bytes], received_us: Sequence[int]
) -> int:
    """Make the lines of some blocks the table `lines (row, line, received_us)`. Returns how many there are."""
    batches = []
    row = 0
    for payload, received in zip(payloads, received_us, strict=True):
        ends = np.flatnonzero(np.frombuffer(payload, dtype=np.uint8) == ord("\n"))
        offsets = np.zeros(len(ends) + 1, dtype=np.int32)
        np.add(ends, 1, out=offsets[1:], casting="unsafe")
        lines = pa.Array.from_buffers(
            pa.utf8(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(payload)]
        )
        try:
            lines.validate(full=True)
        except pa.ArrowInvalid:  # The door lets only UTF-8 in.
            lines = pa.array(map(_without_broken_bytes, payload.split(b"\n")[:-1]), pa.utf8())
        rows = np.arange(row, row + len(ends), dtype=np.int64)
        received_column = np.full(len(ends), received, dtype=np.int64)
        batches.append(pa.record_batch([pa.array(rows), lines, pa.array(received_column)], _LINES))
        row += len(ends)
    # One batch for each block: DuckDB scans batches in parallel.
    cursor.register("lines", pa.Table.from_batches(batches))
    return row


def _without_broken_bytes(line: bytes) -> str:
    """A line with NUL for each byte that is not UTF-8, which makes it no JSON, and so an event for quarantine."""
    return _BROKEN_BYTE.sub("\0", line.decode(errors="surrogateescape")) + "\n"


_BROKEN_BYTE = re.compile("[\udc80-\udcff]")
_LINES = pa.schema([("row", pa.int64()), ("line", pa.utf8()), ("received_us", pa.int64())])


def decode(
    cursor: duckdb.DuckDBPyConnection, columns: TypedColumns, meters: Sequence[Meter], lateness: Lateness
) -> None:
    """Make the table `decoded` from `lines`: envelope, hashes and typed columns; and `faults` beside it.

    A line that is no JSON at all has every column NULL but `row` and `received_us`.
    """
    try:
        _decode_lines(cursor, columns, "TRUE", "json_extract_string(line, ?)")
    except duckdb.InvalidInputException:
        # A line that the door took for JSON and DuckDB does not (half a surrogate pair, say): find out which.
        guarded = "CASE WHEN json_valid(line) THEN json_extract_string(line, ?) END"
        _decode_lines(cursor, columns, "json_valid(line)", guarded)
    _read_again(cursor, "decoded", columns)
    _find_faults(cursor, meters, lateness)


def _decode_lines(cursor: duckdb.DuckDBPyConnection, columns: TypedColumns, valid: str, found: str) -> None:
    envelope = ("id", "source", "type", "subject", "time")
    cursor.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE decoded AS
        WITH found AS (
            SELECT row, received_us, valid, found, data, epoch_us(TRY_CAST(found[5] AS TIMESTAMPTZ)) AS own_us
              FROM (SELECT row, received_us, {valid} AS valid, {found} AS found,
                           line[instr(line, ',"data":') + 8 : -3] AS data
                      FROM lines)
        )
        SELECT row, received_us, valid, data, found[1] AS id, found[2] AS source, found[3] AS type,
               found[4] AS subject, {_typed_sql(columns, len(envelope))},
               make_timestamp(coalesce(own_us, received_us)) AS time, own_us IS NOT NULL AS own_time,
               event_identity(found[2], found[1]) AS identity,
               event_content(found[3], found[4], own_us, data) AS content
          FROM found
        """,
        [[json_path(path) for path in (*envelope, *columns.numbers, *columns.texts)]],
    )


def reread(cursor: duckdb.DuckDBPyConnection, paths: Sequence[Path], columns: TypedColumns) -> None:
    """Make the table `segment_rows` from segments in force, with these typed columns taken from `data` anew."""
    cursor.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE segment_rows AS
        WITH found AS (
            SELECT source, id, type, subject, time, {OWN_TIME} AS own_time, received_at, data,
                   json_extract_string('{{"data":' || data || '}}', ?) AS found
              FROM {SEGMENT_FILES}
        )
        SELECT row_number() OVER () AS row, source, id, type, subject, time, own_time, received_at, data,
               {_typed_sql(columns, 0)}
          FROM found
        """,
        [
            [json_path(path) for path in (*columns.numbers, *columns.texts)],
            [str(path) for path in paths],
        ],
    )
    _read_again(cursor, "segment_rows", columns)


def _typed_sql(columns: TypedColumns, skipped: int) -> str:
    """The typed columns out of the list `found`, whose first `skipped` members are something else.

    `found` holds a string's content, the spelling of any other value, and NULL for null and for what
    is absent.
    """
    first_text = skipped + len(columns.numbers) + 1
    numbers = [f"found[{place}]" for place in range(skipped + 1, first_text)]
    texts = [f"found[{place}]" for place in range(first_text, first_text + len(columns.texts))]
    typed = [
        f"CASE WHEN regexp_full_match({found}, '{_PLAIN_NUMBER}') THEN {found}::{EXACT_NUMBER} END "
        f"AS {identifier(number_column(path))}, {found} AS {identifier(spelling_column(path))}"
        for path, found in zip(columns.numbers, numbers, strict=True)
    ]
    typed += [
        f"{found} AS {identifier(text_column(path))}"
        for path, found in zip(columns.texts, texts, strict=True)
    ]
    return ", ".join([*typed, f"{_suspicious_sql(numbers, texts)} AS suspicious"])


def _suspicious_sql(numbers: Sequence[str], texts: Sequence[str]) -> str:
    """Whether a value may have changed on its way through a double. Whole numbers are read as integers."""
    cases = [
        *(f"WHEN contains({found}, 'e') THEN TRUE" for found in numbers),
        *(f"WHEN regexp_matches({found}, '{_NESTED_TEXT}') THEN TRUE" for found in texts),
    ]
    fractions = [f"contains({found}, '.')" for found in numbers]
    respelt = [f"regexp_full_match({found}, '{_FRACTION_TEXT}')" for found in texts]
    for found, pattern in ((fractions, _LONG_NUMBER), (respelt, _RESPELT_NUMBER)):
        if found:
            cases.append(f"WHEN ({' OR '.join(found)}) AND regexp_matches(data, '{pattern}') THEN TRUE")
    return f"CASE {' '.join(cases)} ELSE FALSE END" if cases else "FALSE"


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


def identities(cursor: duckdb.DuckDBPyConnection) -> tuple[Identities, npt.NDArray[np.bool_]]:
    """The hashes of the batch in log order, and which rows have a fault."""
    columns = cursor.execute(
        f"""
        SELECT {HASHES}, faults.row IS NOT NULL AS faulty
          FROM decoded LEFT JOIN faults USING (row) ORDER BY row
        """
    ).fetchnumpy()
    return _identities(columns), np.asarray(columns["faulty"], dtype=np.bool_)


def segment_identities(cursor: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> Identities:
    """The hashes of the events of segments, as they were when the events were sealed."""
    files = [str(path) for path in paths]
    hashed = f"""
        SELECT event_identity(source, id) AS identity,
               event_content(type, subject, CASE WHEN {OWN_TIME} THEN epoch_us(time) END, data) AS content
          FROM {SEGMENT_FILES}
    """
    return _identities(cursor.execute(f"SELECT {HASHES} FROM ({hashed})", [files]).fetchnumpy())


def _identities(columns: Mapping[str, npt.NDArray[np.uint64]]) -> Identities:
    # Lines that are no JSON have no identity; they are faulty, so the zeros are never compared.
    keys, checks, contents = (
        np.ma.filled(columns[name], 0).astype(np.uint64, copy=False)
        for name in ("key", "check_bits", "content")
    )
    return Identities(keys, checks, contents)


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
    """Write the counted rows of the decoded batch as a segment."""
    cursor.register("left_out", pa.table({"row": np.flatnonzero(outcomes != Outcome.COUNTED)}))
    cursor.execute(
        """
        CREATE OR REPLACE TEMP VIEW segment_rows AS
        SELECT *, make_timestamp(received_us) AS received_at FROM decoded ANTI JOIN left_out USING (row)
        """
    )
    written = write_segment(cursor, path, columns, order="")
    cursor.unregister("left_out")
    return written


def write_segment(
    cursor: duckdb.DuckDBPyConnection,
    path: Path,
    columns: TypedColumns,
    order: str = "ORDER BY type, subject, time",
) -> SegmentFile:
    """Write `segment_rows` as a segment, durable and checksummed."""
    raws = [identifier(spelling_column(numeric)) for numeric in columns.numbers]
    fractions = "".join(
        f", coalesce(bool_or(contains({raw}, '.') OR contains({raw}, 'e') OR contains({raw}, 'E')), FALSE)"
        for raw in raws
    )
    facts = cursor.execute(
        f"SELECT count(*), list_sort(list(DISTINCT type)), epoch_us(min(time)), epoch_us(max(time)){fractions} "
        f"FROM segment_rows"
    ).fetchone()
    assert facts is not None
    types: dict[str, str] = {}
    typed = ""
    for numeric, raw, has_fraction in zip(columns.numbers, raws, facts[4:], strict=True):
        name = number_column(numeric)
        types[name] = EXACT_NUMBER if has_fraction else _WHOLE_NUMBER
        # Whole numbers are read from their text again: narrowing 128-bit decimals takes far longer.
        whole = f"CASE WHEN {identifier(name)} IS NOT NULL THEN TRY_CAST({raw} AS {_WHOLE_NUMBER}) END"
        typed += f", {identifier(name) if has_fraction else whole} AS {identifier(name)}"
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
    return SegmentFile(facts[0], size, checksum, facts[1], facts[2], facts[3], types)


def seal_file(path: Path) -> tuple[int, bytes]:
    """Make a finished file durable. Returns its size and checksum (blake2b, 128 bits)."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    sync_directory(path.parent)
    return path.stat().st_size, digest.digest()
