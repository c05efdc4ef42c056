"""What is known of a segment's file: what the books keep of it, and how it is made durable."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from farthing.events.log.files import sync_directory

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


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """What is in a segment, by type of event; and the answers to what else was asked, in its order."""

    rows: list[tuple[str, int, str | None, str | None, int, int]]
    whether: tuple[bool, ...] = ()

    def file(
        self, size_bytes: int, checksum: bytes, columns: dict[str, str], sources: tuple[str, ...] | None
    ) -> SegmentFile:
        """The segment as a file."""
        types, events, first, last, min_us, max_us = (list(column) for column in zip(*self.rows, strict=True))
        return SegmentFile(
            sum(events), size_bytes, checksum, types, first, last, min(min_us), max(max_us), columns, sources
        )


def segment_facts(
    cursor: duckdb.DuckDBPyConnection, rows: str, *bound: object, whether: Sequence[str] = ()
) -> SegmentFacts:
    """What is in the rows of a segment, a table or a file, read once.

    whether: conditions; for each of them, whether it holds for a row.
    """
    asked = "".join(f", coalesce(bool_or({condition}), FALSE)" for condition in whether)
    found = cursor.execute(
        f"SELECT type, count(*), min(subject), max(subject), epoch_us(min(time)), epoch_us(max(time)){asked} "
        f"FROM {rows} GROUP BY type ORDER BY type",
        list(bound),
    ).fetchall()
    return SegmentFacts(
        [row[:_FACTS] for row in found],
        tuple(any(row[_FACTS + place] for row in found) for place in range(len(whether))),
    )


_FACTS = 6


def segment_sources(cursor: duckdb.DuckDBPyConnection, rows: str, *bound: object) -> tuple[str, ...] | None:
    """The sources of the rows of a segment, a table or a file; None where they are too many."""
    found = cursor.execute(
        f"SELECT DISTINCT source FROM {rows} LIMIT {SOURCES_MAX + 1}", list(bound)
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
