"""Use case: accepted events that nobody is billed for, why, and what they would make.

The money is told for events of a known customer from times without a subscription: what they would have made
under the plan that the customer has now, or had last, rated by themselves as one period and before coupons and
commitments. For the other causes there is no price to ask: nothing meters them, or nobody is known to pay.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from farthing.catalog.model import Meter, Plan
from farthing.catalog.service import all_meters, plan_versions_by_id
from farthing.customers.model import Subscription
from farthing.customers.service import customers_by_id, subscriptions_begun
from farthing.customers.timeline import Stretch, lives_of, stretch_at
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.events.segments.damage import check_segments
from farthing.events.store import books as event_rows
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.invoicing.drafting.claims import claims_of
from farthing.invoicing.drafting.usage_lines import meter_queries, usage_rows
from farthing.invoicing.service import versions_of
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import ZERO, exact, trimmed
from farthing.rating import rate_rows
from farthing.usage import unbilled_store as rows
from farthing.usage.model import Span, UsageRow
from farthing.usage.service import billable_usage, prepare_usage
from farthing.usage.store import subjects
from farthing.usage.unbilled_store import NO_SUBSCRIPTION, Claim

GROUPS_MAX = 100
SAMPLES_MAX = 3
FIRST_MOMENT, LAST_MOMENT = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The books at one moment, as far as they bear on the question."""

    conn: BooksConnection
    segments: Sequence[Segment]
    known_subjects: Any


def unbilled(
    books: Books,
    store: EventStore,
    tenant_id: int,
    start: datetime | None,
    end: datetime | None,
    limit: int,
    now: datetime,
) -> dict[str, Any]:
    """The unbilled events with times in [start, end), in groups by cause, type and subject, the largest first.

    Every unbilled event is counted in `by_cause`; at most `limit` groups are shown, each with some of its events.
    Raises Corrupt `segment_damaged`.
    """
    start, end = start or FIRST_MOMENT, end or LAST_MOMENT
    prepare_usage(books, store, tenant_id, now)
    meters = all_meters(books, tenant_id)
    subscriptions, _ = subscriptions_begun(books, tenant_id, LAST_MOMENT)
    plans = plan_versions_by_id(books, tenant_id, versions_of(subscriptions))
    claims = claims_of(subscriptions, plans)
    with books.read_only(tenant_id) as conn:
        segments = event_rows.segments(conn, tenant_id, start=start, end=end)
        check_segments(store, tenant_id, segments)
        seen = _Snapshot(conn, segments, subjects(conn, tenant_id))
        found = _found(store, seen, meters, claims, start, end)
        shown = sorted(found, key=lambda row: (-row[4], row[0], row[1], row[2] or ""))[:limit]
        money = _would_make(
            store, tenant_id, seen, meters, subscriptions, plans, claims, found, (start, end), now
        )
        samples = rows.samples(store, segments, shown, SAMPLES_MAX)
        groups = [_group(row, some) for row, some in zip(shown, samples, strict=True)]
    customers = customers_by_id(
        books, tenant_id, {row[3] for row in shown if row[3] is not None} | set(money)
    )
    by_cause: dict[str, int] = {}
    for row in found:
        by_cause[row[0]] = by_cause.get(row[0], 0) + row[4]
    return {
        "events": sum(by_cause.values()),
        "by_cause": {cause: by_cause[cause] for cause in rows.CAUSES if cause in by_cause},
        "groups": [
            group | {"customer": None if customer_id is None else customers[customer_id].key}
            for customer_id, group in groups
        ],
        "groups_total": len(found),
        "would_make": [
            {"customer": customers[customer_id].key} | made for customer_id, made in sorted(money.items())
        ],
    }


def _found(
    store: EventStore,
    seen: _Snapshot,
    meters: Sequence[Meter],
    claims: Sequence[Claim],
    start: datetime,
    end: datetime,
) -> list[rows.Row]:
    by_type = {
        event_type: list(some)
        for event_type, some in groupby(
            sorted(meters, key=lambda meter: (meter.event_type, meter.key)),
            key=lambda meter: meter.event_type,
        )
    }
    found = rows.unmetered(store, seen.segments, seen.known_subjects, list(by_type), start, end)
    for event_type, some in by_type.items():
        of_type = [segment for segment in seen.segments if event_type in segment.event_types]
        found += rows.unbilled_of_type(
            store, of_type, seen.known_subjects, event_type, some, claims, start, end
        )
    return found


