"""Use cases of accrued spend: keep it up to date and charge what is due; tell it.

    events sealed -> whose            -> accrued, billed -> look    -> interim invoices of what is due -> kept
    terms, changes   select_to_look_at   _found             look.py    invoicing.service.issue          write_accrued

Whatever number of customers, it is one query for whom to look at, one of usage for each meter and detail, and a
few statements to issue and to keep. Only customers with new events are looked at, those whose period, terms or
waiting time ended, and once an hour everybody, for what no event tells: an alias that moved, a new meter.
"""

from collections import Counter
from collections.abc import Collection as CollectionOf
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from farthing.catalog.collection import Collection, collection_json
from farthing.catalog.model import Plan
from farthing.catalog.service import all_meters, plan_versions_by_id
from farthing.customers import store as customer_rows
from farthing.customers.model import Customer, Subscription
from farthing.customers.service import get_customer
from farthing.customers.terms.collecting import collection_in_force
from farthing.customers.terms.collecting_store import select_own_collections
from farthing.customers.terms.model import NO_TERMS
from farthing.customers.terms.store import select_terms
from farthing.db import Books
from farthing.events.store import books as event_rows
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import store as invoice_rows
from farthing.invoicing.accrued import store as rows
from farthing.invoicing.accrued.look import Seen, charge_is_due, look
from farthing.invoicing.accrued.model import Accrued, Checkpoint
from farthing.invoicing.batches import BILLS_PER_QUERY, draft_batches
from farthing.invoicing.document import instants
from farthing.invoicing.drafting.lines import lines_of
from farthing.invoicing.drafting.usage_lines import UsageOfBills
from farthing.invoicing.drafting.usage_reading import usage_of
from farthing.invoicing.interim.charging import accrued_on, bill_so_far
from farthing.invoicing.interim.store import select_billed_before
from farthing.invoicing.model import Because, Bill, BillKey, Interim, Reason
from farthing.invoicing.service import issue, versions_of
from farthing.invoicing.units.drawing import units_of
from farthing.invoicing.units.paying import Units
from farthing.kernel.errors import FarthingError
from farthing.kernel.instant import format_instant
from farthing.kernel.period import Period
from farthing.kernel.quantity import ZERO, plain, trimmed
from farthing.usage.customers_seen import customers_seen
from farthing.usage.service import prepare_usage
from farthing.wallets.schedule_store import select_holders_among

LOOK_AGAIN = timedelta(hours=1)
"""Everybody is looked at again after so long."""
NOTHING_OPEN = timedelta(days=1)
"""A subscription with no open period is looked at again after so long, or when it changes."""
LIST_LIMIT_MAX = 101
"""A page of a hundred, and the one that tells whether another page follows."""


@dataclass(slots=True)
class Charged:
    """What keeping accrued spend up to date did: how many it looked at, and the numbers of invoices it issued.

    skipped: as a billing run says it.
    """

    looked_at: int = 0
    issued: list[str] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Found:
    """A subscription with all that a look at it needs; seen and bill: None where no period of it is open."""

    subscription: Subscription
    customer: Customer
    plan: Plan
    collection: Collection
    last_collection_id: int
    before: Accrued | None
    seen: Seen | None
    bill: Bill | None


def charge_accrued(books: Books, store: EventStore, tenant_id: int, now: datetime) -> Charged:
    """Bring accrued spend up to a moment, and issue an interim invoice for each subscription that is due one.

    Safe to run at any time, several at once, and to kill: what is charged is told from issued invoices, under
    the lock of their issue, and of two that charge the same the database keeps one.

    Raises Corrupt `segment_damaged`.
    """
    done = Charged()
    with books.read_only(tenant_id) as conn:
        if not rows.charges_as_you_go(conn, tenant_id):
            return done
    prepare_usage(books, store, tenant_id, now)
    with books.read_only(tenant_id) as conn:
        not_seen = rows.select_not_seen(conn, tenant_id)
        news = [segment_id for segment_id, has_news in not_seen.items() if has_news]
        segments = event_rows.segments(conn, tenant_id, among=news, with_voids=False) if news else []
        customers = customers_seen(store, conn, tenant_id, segments)
        ids = rows.select_to_look_at(conn, tenant_id, now, customers, LOOK_AGAIN)
    for first in range(0, len(ids), BILLS_PER_QUERY):
        _bring_up(books, store, tenant_id, ids[first : first + BILLS_PER_QUERY], now, done)
    if not_seen:
        with books.transaction(tenant_id) as conn:
            rows.add_segments_seen(conn, tenant_id, not_seen, now)
    return done


