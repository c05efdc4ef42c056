"""Usage that nobody is billed for: its subject is no customer, or nothing meters its type."""

from dataclasses import dataclass

from farthing.catalog.service import all_meters
from farthing.db import Books
from farthing.events.segments.damage import check_segments
from farthing.events.store import books as event_rows
from farthing.events.store.duckdb import EventStore
from farthing.usage import store as columns


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """Events of one type and subject, and what they lack."""

    event_type: str
    subject: str | None
    events: int
    without_customer: bool
    without_meter: bool


def unclaimed_usage(
    books: Books, store: EventStore, tenant_id: int, limit: int
) -> tuple[int, list[Unclaimed]]:
    """How many counted events are unclaimed, and the largest groups of them, at most `limit`.

    They are kept, and count as soon as the customer, the alias or the meter exists.
    """
    metered = sorted({meter.event_type for meter in all_meters(books, tenant_id)})
    with books.read_only(tenant_id) as conn:
        segments = event_rows.segments(conn, tenant_id)
        known = columns.subjects(conn, tenant_id)
    check_segments(store, tenant_id, segments)
    rows = columns.unclaimed_groups(store, segments, known, metered, limit)
    groups = [
        Unclaimed(event_type, subject, events, without_customer=no_customer, without_meter=no_meter)
        for event_type, subject, events, no_customer, no_meter, _ in rows
    ]
    return (rows[0][-1] if rows else 0), groups
