"""The whole way of one event: from the door through the log and the seals to the bill that it is on, and its cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from farthing.catalog.event_data import read_data
from farthing.catalog.model import Meter
from farthing.catalog.service import all_meters, plan_versions_by_id
from farthing.customers.service import get_customer, list_subscriptions
from farthing.customers.store import select_holders
from farthing.db import Books
from farthing.events.find import (
    COUNTED,
    QUARANTINED,
    VOIDED,
    Attempt,
    FoundEvent,
    SameId,
    Wanted,
    events_of_id,
    find_events,
    way_of,
)
from farthing.events.model import VOID_TYPE
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import store as rows
from farthing.invoicing.drafting.parts import UsagePart
from farthing.invoicing.drafting.usage_lines import MeterQuery
from farthing.invoicing.due import due_bills, open_bills
from farthing.invoicing.explaining.event_cost import EventCost, cost_of, parts_of_event
from farthing.invoicing.model import Bill, Reason
from farthing.invoicing.service import Subscribed, versions_of
from farthing.invoicing.units.drawing import with_units_of_periods
from farthing.kernel.errors import Conflict, Fault, InvalidInput, NotFound
from farthing.kernel.instant import format_instant
from farthing.kernel.period import Period
from farthing.kernel.quantity import trimmed
from farthing.kernel.reading import shown
from farthing.usage.model import Span, Until, UsageRow
from farthing.usage.reference import quantity_of
from farthing.usage.service import billable_usage, prepare_usage

SUBSCRIPTIONS_READ = 100
SAME_ID_MAX = 100
"""At most so many events of one id, each of another source, are told."""

NO_CUSTOMER, NO_METER, FILTERED_OUT = "unknown_subject", "unknown_type", "filtered_out"
NO_SUBSCRIPTION, NO_RATE_CARD = "no_subscription", "no_rate_card"


@dataclass(frozen=True, slots=True)
class Sought:
    """What events are looked for by: one id (of a source, or of all), or who, of what type and when."""

    event_id: str | None = None
    source: str | None = None
    customer: str | None = None
    subject: str | None = None
    event_type: str | None = None
    start: datetime | None = None
    end: datetime | None = None


def search_events(
    books: Books,
    store: EventStore,
    tenant_id: int,
    sought: Sought,
    before: tuple[int, str, str] | None,
    limit: int,
) -> list[FoundEvent]:
    """The events that are looked for, the newest first, behind a place.

    Raises NotFound `customer_not_found`; InvalidInput `invalid_event_query`; Corrupt `segment_damaged`.
    """
    if sought.source is not None and sought.event_id is None:
        raise InvalidInput.of("invalid_event_query", [Fault("source", "stands beside an id, and only there")])
    subjects: tuple[str, ...] | None = None if sought.subject is None else (sought.subject,)
    if sought.customer is not None:
        held = get_customer(books, tenant_id, sought.customer)
        own = (held.key, *held.aliases)
        subjects = own if subjects is None else tuple(one for one in own if one in subjects)
    wanted = Wanted(subjects, sought.event_type, sought.start, sought.end)
    if sought.event_id is None:
        return find_events(books, store, tenant_id, wanted, before, limit)
    if sought.source is not None:
        same = SameId(((sought.source, sought.event_id),), None)
    else:
        same = events_of_id(books, store, tenant_id, sought.event_id)
    ways = (
        way_of(books, store, tenant_id, identity, same.in_log(identity[0]))
        for identity in same.identities[:SAME_ID_MAX]
    )
    events = [way.event for way in ways if way.event is not None and wanted.holds(way.event)]
    found = sorted(events, key=lambda event: event.place, reverse=True)
    return [event for event in found if before is None or event.place < before][:limit]


def trace_event(
    books: Books, store: EventStore, tenant_id: int, source: str | None, event_id: str, now: datetime
) -> dict[str, Any]:
    """Everything that is known of the event (source, id); no source: of the only event that has the id.

    Raises NotFound `event_not_found`; Conflict `several_events`; Corrupt `segment_damaged` where nobody can say.
    """
    in_log = None
    if source is None:
        same = events_of_id(books, store, tenant_id, event_id)
        source = only_source(same, event_id)
        in_log = same.in_log(source)
    way = way_of(books, store, tenant_id, (source, event_id), in_log)
    if way.event is None:
        raise NotFound(
            "event_not_found", f"no event {shown(event_id)} of the source {shown(source)} was accepted"
        )
    event = way.event
    with books.read_only(tenant_id) as conn:
        holders = (
            {}
            if event.subject is None or "\0" in event.subject
            else select_holders(conn, tenant_id, [event.subject])
        )
    customer = None if event.subject is None else holders.get(event.subject)
    of_type = {meter.key: meter for meter in all_meters(books, tenant_id) if meter.event_type == event.type}
    counted_by = {} if event.state == QUARANTINED else _quantities(of_type, event)
    bills: list[dict[str, Any]] = []
    if customer is not None and counted_by:
        bills = _bills(books, store, tenant_id, customer, event, of_type, counted_by, now)
    return event_document(event, customer) | {
        "received": [_attempt(one) for one in way.attempts],
        "quarantined": [_quarantined(row) for row in way.quarantined],
        "corrections": [correction_document(row) for row in way.corrections],
        "meters": [{"meter": key, "value": value} for key, value in counted_by.items()],
        "bills": bills,
        "unbilled": _unbilled(event, customer, of_type, counted_by, bills),
        "segments_read": way.segments_read,
    }


def only_source(same: SameId, event_id: str) -> str:
    """The source of the only event that has the id. Raises NotFound `event_not_found`; Conflict `several_events`."""
    sources = [source for source, _ in same.identities]
    if not sources:
        raise NotFound("event_not_found", f"no event {shown(event_id)} was accepted", path="ID")
    if len(sources) > 1:
        some = ", ".join(map(repr, sources[:5]))
        raise Conflict(
            "several_events", f"events of {len(sources)} sources have this id: {some}", path="--source"
        )
    return sources[0]


def customers_of(books: Books, tenant_id: int, events: Sequence[FoundEvent]) -> dict[str, str]:
    """The key of the customer that each subject of these events means now, where it means one."""
    subjects = {event.subject for event in events if event.subject is not None and "\0" not in event.subject}
    with books.read_only(tenant_id) as conn:
        return select_holders(conn, tenant_id, subjects)


def event_document(event: FoundEvent, customer: str | None) -> dict[str, Any]:
    """An event as it is shown in lists, but for its data, which stands as the text that was sent (`data_text`)."""
    return {
        "source": event.source,
        "id": event.id,
        "type": event.type,
        "subject": event.subject,
        "customer": customer,
        "time": format_instant(event.time),
        "time_is_receipt": not event.own_time,
        "received_at": format_instant(event.received_at),
        "state": event.state,
        "data_text": event.data,
    }


def correction_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A correction: what corrects what, why, and since when it is in effect (None: its event has not come)."""
    return {
        "correction_id": row["correction_id"],
        "kind": row["kind"],
        "by": {"source": row["source"], "id": row["event_id"]},
        "corrects": {"source": row["target_source"], "id": row["target_id"]},
        "reason": row["reason"],
        "customer": row["customer"],
        "event_type": row["event_type"],
        "event_time": None if row["event_time"] is None else format_instant(row["event_time"]),
        "received_at": format_instant(row["received_at"]),
        "in_effect_since": None if row["voided_at"] is None else format_instant(row["voided_at"]),
    }