def _bring_up(
    books: Books, store: EventStore, tenant_id: int, ids: Sequence[int], now: datetime, done: Charged
) -> None:
    """Look at these, charge what is due, and keep what was seen."""
    found, issued_keys = _found(books, store, tenant_id, ids, now)
    looks: dict[int, Accrued] = {}
    due: list[Bill] = []
    for one in found:
        if one.seen is None or one.bill is None:
            looks[one.subscription.subscription_id] = _nothing_open(one, now)
            continue
        seen = look(one.before, one.seen, now)
        looks[seen.subscription_id] = seen
        because = charge_is_due(seen, one.collection, one.seen.currency, now)
        whole = BillKey(seen.subscription_id, seen.period.start, Reason.PERIOD)
        if because is not None and whole not in issued_keys:
            due.append(_charge(one.bill, seen, one.seen, because))
    done.looked_at += len(found)
    if due:
        _issue_due(books, store, tenant_id, due, issued_keys, now, done)
        charged = {bill.subscription.subscription_id for bill in due}
        with books.read_only(tenant_id) as conn:
            billed = select_billed_before(conn, tenant_id, due)
        for one in found:
            if one.seen is not None and one.seen.subscription_id in charged:
                again = replace(
                    one.seen, billed=billed.get((one.seen.subscription_id, one.seen.period.start), ())
                )
                looks[one.seen.subscription_id] = look(looks[one.seen.subscription_id], again, now)
    with books.transaction(tenant_id) as conn:
        rows.write_accrued(conn, tenant_id, [looks[key] for key in sorted(looks)])


def _charge(bill: Bill, accrued: Accrued, seen: Seen, because: Because) -> Bill:
    threshold = accrued.threshold if because is Because.THRESHOLD else None
    sequence = seen.billed[-1].sequence + 1 if seen.billed else 1
    return replace(bill, interim=Interim(sequence, because, threshold))


def _issue_due(
    books: Books,
    store: EventStore,
    tenant_id: int,
    due: Sequence[Bill],
    issued_keys: CollectionOf[BillKey],
    now: datetime,
    done: Charged,
) -> None:
    seen = Counter(key.subscription_id for key in issued_keys)
    in_order = sorted(due, key=lambda bill: (bill.customer.key, bill.subscription.key))
    for batch in draft_batches(books, store, tenant_id, in_order, {}, now, issuing=True):
        numbers, skipped = issue(books, tenant_id, batch, now, seen)
        done.issued += numbers
        done.skipped += batch.skipped + skipped


def _nothing_open(one: _Found, now: datetime) -> Accrued:
    """What is kept of a subscription that is in no period: that there is nothing to charge."""
    return Accrued(
        subscription_id=one.subscription.subscription_id,
        period=Period(now, now + NOTHING_OPEN),
        accrued=ZERO,
        billed=ZERO,
        threshold=None,
        unbilled_since=None,
        charge_by=None,
        held=None,
        checkpoints=(Checkpoint(now, ZERO),),
        last_change_id=one.subscription.last_change_id,
        last_collection_id=one.last_collection_id,
        as_of=now,
    )


