"""Rewriting segments: the same events in another file, with the typed columns that are wanted now.

A meter that is created after its events were sealed finds them in `data`; before usage is asked,
the segments that lack a column are written anew with it. Many small segments (a trickle of events
sealed every second) become one larger one the same way. Events are never changed by this: the rows
in force are replaced in one transaction, and the old files are removed once nobody reads them.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import psycopg

from farthing.catalog.service import all_meters
from farthing.db import Books
from farthing.events.damage import SEGMENT_DAMAGED, check_segments, damaged_segments
from farthing.events.full_disk import full_disk_named
from farthing.events.id_filter import id_filter
from farthing.events.seal import segment_path
from farthing.events.store import books as rows
from farthing.events.store import duckdb as columns
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.events.store.identities import row_identities
from farthing.events.typed_columns import TypedColumns, wanted_columns
from farthing.kernel.errors import Corrupt
from farthing.kernel.ids import ENTROPY_BYTES, time_ordered_id
from farthing.kernel.instant import unix_microseconds

SMALL_SEGMENT_EVENTS = 100_000
SMALL_SEGMENTS_MAX = 32
"""More small segments than this are put together."""
EVENTS_REWRITTEN_AT_ONCE = 1_000_000

Progress = Callable[[int, int], None]


def back_fill(
    books: Books, store: EventStore, tenant_id: int, now: datetime, progress: Progress | None = None
) -> int:
    """Give every segment the typed columns that the tenant's meters want. Returns how many were rewritten.

    Raises Corrupt `segment_damaged` once all that are not damaged have them.
    """
    wanted = wanted_columns(all_meters(books, tenant_id))
    with books.read_only(tenant_id) as conn:
        in_force = rows.segments(conn, tenant_id)
    lacking = [segment for segment in in_force if not set(wanted.names()) <= segment.columns.keys()]
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


def compact(books: Books, store: EventStore, tenant_id: int, now: datetime) -> int:
    """Put small segments together once there are many. Returns how many were replaced."""
    with books.read_only(tenant_id) as conn:
        small = [
            segment for segment in rows.segments(conn, tenant_id) if segment.events < SMALL_SEGMENT_EVENTS
        ]
    if len(small) <= SMALL_SEGMENTS_MAX:
        return 0
    damaged = damaged_segments(store, small)
    chosen: list[Segment] = []
    for segment in small:
        if segment.path in damaged:
            continue
        if sum(one.events for one in chosen) + segment.events > EVENTS_REWRITTEN_AT_ONCE:
            break
        chosen.append(segment)
    return (
        len(chosen)
        if rewrite(books, store, tenant_id, chosen, wanted_columns(all_meters(books, tenant_id)), now)
        else 0
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
    segment_id = time_ordered_id("seg", unix_microseconds(now) // 1000, os.urandom(ENTROPY_BYTES))
    path = segment_path(tenant_id, segment_id)
    cursor = store.cursor()
    try:
        with full_disk_named():
            columns.reread(cursor, [store.data_dir / segment.path for segment in old], wanted)
            file = columns.write_segment(cursor, store.data_dir / path, wanted)
            ids = row_identities(cursor)
            file = replace(file, id_filter=id_filter(ids.keys, ids.checks))
    finally:
        cursor.close()
    if file.events != sum(segment.events for segment in old):
        raise Corrupt(
            SEGMENT_DAMAGED,
            f"{[segment.path for segment in old]} do not hold the events they were sealed with",
        )
    replaced = False
    with books.transaction(tenant_id) as conn:
        if rows.delete_segments(conn, tenant_id, [segment.segment_id for segment in old]) < len(old):
            raise psycopg.Rollback
        rows.insert_segment(conn, tenant_id, segment_id, path, file, now)
        replaced = True
    if replaced:
        _leave_to_readers(store, old)
    return replaced


def _leave_to_readers(store: EventStore, old: Sequence[Segment]) -> None:
    """Somebody may have asked for these segments a moment ago: the sweep counts their age from now."""
    for segment in old:
        with suppress(FileNotFoundError):
            os.utime(store.data_dir / segment.path)
