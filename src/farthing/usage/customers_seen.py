"""Whose events stand in segments: who is to be looked at again after some were sealed."""

from collections.abc import Sequence

from farthing.events.segments.damage import damaged_segments
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.usage import store as columns
from farthing.usage.store import Connection


def customers_seen(
    store: EventStore, conn: Connection, tenant_id: int, segments: Sequence[Segment]
) -> list[int]:
    """The customers with an event in these segments. A damaged segment tells of nobody; who bills is told of it."""
    damaged = damaged_segments(store, segments) if segments else ()
    whole = [segment for segment in segments if segment.path not in damaged]
    if not whole:
        return []
    return columns.customers_of(store, whole, columns.subjects(conn, tenant_id))