def _found(
    books: Books, store: EventStore, tenant_id: int, ids: Sequence[int], now: datetime
) -> tuple[list[_Found], set[BillKey]]:
    """These subscriptions as they are now, in order of key, and all that is issued of them, of one moment."""
    meters = {meter.key: meter for meter in all_meters(books, tenant_id)}
    with books.read_only(tenant_id) as conn:
        subscriptions = customer_rows.select_subscriptions_by_id(conn, tenant_id, ids)
        customers = customer_rows.select_customers_by_id(
            conn, tenant_id, {one.customer_id for one in subscriptions}
        )
        own = select_own_collections(conn, tenant_id, ids)
        terms = select_terms(conn, tenant_id, ids)
        before = rows.select_accrued(conn, tenant_id, ids)
        holders = select_holders_among(
            conn, tenant_id, {one.customer_id for one in subscriptions}, of_money=True
        )
    plans = plan_versions_by_id(books, tenant_id, versions_of(subscriptions))
    open_now = {
        one.subscription_id: so_far
        for one in subscriptions
        if (so_far := bill_so_far(one, customers[one.customer_id], plans, now)) is not None
    }
    bills = [bill for _, bill in open_now.values()]
    with books.read_only(tenant_id) as conn:
        issued = invoice_rows.select_issued(conn, tenant_id, ids)
        billed = select_billed_before(conn, tenant_id, bills)
        usage = usage_of(conn, store, tenant_id, meters, bills)
        accrued = _accrued_of(bills, usage, units_of(conn, tenant_id, bills, meters, now))
    found: list[_Found] = []
    for one in subscriptions:
        key = one.subscription_id
        period, bill = open_now.get(key, (None, None))
        plan = plans[one.plan_version_id] if bill is None else bill.plan
        collection = collection_in_force(own.get(key), plan)
        last_collection_id = own[key].collection_id if key in own else 0
        seen = None
        if period is not None:
            seen = Seen(
                subscription_id=key,
                period=period,
                currency=plan.currency,
                accrued=accrued[key],
                billed=billed.get((key, period.start), ()),
                collection=collection,
                terms=terms.get(key, NO_TERMS),
                last_change_id=one.last_change_id,
                last_collection_id=last_collection_id,
                has_wallet=one.customer_id in holders,
            )
        customer = customers[one.customer_id]
        found.append(_Found(one, customer, plan, collection, last_collection_id, before.get(key), seen, bill))
    return found, issued


def _accrued_of(bills: Sequence[Bill], usage: UsageOfBills, units: Units | None) -> dict[int, Decimal | None]:
    """What each bill's usage comes to that units do not pay, by subscription; None where it cannot be rated."""
    found: dict[int, Decimal | None] = {}
    for position, bill in enumerate(bills):
        used = usage.of(position)
        try:
            paid = bill if units is None else units.on(bill, used)
            accrued = accrued_on(lines_of(paid, used))
        except FarthingError:
            accrued = None
        found[bill.subscription.subscription_id] = accrued
    return found


def list_accrued(
    books: Books,
    store: EventStore,
    tenant_id: int,
    now: datetime,
    after: str | None = None,
    limit: int | None = None,
    customer: str | None = None,
) -> list[dict[str, Any]]:
    """What the open periods of subscriptions come to now, in order of key, the first after `after`.

    It is computed when it is asked for, for everybody, charged as they go or not. A subscription that is
    in no period is left out.

    Raises NotFound `customer_not_found`; Corrupt `segment_damaged`.
    """
    if customer is not None:
        get_customer(books, tenant_id, customer)
    prepare_usage(books, store, tenant_id, now)
    with books.read_only(tenant_id) as conn:
        ids = rows.select_begun_after(conn, tenant_id, now, after, limit, customer)
    documents: list[dict[str, Any]] = []
    for first in range(0, len(ids), BILLS_PER_QUERY):
        found, _ = _found(books, store, tenant_id, ids[first : first + BILLS_PER_QUERY], now)
        documents += [_document(one, now) for one in found if one.seen is not None]
    return documents


def _document(one: _Found, now: datetime) -> dict[str, Any]:
    assert one.seen is not None
    seen = look(one.before, one.seen, now)
    as_you_go = one.collection.as_you_go
    return {
        "customer": one.customer.key,
        "subscription": one.subscription.key,
        "plan": one.plan.key,
        "currency": one.plan.currency,
        "period": instants(seen.period),
        "at": format_instant(now),
        "accrued": trimmed(seen.accrued),
        "billed": plain(seen.billed),
        "unbilled": trimmed(seen.unbilled),
        "invoices": [one.number for one in one.seen.billed],
        "collection": collection_json(one.collection),
        "threshold": trimmed(seen.threshold) if as_you_go and seen.threshold is not None else None,
        "charge_by": format_instant(seen.charge_by) if as_you_go and seen.charge_by is not None else None,
        "held": seen.held.value if as_you_go and seen.held is not None else None,
    }
