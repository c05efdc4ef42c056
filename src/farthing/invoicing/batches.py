"""Bills drafted a batch at a time, and prepared for their issue, in their order and ahead of their turn."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from farthing.catalog.service import all_meters
from farthing.customers.terms.model import Terms
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import store as rows
from farthing.invoicing.adjusting.adjustments import Carried, looks_back
from farthing.invoicing.carrying.store import select_carry_forward
from farthing.invoicing.drafting.fees import cover_of_row, longest_full_period, may_bill_in_advance
from farthing.invoicing.drafting.one_ahead import one_ahead
from farthing.invoicing.drafting.usage_reading import usage_of
from farthing.invoicing.interim.store import select_billed_before
from farthing.invoicing.model import Bill, Cover, Draft
from farthing.invoicing.prepared import Prepared, conditions, prepare
from farthing.invoicing.run import drafted_in_order, passed_over
from farthing.invoicing.units.drawing import units_of

BILLS_PER_QUERY = 50_000
"""Bills whose usage is asked for, and kept in memory, at once."""
INVOICES_PER_TRANSACTION = 1_000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Batch:
    """The drafts of one transaction, what was passed over on the way to them, and how far the run is.

    prepared: them, as they will probably be issued; None where they are not going to be.
    """

    drafts: list[Draft]
    skipped: list[dict[str, Any]]
    bills_done: int
    prepared: Prepared | None


def draft_batches(
    books: Books,
    store: EventStore,
    tenant_id: int,
    bills: Sequence[Bill],
    terms: Mapping[int, Terms],
    now: datetime,
    *,
    issuing: bool = False,
) -> Iterator[Batch]:
    """Draft these bills in order, a batch at a time: for a run that issues them, and for a preview.

    issuing: whether they are going to be issued, and are to be prepared for that.
    """
    meters = {meter.key: meter for meter in all_meters(books, tenant_id)}
    with books.read_only(tenant_id) as conn:
        carried = carried_for(conn, tenant_id, bills, terms)
    bills = carried.gathered(bills)
    covers: dict[int, list[Cover]] = {}
    done = 0
    for some in pieces(bills, BILLS_PER_QUERY):
        with books.read_only(tenant_id) as conn:
            usage = usage_of(conn, store, tenant_id, meters, some)
            add_covers(conn, tenant_id, some, covers)
            units = units_of(conn, tenant_id, some, meters, now)
        drafts = drafted_in_order(some, usage, covers, carried, units)
        yield from one_ahead(_batches(books, tenant_id, drafts, done, now, issuing=issuing))
        done += len(some)


def _batches(
    books: Books,
    tenant_id: int,
    drafted: Iterable[tuple[Bill, Draft | str]],
    done: int,
    now: datetime,
    *,
    issuing: bool,
) -> Iterator[Batch]:
    for piece in pieces(drafted, INVOICES_PER_TRANSACTION):
        done += len(piece)
        drafts = [draft for _, draft in piece if isinstance(draft, Draft)]
        skipped = [passed_over(bill, draft) for bill, draft in piece if isinstance(draft, str)]
        prepared = None
        if issuing and drafts:
            with books.read_only(tenant_id) as conn:
                found = conditions(conn, tenant_id, drafts)
            prepared = prepare(drafts, *found, now)
        yield Batch(drafts, skipped, done, prepared)


def add_covers(
    conn: BooksConnection, tenant_id: int, bills: Sequence[Bill], covers: MutableMapping[int, list[Cover]]
) -> None:
    """What is billed of the fees of these bills' subscriptions, of those that are not known yet."""
    first: dict[int, Bill] = {}
    for bill in bills:
        known = first.setdefault(bill.subscription.subscription_id, bill)
        if bill.period.start < known.period.start:
            first[bill.subscription.subscription_id] = bill
    asked = {
        subscription_id: (
            bill.period.start,
            bill.period.start - longest_full_period(bill.plans, bill.subscription),
        )
        for subscription_id, bill in first.items()
        if subscription_id not in covers and may_bill_in_advance(bill.plans, bill.subscription)
    }
    for subscription_id in asked:
        covers[subscription_id] = []
    for row in rows.select_fee_lines(conn, tenant_id, asked) if asked else ():
        bill = first[row["subscription_id"]]
        cover = cover_of_row(row, bill)
        if cover is not None:
            covers[row["subscription_id"]].append(cover)


def carried_for(
    conn: BooksConnection,
    tenant_id: int,
    bills: Sequence[Bill],
    terms: Mapping[int, Terms],
    *,
    forward: bool = True,
) -> Carried:
    """What these bills depend on of the invoices issued so far, read for all of them at once.

    forward: whether what is too little for an invoice is carried forward; else each comes to what it comes to.
    """
    since: dict[int, datetime] = {}
    for bill in bills:
        subscription_id = bill.subscription.subscription_id
        if looks_back(bill, terms.get(subscription_id)):
            since[subscription_id] = min(since.get(subscription_id, bill.period.start), bill.period.start)
    histories = rows.select_histories(conn, tenant_id, since) if since else {}
    billed = select_billed_before(conn, tenant_id, bills)
    waiting = select_carry_forward(conn, tenant_id, bills) if forward else None
    return Carried(terms, histories, billed, waiting)


def pieces(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """These items in their order, so many at a time."""
    remaining = iter(items)
    while piece := list(islice(remaining, size)):
        yield piece
