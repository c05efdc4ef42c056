"""Several segments as some larger ones, sorted by type, subject and time, one after the other. Only SQL (DuckDB).

The files of one merge are like the volumes of a dictionary: each goes on where the one before it ends, for each
month anew where there are enough events. A question about one customer finds the volume by what the books know of
it, and the page by the statistics in the file.
Values are taken over as they stand: nothing is read out of `data` anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path

import duckdb

from farthing.events.log.files import make_directory
from farthing.events.store.identity_sql import OWN_TIME, SEGMENT_FILES
from farthing.events.store.meter_sql import EXACT_NUMBER, Bound, identifier
from farthing.events.store.segment_file import PARQUET, SegmentFile, finished_segment

ROW_GROUP_EVENTS = 61_440
"""Fewer than an unsorted segment has in a group: a customer's events are few, and a group is read as a whole."""


@dataclass(frozen=True, slots=True)
class SortKey:
    """What events are sorted by before their time. No subject sorts as an empty one, first of all."""

    event_type: str
    subject: str


@dataclass(frozen=True, slots=True)
class FileRange:
    """The events of one file: of times in [start_us, end_us), behind one key and up to another; None: no bound."""

    start_us: int | None = None
    end_us: int | None = None
    after: SortKey | None = None
    up_to: SortKey | None = None


def merged_columns(columns: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The typed columns that all of these segments have, each as wide as the widest of them."""
    shared = [name for name in columns[0] if all(name in one for one in columns)]
    return {
        name: EXACT_NUMBER if any(one[name] == EXACT_NUMBER for one in columns) else columns[0][name]
        for name in shared
    }


def months(cursor: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> int:
    """How many months (UTC) the events lie in."""
    found = cursor.execute(
        "SELECT count(DISTINCT date_trunc('month', time)) FROM read_parquet($1, union_by_name = true)",
        [[str(path) for path in paths]],
    ).fetchone()
    assert found is not None
    return int(found[0])


def file_ranges(
    cursor: duckdb.DuckDBPyConnection, paths: Sequence[Path], events_per_file: int, *, by_month: bool
) -> list[FileRange]:
    """How to cut the events into files of about so many each.

    by_month: each month (UTC) has files of its own, so that a question about all customers of a month does not
        read the months beside it.
    """
    start = "epoch_us(date_trunc('month', time))" if by_month else "NULL::BIGINT"
    after = "epoch_us(date_trunc('month', time) + INTERVAL 1 MONTH)" if by_month else "NULL::BIGINT"
    found = cursor.execute(
        f"""
        WITH keys AS (
            SELECT {start} AS start_us, {after} AS end_us, type, coalesce(subject, '') AS subject, count(*) AS events
              FROM read_parquet($1, union_by_name = true) GROUP BY ALL
        ), placed AS (
            SELECT *, sum(events) OVER (PARTITION BY start_us ORDER BY type, subject) AS so_far,
                   sum(events) OVER (PARTITION BY start_us) AS all_events
              FROM keys
        ), filed AS (
            SELECT *, (so_far - 1) // ceil(all_events / ceil(all_events / $2::BIGINT))::BIGINT AS file FROM placed
        )
        SELECT start_us, end_us, type, subject FROM filed
       QUALIFY row_number() OVER (PARTITION BY start_us, file ORDER BY type DESC, subject DESC) = 1
         ORDER BY start_us, type, subject
        """,
        [[str(path) for path in paths], events_per_file],
    ).fetchall()
    ranges: list[FileRange] = []
    for (start_us, end_us), last in groupby(found, key=itemgetter(0, 1)):
        keys = [SortKey(event_type, subject) for _, _, event_type, subject in last]
        ranges += [
            FileRange(start_us, end_us, after_key, up_to)
            for after_key, up_to in pairwise([None, *keys[:-1], None])
        ]
    return ranges


def write_merged(
    cursor: duckdb.DuckDBPyConnection,
    paths: Sequence[Path],
    target: Path,
    columns: Mapping[str, str],
    part: FileRange,
) -> SegmentFile:
    """Write the events of a range as a segment."""
    bound = Bound()
    files = SEGMENT_FILES.replace("?", bound.bind([str(path) for path in paths]))
    typed = "".join(f", {identifier(name)}::{kind} AS {identifier(name)}" for name, kind in columns.items())
    make_directory(target.parent)
    cursor.execute(
        f"""
        COPY (SELECT source, id, type, subject, time, {OWN_TIME} AS own_time, received_at, data{typed}
                FROM {files} WHERE {_within_sql(part, bound)}
               ORDER BY type, subject NULLS FIRST, time)
          TO {bound.bind(str(target))}
             ({PARQUET}, ROW_GROUP_SIZE {ROW_GROUP_EVENTS})
        """,
        bound.values,
    )
    return finished_segment(cursor, target, columns)


def _within_sql(part: FileRange, bound: Bound) -> str:
    """The condition, in words that the statistics of a file can answer where both keys are of one type."""
    conditions = []
    if part.start_us is not None and part.end_us is not None:
        start, end = bound.bind(part.start_us), bound.bind(part.end_us)
        conditions.append(f"time >= make_timestamp({start}) AND time < make_timestamp({end})")
    after, up_to = part.after, part.up_to
    if after and up_to and after.event_type == up_to.event_type:
        conditions.append(
            f"type = {bound.bind(after.event_type)} AND subject > {bound.bind(after.subject)} "
            f"AND subject <= {bound.bind(up_to.subject)}"
        )
        return " AND ".join(conditions)
    if after:
        event_type, first = bound.bind(after.event_type), bound.bind(after.subject)
        beyond = f"type > {event_type} OR (type = {event_type} AND coalesce(subject, '') > {first})"
        conditions.append(f"type >= {event_type} AND ({beyond})")
    if up_to:
        event_type, last = bound.bind(up_to.event_type), bound.bind(up_to.subject)
        within = f"type < {event_type} OR (type = {event_type} AND coalesce(subject, '') <= {last})"
        conditions.append(f"type <= {event_type} AND ({within})")
    return " AND ".join(conditions) or "TRUE"