def _attempt(one: Attempt) -> dict[str, Any]:
    return {
        "outcome": one.outcome,
        "origin": one.origin,
        "received_at": format_instant(one.received_at),
        "sealed_at": None if one.sealed_at is None else format_instant(one.sealed_at),
        "log_file": one.log_file,
        "offset": one.offset,
    }


def _quarantined(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "quarantine_id": row["quarantine_id"],
        "reason": row["reason"],
        "detail": row["detail"],
        "origin": row["origin"],
        "received_at": format_instant(row["received_at"]),
        "resolution": row["resolution"],
    }


def _quantities(of_type: Mapping[str, Meter], event: FoundEvent) -> dict[str, str]:
    """What the event is to each meter that counts it."""
    try:
        said = {"type": event.type, "data": read_data(event.data)}
    except ValueError:  # quarantined for it
        return {}
    found = {key: quantity_of(meter, said) for key, meter in of_type.items()}
    return {
        key: value if isinstance(value, str) else trimmed(value)
        for key, value in sorted(found.items())
        if value is not None
    }


def _bills(
    books: Books,
    store: EventStore,
    tenant_id: int,
    customer: str,
    event: FoundEvent,
    meters: Mapping[str, Meter],
    counted_by: Mapping[str, str],
    now: datetime,
) -> list[dict[str, Any]]:
    """The bills of the customer's subscriptions that the event is on, issued or not, and what it costs on each."""
    prepare_usage(books, store, tenant_id, now)
    found: list[dict[str, Any]] = []
    known = {meter.key: meter for meter in all_meters(books, tenant_id)} | dict(meters)
    for bill in _bills_at(books, tenant_id, customer, event.time, now):
        moment = Period(event.time, bill.period.end)
        costs = [
            _cost(books, store, tenant_id, known, bill, part, event)
            for part in parts_of_event(bill, moment, counted_by)
        ]
        if costs:
            found.append(_bill(books, tenant_id, bill, costs, event, now))
    return found