def _group(row: rows.Row, samples: Sequence[tuple[str, str]]) -> tuple[int | None, dict[str, Any]]:
    cause, event_type, subject, customer_id, events, first, last = row
    return customer_id, {
        "cause": cause,
        "type": event_type,
        "subject": subject,
        "events": events,
        "first": format_instant(first.replace(tzinfo=UTC)),
        "last": format_instant(last.replace(tzinfo=UTC)),
        "samples": [{"source": source, "id": event_id} for source, event_id in samples],
    }


def _would_make(
    store: EventStore,
    tenant_id: int,
    seen: _Snapshot,
    meters: Sequence[Meter],
    subscriptions: Sequence[Subscription],
    plans: Mapping[int, Plan],
    claims: Sequence[Claim],
    found: Iterable[rows.Row],
    asked: tuple[datetime, datetime],
    now: datetime,
) -> dict[int, dict[str, Any]]:
    """For each customer with events from times without a subscription: the plan, and what they would make by it."""
    wanted = {row[3] for row in found if row[0] == NO_SUBSCRIPTION and row[3] is not None}
    in_force = {
        customer_id: stretch
        for customer_id, stretch in _plans_in_force(subscriptions, now).items()
        if customer_id in wanted
    }
    gaps = _gaps(claims, in_force, *asked)
    by_key = {meter.key: meter for meter in meters}
    made: dict[int, dict[str, Any]] = {}
    for version in sorted({stretch.plan_version_id for stretch in in_force.values()}):
        customers = [one for one, stretch in in_force.items() if stretch.plan_version_id == version]
        spans = [Span(one, one, start, end) for one in sorted(customers) for start, end in gaps[one]]
        plan = plans[version]
        amounts = dict.fromkeys(customers, ZERO)
        for card in plan.rate_cards:
            usage: dict[int, dict[Any, list[UsageRow]]] = {}
            for query in meter_queries(card):
                for row in billable_usage(store, seen.conn, tenant_id, by_key[query[0]], query[1], spans):
                    usage.setdefault(row.span_id, {}).setdefault(query, []).append(row)
            for customer_id, used in usage.items():
                lines = rate_rows(card.price, usage_rows(card, used), final=False)
                with exact():
                    amounts[customer_id] += sum((line.amount for line in lines), ZERO)
        for customer_id, amount in amounts.items():
            made[customer_id] = _made(plan, in_force[customer_id], amount)
    return made


def _made(plan: Plan, stretch: Stretch, amount: Decimal) -> dict[str, Any]:
    return {
        "plan": {"key": stretch.plan, "version": stretch.version},
        "currency": plan.currency,
        "amount_exact": trimmed(amount),
    }


def _plans_in_force(subscriptions: Sequence[Subscription], now: datetime) -> dict[int, Stretch]:
    """The stretch that each customer is in now; where it is in none, the last one before, or else the first to come."""
    found: dict[int, Stretch] = {}
    running: set[int] = set()
    for subscription in subscriptions:
        lives = lives_of(subscription)
        stretches = [stretch for life in lives for stretch in life.stretches]
        if not stretches or subscription.customer_id in running:
            continue
        if (at_present := stretch_at(lives, now)) is not None:
            found[subscription.customer_id] = at_present
            running.add(subscription.customer_id)
            continue
        begun = [stretch for stretch in stretches if stretch.start <= now]
        found.setdefault(subscription.customer_id, begun[-1] if begun else stretches[0])
    return found


def _gaps(
    claims: Iterable[Claim], customers: Iterable[int], start: datetime, end: datetime
) -> dict[int, list[tuple[datetime, datetime]]]:
    """The times within [start, end) in which each of these customers has no subscription."""
    by_customer: dict[int, list[Claim]] = {customer_id: [] for customer_id in customers}
    for claim in claims:
        if claim.customer_id in by_customer:
            by_customer[claim.customer_id].append(claim)
    gaps: dict[int, list[tuple[datetime, datetime]]] = {}
    for customer_id, some in by_customer.items():
        at, free = start, list[tuple[datetime, datetime]]()
        for claim in sorted(some, key=lambda claim: claim.start):
            if at < claim.start:
                free.append((at, min(claim.start, end)))
            at = max(at, claim.end or end)
        if at < end:
            free.append((at, end))
        gaps[customer_id] = [gap for gap in free if gap[0] < gap[1]]
    return gaps
