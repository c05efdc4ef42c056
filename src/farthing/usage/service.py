"""Use cases of usage: ask for a meter's usage, for billing or for people; show the events behind it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.catalog.meter import ENVELOPE_GROUPS
from farthing.catalog.model import Meter
from farthing.catalog.service import meter_of
from farthing.db import Books
from farthing.events.sealing.typed_columns import wanted_columns
from farthing.events.segments.damage import SEGMENT_DAMAGED, check_segments
from farthing.events.segments.rewrite import back_fill
from farthing.events.store import books as event_rows
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.events.store.removed import removed_until
from farthing.kernel.errors import Corrupt, Fault, InvalidInput, LimitExceeded, NotFound, Unavailable
from farthing.kernel.instant import format_instant
from farthing.kernel.period import local_midnight
from farthing.kernel.quantity import trimmed
from farthing.rating import Clock
from farthing.usage import store as columns
from farthing.usage.billing_store import usage_by_span
from farthing.usage.model import (
    GROUPS_MAX,
    ROWS_MAX,
    WINDOWS_MAX,
    Detail,
    Span,
    Until,
    UsageGroup,
    UsageQuery,
    UsageRow,
    Window,
)
from farthing.usage.store import Connection

EVENTS_SHOWN_MAX = 1000

_WINDOW_SECONDS = {Window.MINUTE: 60, Window.HOUR: 3600, Window.DAY: 86_400, Window.MONTH: 28 * 86_400}


def query_usage(
    books: Books, store: EventStore, tenant_id: int, query: UsageQuery, now: datetime
) -> list[UsageGroup]:
    """Answer a usage question exactly, from every event sealed so far.

    Raises:
        NotFound: `meter_not_found`, `customer_not_found`, `events_removed`.
        InvalidInput: `invalid_usage_query` with every fault.
        LimitExceeded: `too_many_rows`.
        Corrupt: `segment_damaged`, events that belong to the answer cannot be read.
    """
    try:
        meter, rows, keys = _rows(books, store, tenant_id, query)
    except Unavailable:
        # The meter is younger than some of the events.
        prepare_usage(books, store, tenant_id, now)
        try:
            meter, rows, keys = _rows(books, store, tenant_id, query)
        except Unavailable:
            # What was being sealed while the meter was made did not know it. What is sealed after that does.
            prepare_usage(books, store, tenant_id, now)
            meter, rows, keys = _rows(books, store, tenant_id, query)
    if len(rows) > ROWS_MAX:
        raise LimitExceeded(
            "too_many_rows", f"the answer has more than {ROWS_MAX} rows; ask for less at once"
        )
    return [_group(query, meter, row, keys) for row in rows if row[-1]]


def _rows(
    books: Books, store: EventStore, tenant_id: int, query: UsageQuery
) -> tuple[Meter, list[tuple[Any, ...]], Mapping[int, str]]:
    """The meter, the rows of the answer, and the key of each customer where they are asked for."""
    with books.read_only(tenant_id) as conn:
        meter = meter_of(conn, tenant_id, query.meter)
        _check(query, meter)
        customer_id = None
        if query.customer is not None:
            customer_id = columns.customer_id_of(conn, tenant_id, query.customer)
            if customer_id is None:
                raise NotFound(
                    "customer_not_found", f"there is no customer {query.customer!r}", path="customer"
                )
        known = columns.subjects(conn, tenant_id, None if customer_id is None else [customer_id])
        keys = columns.customer_keys(conn, tenant_id) if "customer" in query.group_by else {}
        refuse_removed(conn, tenant_id, meter, query.start, query.end)
        named = None if query.customer is None else columns.subject_names(known)
        segments = _segments(store, conn, tenant_id, meter, query.start, query.end, named)
        return meter, columns.usage_groups(store, segments, known, meter, query), keys


def billable_usage(
    store: EventStore,
    conn: Connection,
    tenant_id: int,
    meter: Meter,
    detail: Detail,
    spans: Sequence[Span],
    until: Until | None = None,
    sealed_from: datetime | None = None,
) -> Iterator[UsageRow]:
    """The usage of every span (a customer over a period) in one query, for the billing run.

    until: only of the events up to this place in the order of (time, source, id).
    sealed_from: only of events that were sealed from that moment on.

    Rows come in the order of the span ids, and are put together as they are taken. `prepare_usage` must
    have run before. Aliases count as they stand now, so events of a customer that was created after them
    are included. Raises Corrupt `segment_damaged`; Unavailable `meter_too_new`.
    """
    if not spans:
        return iter(())
    start, end = min(span.start for span in spans), max(span.end for span in spans)
    segments = _segments(store, conn, tenant_id, meter, start, end, sealed_from=sealed_from)
    known = columns.subjects(conn, tenant_id, {span.customer_id for span in spans})
    return usage_by_span(store, segments, known, meter, detail, spans, until)


def prepare_usage(books: Books, store: EventStore, tenant_id: int, now: datetime) -> None:
    """Give the events that were sealed before a meter existed the columns that it needs."""
    try:
        back_fill(books, store, tenant_id, now)
    except Corrupt as error:
        # Whoever needs the damaged segment is told when it is read; the others need not know.
        if error.code != SEGMENT_DAMAGED:
            raise


def events_behind(
    store: EventStore,
    conn: Connection,
    tenant_id: int,
    meter: Meter,
    customer_id: int,
    start: datetime,
    end: datetime,
    dimensions: Mapping[str, str | None],
    limit: int,
    clocks: Sequence[Clock] = (),
    *,
    sealed_from: datetime | None = None,
) -> tuple[int, list[dict[str, Any]]]:
    """The events that make up a quantity: how many there are, and the first `limit` by time.

    dimensions: the values that the events must have; None for events without the dimension. The windows of
        clocks among them.
    sealed_from: only those that were sealed from that moment on: what came late.
    Each event: source, id, subject, time (RFC 3339), value (decimal text).
    """
    refuse_removed(conn, tenant_id, meter, start, end)
    known = columns.subjects(conn, tenant_id, [customer_id])
    segments = _segments(store, conn, tenant_id, meter, start, end, columns.subject_names(known), sealed_from)
    total, found = columns.event_rows(
        store, segments, known, meter, start, end, dimensions, min(limit, EVENTS_SHOWN_MAX), clocks
    )
    return total, [
        event
        | {
            "time": format_instant(event["time"].replace(tzinfo=start.tzinfo)),
            "value": _shown(event["value"]),
        }
        for event in found
    ]


def _segments(
    store: EventStore,
    conn: Connection,
    tenant_id: int,
    meter: Meter,
    start: datetime,
    end: datetime,
    subjects: Sequence[str] | None = None,
    sealed_from: datetime | None = None,
) -> list[Segment]:
    """The segments that may hold events of the meter (of these subjects) in [start, end), each with the columns that
    it needs; those sealed from a moment on, or all."""
    segments = event_rows.segments(
        conn,
        tenant_id,
        event_type=meter.event_type,
        subjects=subjects,
        start=start,
        end=end,
        sealed_from=sealed_from,
    )
    check_segments(store, tenant_id, segments)
    needed = wanted_columns([meter]).names()
    if any(name not in segment.columns for segment in segments for name in needed):
        raise Unavailable(
            "meter_too_new", f"events were being sealed while the meter {meter.key!r} was made; ask again"
        )
    return segments


def refuse_removed(conn: Connection, tenant_id: int, meter: Meter, start: datetime, end: datetime) -> None:
    """Return if no event of the time was removed: nobody gets a smaller answer because of that.

    What is to be billed still is never removed. Raises NotFound `events_removed`.
    """
    until = removed_until(conn, tenant_id, meter.event_type, start, end)
    if until is not None:
        raise NotFound(
            "events_removed",
            f"events of {meter.event_type!r} up to {format_instant(until)} were removed after the days that they "
            "are kept; ask for a time behind that",
            path="from",
        )


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else trimmed(Decimal(value))


def _check(query: UsageQuery, meter: Meter) -> None:
    names = [*ENVELOPE_GROUPS, *(name for name, _ in meter.dimensions)]
    faults = []
    if query.end <= query.start:
        faults.append(Fault("to", "must be later than from"))
    if len(query.group_by) > GROUPS_MAX:
        faults.append(Fault("group_by", f"has more than {GROUPS_MAX} names"))
    for field, used, allowed in (
        ("group_by", query.group_by, names),
        ("filter", query.filter or {}, names[1:]),
    ):
        unknown = sorted(set(used) - set(allowed))
        faults += [Fault(field, f"{name[:80]!r} is not one of {', '.join(allowed)}") for name in unknown]
    if len(set(query.group_by)) != len(query.group_by):
        faults.append(Fault("group_by", "names something twice"))
    if (
        query.window
        and (query.end - query.start).total_seconds() > _WINDOW_SECONDS[query.window] * WINDOWS_MAX
    ):
        faults.append(Fault("window", f"would give more than {WINDOWS_MAX} windows"))
    if faults:
        raise InvalidInput.of("invalid_usage_query", faults)


def _group(query: UsageQuery, meter: Meter, row: tuple[Any, ...], keys: Mapping[int, str]) -> UsageGroup:
    group = dict(zip(query.group_by, row, strict=False))
    if group.get("customer") is not None:
        group["customer"] = keys[group["customer"]]
    window_start = None
    if query.window is not None:
        window_start = row[len(query.group_by)]
        if query.window in (Window.DAY, Window.MONTH):
            window_start = local_midnight(window_start.date(), query.timezone)
        else:
            window_start = window_start.replace(tzinfo=query.start.tzinfo)
    return UsageGroup(group, window_start, columns.exact_quantity(meter, row[-2]), row[-1])