def _bills_at(books: Books, tenant_id: int, customer: str, moment: datetime, now: datetime) -> list[Bill]:
    held = get_customer(books, tenant_id, customer)
    subscriptions, after = [], None
    while some := list_subscriptions(books, tenant_id, after, SUBSCRIPTIONS_READ, customer):
        subscriptions += some
        after = some[-1].key
    plans = plan_versions_by_id(books, tenant_id, versions_of(subscriptions))
    billed = Subscribed(subscriptions, {held.customer_id: held}, plans, {})
    until = max(now, moment)
    bills = due_bills(billed.subscriptions, billed.customers, billed.plans, until)
    bills += open_bills(billed.subscriptions, billed.customers, billed.plans, until)
    own = [bill for bill in bills if bill.reason is Reason.PERIOD and moment in bill.period]
    with books.read_only(tenant_id) as conn:
        return with_units_of_periods(conn, tenant_id, own)


def _cost(
    books: Books,
    store: EventStore,
    tenant_id: int,
    meters: Mapping[str, Meter],
    bill: Bill,
    part: UsagePart,
    event: FoundEvent,
) -> EventCost:
    customer_id = bill.customer.customer_id
    spans = [Span(part.number, customer_id, time.start, time.end) for time in part.times]

    def used(until: Until | None) -> dict[MeterQuery, list[UsageRow]]:
        return {
            query: list(billable_usage(store, conn, tenant_id, meters[query[0]], query[1], spans, until))
            for query in part.queries
        }

    with books.read_only(tenant_id) as conn:
        before = used(Until(event.time, event.source, event.id, included=False))
        with_it = used(Until(event.time, event.source, event.id, included=True))
        return cost_of(bill, part, before, with_it, used(None))


def _bill(
    books: Books, tenant_id: int, bill: Bill, costs: list[EventCost], event: FoundEvent, now: datetime
) -> dict[str, Any]:
    with books.read_only(tenant_id) as conn:
        issued = rows.select_number_of(conn, tenant_id, bill.key)
    status = "issued" if issued else ("open" if bill.due_since > now else "due")
    invoice = None
    if issued:
        later = event.received_at > issued["issued_at"]
        invoice = {
            "number": issued["number"],
            "issued_at": format_instant(issued["issued_at"]),
            "came_later": later,
        }
    return {
        "subscription": bill.subscription.key,
        "plan": {"key": bill.plan.key, "version": bill.version},
        "period": {"start": format_instant(bill.period.start), "end": format_instant(bill.period.end)},
        "status": status,
        "invoice": invoice,
        "currency": bill.plan.currency,
        "rate_cards": [
            {
                "rate_card": cost.rate_card,
                "name": cost.name,
                "meters": list(cost.meters),
                "amount_exact": trimmed(cost.amount)
                if event.state == COUNTED and not cost.whole_total
                else None,
                "whole_amount_exact": trimmed(cost.whole),
                "prices_whole_total": cost.whole_total,
                "not_billed": cost.unbilled,
            }
            for cost in costs
        ],
    }


def _unbilled(
    event: FoundEvent,
    customer: str | None,
    of_type: Mapping[str, Meter],
    counted_by: Mapping[str, str],
    bills: list[dict[str, Any]],
) -> str | None:
    """Why nobody is billed for the event, where it would count; None: somebody is, or it does not count at all."""
    if event.state in (QUARANTINED, VOIDED) or event.type == VOID_TYPE or bills:
        return None
    if not of_type:
        return NO_METER
    if not counted_by:
        return FILTERED_OUT
    return NO_CUSTOMER if customer is None else NO_SUBSCRIPTION
