"""Rewriting segments: the same events in another file, with the typed columns that are wanted now.

A meter that is created after its events were sealed finds them in `data`; before usage is asked,
the segments that lack a column are written anew with it. Many small segments (a trickle of events
sealed every second) become larger ones, sorted by type, subject and time (`compaction.py` says which).
Events are never changed by this: the rows in force are replaced in one transaction, and the old files are
removed once nobody reads them.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import datetime

import psycopg

from farthing.catalog.service import all_meters
from farthing.db import Books
from farthing.events.full_disk import full_disk_named
from farthing.events.ids.filter import id_filter
from farthing.events.sealing.seal import segment_path
from farthing.events.sealing.typed_columns import TypedColumns, wanted_columns
from farthing.events.segments.compaction import FILE_EVENTS, segments_to_merge, small_segments_to_merge
from farthing.events.segments.damage import SEGMENT_DAMAGED, check_segments, damaged_segments
from farthing.events.store import books as rows
from farthing.events.store import duckdb as columns
from farthing.events.store import merging
from farthing.events.store.books import Segment
from farthing.events.store.decoding import reread
from farthing.events.store.duckdb import EventStore
from farthing.events.store.identities import row_identities
from farthing.events.store.segment_file import SegmentFile
from farthing.kernel.errors import Corrupt
from farthing.kernel.ids import ENTROPY_BYTES, time_ordered_id
from farthing.kernel.instant import unix_microseconds

MONTH_FILES_MAX = 4
"""So many times as many files are worth it to have months apart."""

Progress = Callable[[int, int], None]
Stopped = Callable[[], bool]
"""Asked now and then by what takes long."""


def back_fill(
    books: Books, store: EventStore, tenant_id: int, now: datetime, progress: Progress | None = None
) -> int:
    """Give every segment the typed columns that the tenant's meters want. Returns how many were rewritten.

    Raises Corrupt `segment_damaged` once all that are not damaged have them.
    """
    wanted = wanted_columns(all_meters(books, tenant_id))
    with books.read_only(tenant_id) as conn:
        lacking = rows.segments(conn, tenant_id, lacking=wanted.names(), with_voids=False)
    damage: Corrupt | None = None
    for done, segment in enumerate(lacking):
        if progress:
            progress(done, len(lacking))
        try:
            rewrite(books, store, tenant_id, [segment], wanted, now)
        except Corrupt as error:
            damage = error
    if damage is not None:
        raise damage
    return len(lacking)


def compact(
    books: Books, store: EventStore, tenant_id: int, now: datetime, stopped: Stopped = lambda: False
) -> int:
    """One merge of segments, if one is due. Returns how many were replaced; 0: nothing is left to do."""
    return 0 if stopped() else _merge_next(books, store, tenant_id, now, segments_to_merge, stopped)


def gather_small(books: Books, store: EventStore, tenant_id: int, now: datetime) -> int:
    """Put small segments together once there are many, and leave the larger ones. Returns how many were replaced."""
    return _merge_next(books, store, tenant_id, now, small_segments_to_merge)


def _merge_next(
    books: Books,
    store: EventStore,
    tenant_id: int,
    now: datetime,
    choose: Callable[[Sequence[Segment]], list[Segment]],
    stopped: Stopped = lambda: False,
) -> int:
    with books.read_only(tenant_id) as conn:
        in_force = rows.segments(conn, tenant_id, with_voids=False)
    wanted = set(wanted_columns(all_meters(books, tenant_id)).names())
    # Those that lack a column are rewritten first, by `back_fill`.
    ready = [segment for segment in in_force if wanted <= segment.columns.keys()]
    chosen = choose(ready)
    if damaged := damaged_segments(store, chosen):
        chosen = choose([segment for segment in ready if segment.path not in damaged])
    return len(chosen) if chosen and merge(books, store, tenant_id, chosen, now, stopped=stopped) else 0


def merge(
    books: Books,
    store: EventStore,
    tenant_id: int,
    old: Sequence[Segment],
    now: datetime,
    events_per_file: int = FILE_EVENTS,
    stopped: Stopped = lambda: False,
) -> bool:
    """Replace segments by sorted ones with the same events.

    False when somebody else replaced one meanwhile, or there was no more time: then nothing has happened.

    Readers are not waited for, and go on with the old files. Raises as `rewrite` does.
    """
    check_segments(store, tenant_id, old)
    sources = [store.data_dir / segment.path for segment in old]
    made: list[tuple[str, SegmentFile]] = []
    cursor = store.cursor()
    try:
        with full_disk_named():
            a_month = sum(segment.events for segment in old) // merging.months(cursor, sources)
            by_month = a_month * MONTH_FILES_MAX >= events_per_file
            kept = merging.merged_columns([segment.columns for segment in old])
            for part in merging.file_ranges(cursor, sources, events_per_file, by_month=by_month):
                if stopped():
                    return False
                segment_id = new_id("seg", now)
                target = store.data_dir / segment_path(tenant_id, segment_id)
                file = merging.write_merged(cursor, sources, target, kept, part)
                ids = row_identities(cursor, "read_parquet($1)", [str(target)])
                made.append((segment_id, replace(file, id_filter=id_filter(ids.keys, ids.checks))))
    finally:
        cursor.close()
    refuse_loss(old, sum(file.events for _, file in made))
    return replace_segments(
        books.transaction(tenant_id), store, tenant_id, old, made, new_id("merge", now), now
    )


def rewrite(
    books: Books,
    store: EventStore,
    tenant_id: int,
    old: Sequence[Segment],
    wanted: TypedColumns,
    now: datetime,
) -> bool:
    """Replace segments by one with the same events. False when somebody else replaced them meanwhile.

    Raises Corrupt `segment_damaged` (damage must not be copied into a file that has a good checksum);
    Unavailable `disk_full`.
    """
    check_segments(store, tenant_id, old)
    segment_id = new_id("seg", now)
    cursor = store.cursor()
    try:
        with full_disk_named():
            reread(cursor, [store.data_dir / segment.path for segment in old], wanted)
            path = store.data_dir / segment_path(tenant_id, segment_id)
            file = columns.write_segment(cursor, path, wanted)
            ids = row_identities(cursor)
            file = replace(file, id_filter=id_filter(ids.keys, ids.checks))
    finally:
        cursor.close()
    refuse_loss(old, file.events)
    merge_id = old[0].merge_id if len(old) == 1 else None
    return replace_segments(
        books.transaction(tenant_id),
        store,
        tenant_id,
        old,
        [(segment_id, file)],
        merge_id or new_id("merge", now),
        now,
    )


def refuse_loss(old: Sequence[Segment], events: int) -> None:
    """Files with other events than those that they replace are not put in force."""
    if events != sum(segment.events for segment in old):
        raise Corrupt(
            SEGMENT_DAMAGED,
            f"{[segment.path for segment in old]} do not hold the events they were sealed with",
        )


def replace_segments(
    transaction: AbstractContextManager[rows.Connection],
    store: EventStore,
    tenant_id: int,
    old: Sequence[Segment],
    made: Sequence[tuple[str, SegmentFile]],
    merge_id: str,
    now: datetime,
    beside: Callable[[rows.Connection], object] = lambda _conn: None,
) -> bool:
    """Put files in force in the place of others, and what becomes true beside that. False: somebody else did before."""
    replaced = False
    with transaction as conn:
        replaced_ids = [segment.segment_id for segment in old]
        if rows.delete_segments(conn, tenant_id, replaced_ids) < len(old):
            raise psycopg.Rollback
        for segment_id, file in made:
            path = segment_path(tenant_id, segment_id)
            rows.insert_segment(conn, tenant_id, segment_id, path, file, now, merge_id, replaced_ids)
        beside(conn)
        replaced = True
    if replaced:
        _leave_to_readers(store, old)
    return replaced


def new_id(prefix: str, now: datetime) -> str:
    """A name that sorts by its time: of a segment (seg), a merge (merge)."""
    return time_ordered_id(prefix, unix_microseconds(now) // 1000, os.urandom(ENTROPY_BYTES))


def _leave_to_readers(store: EventStore, old: Sequence[Segment]) -> None:
    """Somebody may have asked for these segments a moment ago: the sweep counts their age from now."""
    for segment in old:
        with suppress(FileNotFoundError):
            os.utime(store.data_dir / segment.path)
