"""What is known of a segment's file: what the books keep of it, and how it is made durable."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from farthing.events.log.files import make_directory, sync_directory

PARQUET = "FORMAT parquet, PARQUET_VERSION V2, COMPRESSION zstd, COMPRESSION_LEVEL 1"
"""How segments are written. Encodings of version 2 take a seventh less room than those of version 1, and less time."""
ROW_GROUP_ROWS = 100_000
_ENCODINGS = {
    "id": "DELTA_LENGTH_BYTE_ARRAY",
    "data": "DELTA_LENGTH_BYTE_ARRAY",
    "time": "DELTA_BINARY_PACKED",
    "received_at": "DELTA_BINARY_PACKED",
}
"""Of columns whose values hardly repeat; the values of others are listed once."""
SOURCES_MAX = 32
"""Segments with more sources than this do not list them."""


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """What was written: the facts that the books keep about a segment.

    sources: of its events; None where they are too many to list. id_filter: see `events/ids/filter.py`.
    first_subjects, last_subjects: of the events of each type, None where they have none.
    """

    events: int
    size_bytes: int
    checksum: bytes
    event_types: list[str]
    first_subjects: list[str | None]
    last_subjects: list[str | None]
    min_time_us: int
    max_time_us: int
    columns: dict[str, str]
    sources: tuple[str, ...] | None
    id_filter: bytes = b""


def write_table(table: pa.Table, path: Path) -> None:
    """Write the rows of a segment as they are, for readers as `PARQUET` does; DuckDB takes longer for what is a table.

    Raises OSError, in whose `errno` is what the disk said.
    """
    make_directory(path.parent)
    listed = [name for name in table.column_names if name not in _ENCODINGS]
    pq.write_table(
        table,
        path,
        row_group_size=ROW_GROUP_ROWS,
        compression="zstd",
        compression_level=1,
        use_dictionary=listed,
        column_encoding=_ENCODINGS,
        write_statistics=[name for name in table.column_names if name not in ("id", "data")],
        store_schema=False,
        store_decimal_as_integer=True,
    )


def finished_segment(
    cursor: duckdb.DuckDBPyConnection, path: Path, columns: Mapping[str, str]
) -> SegmentFile:
    """Make a segment that was written durable, and say what is in it.

    It is read back for that: its columns take a sixth of the time that its rows took before they were written.
    """
    size_bytes, checksum = seal_file(path)
    found = cursor.execute(
        "SELECT type, count(*), min(subject), max(subject), epoch_us(min(time)), epoch_us(max(time)) "
        "FROM read_parquet($1) GROUP BY type ORDER BY type",
        [str(path)],
    ).fetchall()
    types, events, first, last, min_us, max_us = (list(column) for column in zip(*found, strict=True))
    return SegmentFile(
        sum(events),
        size_bytes,
        checksum,
        types,
        first,
        last,
        min(min_us),
        max(max_us),
        dict(columns),
        _sources(cursor, path),
    )


def _sources(cursor: duckdb.DuckDBPyConnection, path: Path) -> tuple[str, ...] | None:
    """The sources of the events of a segment; None where they are too many."""
    found = cursor.execute(
        f"SELECT DISTINCT source FROM read_parquet($1) LIMIT {SOURCES_MAX + 1}", [str(path)]
    ).fetchall()
    sources = sorted(source for (source,) in found)
    # PostgreSQL text cannot hold NUL.
    return None if len(sources) > SOURCES_MAX or any("\0" in source for source in sources) else tuple(sources)


def seal_file(path: Path) -> tuple[int, bytes]:
    """Make a finished file durable. Returns its size and checksum (blake2b, 128 bits)."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    sync_directory(path.parent)
    return path.stat().st_size, digest.digest()
