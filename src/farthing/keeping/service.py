"""Use cases of retention: say for how long events are kept; remove those that are older and billed."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from farthing.db import Books
from farthing.events.segments.damage import check_segments
from farthing.events.store import books as event_rows
from farthing.events.store import removed as removed_rows
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import store as invoice_rows
from farthing.invoicing.due import open_bills, parted
from farthing.invoicing.run import usage_needed
from farthing.invoicing.service import subscribed_by
from farthing.keeping import store
from farthing.keeping.retention import INVALID_RETENTION, KEEP_DAYS_MAX, Retention
from farthing.kernel.errors import Fault, InvalidInput
from farthing.usage.model import Span
from farthing.usage.store import spans_table, subjects

SEGMENTS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Removal:
    """What was removed, or would be: segments and the events in them; and what is old enough, and stays."""

    segments: int
    events: int
    unbilled_segments: int
    """They hold events of a period that has no invoice yet."""


def keep_days(books: Books, tenant_id: int) -> int | None:
    """For how many days a tenant's events are kept; None: for ever."""
    with books.read_only(tenant_id) as conn:
        return store.select_keep_days(conn, tenant_id)


def get_retention(books: Books, tenant_id: int) -> Retention:
    """For how long a tenant's events are kept, and what was removed so far."""
    with books.read_only(tenant_id) as conn:
        return store.select_retention(conn, tenant_id)


def set_keep_days(books: Books, tenant_id: int, days: int | None, now: datetime) -> None:
    """Keep events for so many days from their time on; None: for ever.

    Raises InvalidInput `invalid_retention`.
    """
    if days is not None and not 1 <= days <= KEEP_DAYS_MAX:
        raise InvalidInput.of(
            INVALID_RETENTION, [Fault("days", f"must be a whole number from 1 to {KEEP_DAYS_MAX}")]
        )
    with books.transaction(tenant_id) as conn:
        store.put_keep_days(conn, tenant_id, days, now)


def remove_expired(
    books: Books, event_store: EventStore, tenant_id: int, now: datetime, *, pretend: bool = False
) -> Removal:
    """Remove the segments whose every event is older than events are kept, and stands on an invoice if it is to.

    An event is to be billed still if its customer has a subscription with a period around its time that
    has no invoice, due or going on, and it is not void. Events of no customer go with the others. Ids stay in the
    id index.

    Raises Corrupt `segment_damaged`.
    """
    with books.read_only(tenant_id) as conn:
        days = store.select_keep_days(conn, tenant_id)
        if days is None:
            return Removal(0, 0, 0)
        expired = event_rows.segments(conn, tenant_id, ended_before=now - timedelta(days=days))
        known = subjects(conn, tenant_id)
    spans = spans_table(_unbilled_spans(books, tenant_id, now)) if expired else None
    segments = events = unbilled = 0
    for first in range(0, len(expired), SEGMENTS_AT_ONCE):
        some = expired[first : first + SEGMENTS_AT_ONCE]
        check_segments(event_store, tenant_id, some)
        paths = {str(event_store.data_dir / segment.path): segment for segment in some}
        held = store.unbilled_files(event_store, some, known, spans)
        unbilled += len(held)
        gone = [segment for path, segment in paths.items() if path not in held]
        if pretend or _removed(books, event_store, tenant_id, gone, now):
            segments += len(gone)
            events += sum(segment.events for segment in gone)
    return Removal(segments, events, unbilled)


def _unbilled_spans(books: Books, tenant_id: int, now: datetime) -> Sequence[Span]:
    """For each customer the times whose usage is still to be billed: due and not issued, or going on."""
    billed = subscribed_by(books, tenant_id, now)
    with books.read_only(tenant_id) as conn:
        issued = invoice_rows.select_issued(conn, tenant_id)
    going_on = open_bills(billed.subscriptions, billed.customers, billed.plans, now, billed.terms)
    missing, _ = parted([*billed.due(now), *going_on], issued)
    needed = usage_needed(missing)
    return [span for spans in needed.values() for span in spans]


def _removed(
    books: Books, event_store: EventStore, tenant_id: int, gone: Sequence[Segment], now: datetime
) -> bool:
    """Out of force, in one transaction; the files go with the next sweep, once nobody can be reading them."""
    if not gone:
        return False
    done = False
    with books.transaction(tenant_id) as conn:
        ids = [segment.segment_id for segment in gone]
        if removed_rows.remove_segments(conn, tenant_id, ids, now) < len(ids):
            raise psycopg.Rollback  # A merge replaced one meanwhile: the next time.
        done = True
    if done:
        for segment in gone:
            with suppress(FileNotFoundError):
                os.utime(event_store.data_dir / segment.path)
    return done
