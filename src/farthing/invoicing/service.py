"""Use cases of invoicing: bill everyone, read invoices, say who sells."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from farthing.catalog.model import Plan
from farthing.catalog.service import plan_versions_by_id
from farthing.customers.model import Customer, Subscription
from farthing.customers.service import subscriptions_begun
from farthing.customers.store import select_one_offs
from farthing.customers.terms.billing_store import select_billing_terms
from farthing.customers.terms.collecting_store import select_own_collections
from farthing.customers.terms.model import Terms
from farthing.customers.terms.service import all_terms, get_terms
from farthing.customers.terms.store import select_terms
from farthing.db import Books
from farthing.db.outbox import announce
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import booking_store as booking_rows
from farthing.invoicing import store as rows
from farthing.invoicing.accrued.facts import charge_facts
from farthing.invoicing.adjusting.adjustments import History
from farthing.invoicing.adjusting.state import commitment_state, redemption_state
from farthing.invoicing.announcing import issued_facts
from farthing.invoicing.batches import INVOICES_PER_TRANSACTION, Batch, carried_for, draft_batches, pieces
from farthing.invoicing.booking import issued_transfers
from farthing.invoicing.carrying.forward import subscriptions_waited_for
from farthing.invoicing.carrying.store import select_waiting
from farthing.invoicing.drafts.grace import parted_by_grace
from farthing.invoicing.due import due_bills, parted, with_one_offs
from farthing.invoicing.late.bills import with_corrections
from farthing.invoicing.late.giving_back import give_back_by_policy
from farthing.invoicing.late.store import select_credited_at_once
from farthing.invoicing.model import Bill, BillingResult, Draft
from farthing.invoicing.paper.pdf import check_logo
from farthing.invoicing.run import (
    ALREADY_ISSUED,
    IN_GRACE,
    SUBSCRIPTION_CHANGED,
    numbered,
    passed_over,
)
from farthing.invoicing.seller import parse_seller, seller_on_document
from farthing.invoicing.taxes.reading import with_taxes
from farthing.invoicing.units.drawing import drawn_from_units
from farthing.invoicing.wallets import paid_from_wallets
from farthing.kernel.errors import NotFound
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import plain, trimmed
from farthing.kernel.reading import shown
from farthing.ledger.recipes import INVOICE_KEY_PREFIX
from farthing.ledger.service import post
from farthing.usage.service import prepare_usage

LIST_LIMIT_MAX = 101
"""A page of a hundred, and the one that tells whether another page follows."""
DOCUMENTS_PER_QUERY = 500

Progress = Callable[[int, int], None]

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose invoices a run is about: everybody's, those of some customers, or of one subscription.

    early: whether they are issued without their grace.
    """

    customer_ids: Collection[int] | None = None
    subscription_id: int | None = None
    early: bool = False

    @property
    def everybody(self) -> bool:
        return self.customer_ids is None and self.subscription_id is None

    def of(self, billed: "Subscribed") -> "Subscribed":
        """Those of these subscriptions that the run is about."""
        if self.subscription_id is None:
            return billed
        return billed.of([one for one in billed.subscriptions if one.subscription_id == self.subscription_id])


EVERYBODY = Whose()


def run_billing(
    books: Books,
    store: EventStore,
    tenant_id: int,
    until: datetime,
    now: datetime,
    progress: Progress | None = None,
    *,
    whose: Whose = EVERYBODY,
) -> BillingResult:
    """Issue every invoice of a tenant that is due by `until`, whose grace is over then and that does not stand yet.

    Safe to run at any time, several at once, and to kill: invoices are issued in transactions of a
    thousand, in one order, and what was issued is passed over by the next run.

    progress: called with the bills done and the bills to do.
    """
    book_past_invoices(books, tenant_id, now)
    prepare_usage(books, store, tenant_id, now)
    billed = whose.of(subscribed_by(books, tenant_id, until, whose.customer_ids))
    ids = None if whose.everybody else {one.subscription_id for one in billed.subscriptions}
    with books.read_only(tenant_id) as conn:
        issued = rows.select_issued(conn, tenant_id, ids)
        terms = select_billing_terms(conn, tenant_id, whose.customer_ids)
        one_offs = select_one_offs(conn, tenant_id, unbilled=True)
    missing, standing = parted(billed.due(until), issued)
    seen = Counter(key.subscription_id for key in issued)
    result = BillingResult(skipped=[passed_over(bill, ALREADY_ISSUED) for bill in standing])
    give_back_by_policy(books, store, tenant_id, standing, billed.terms, now)
    bills = with_one_offs(missing, one_offs)
    bills = with_corrections(books, store, tenant_id, bills, standing, billed.terms)
    if not whose.early:
        bills, result.in_grace = parted_by_grace(bills, lambda customer: terms.of(customer).grace, until)
        result.skipped += [passed_over(bill, IN_GRACE) for bill in result.in_grace]
    for batch in draft_batches(books, store, tenant_id, bills, billed.terms, now, issuing=True):
        numbers, skipped = issue(books, tenant_id, batch, now, seen)
        result.issued += numbers
        result.skipped += batch.skipped + skipped
        if progress:
            progress(batch.bills_done, len(bills))
    return result


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Subscriptions that have begun, with all that says what they are billed.

    waited_for: those that have carried something forward which no invoice has brought yet.
    """

    subscriptions: Sequence[Subscription]
    customers: Mapping[int, Customer]
    plans: Mapping[int, Plan]
    terms: Mapping[int, Terms]
    waited_for: frozenset[int] = frozenset()

    def of(self, subscriptions: Sequence[Subscription]) -> "Subscribed":
        """Some of these subscriptions, with the same about them."""
        return replace(self, subscriptions=subscriptions)

    def due(self, until: datetime) -> list[Bill]:
        """Every invoice that is due by then, issued or not."""
        return due_bills(self.subscriptions, self.customers, self.plans, until, self.terms, self.waited_for)


def subscribed_by(
    books: Books, tenant_id: int, until: datetime, customer_ids: Collection[int] | None = None
) -> Subscribed:
    """Everything about the subscriptions that begin by then: all of them, or those of these customers."""
    subscriptions, customers = subscriptions_begun(books, tenant_id, until + _MICROSECOND, customer_ids)
    plans = plan_versions_by_id(books, tenant_id, versions_of(subscriptions))
    ids = None if customer_ids is None else [one.subscription_id for one in subscriptions]
    with books.read_only(tenant_id) as conn:
        waited_for = subscriptions_waited_for(select_waiting(conn, tenant_id, customer_ids).values())
    return Subscribed(subscriptions, customers, plans, all_terms(books, tenant_id, ids), waited_for)


def versions_of(subscriptions: Iterable[Subscription]) -> set[int]:
    """Every plan version that subscriptions have to do with, also by changes that were called off."""
    versions = {subscription.plan_version_id for subscription in subscriptions}
    for subscription in subscriptions:
        versions |= {fact.plan_version_id for fact in subscription.facts if fact.plan_version_id is not None}
    return versions


def issue(
    books: Books, tenant_id: int, batch: Batch, now: datetime, seen: Counter[int]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Number and keep the drafts in one transaction, but for those that no longer stand as drafted.

    seen: how many invoices of each subscription the drafts know of. A draft says what those before it do
    not; where another run issued something in between, it is left to the next run.
    """
    if not batch.drafts:
        return [], []
    with books.transaction(tenant_id) as conn:
        rows.lock_issuing(conn, tenant_id)
        ids = {draft.bill.subscription.subscription_id for draft in batch.drafts}
        changes = rows.hold_changes(conn, tenant_id, ids)
        issued = rows.select_issued(conn, tenant_id, ids)
        standing = Counter(key.subscription_id for key in issued)
        # Read again, now that it stands still: what drafts were computed from may have moved.
        carried = carried_for(
            conn, tenant_id, [draft.bill for draft in batch.drafts], select_terms(conn, tenant_id, ids)
        )
        credited = select_credited_at_once(conn, tenant_id, ids)
        kept: list[Draft] = []
        skipped: list[dict[str, Any]] = []
        for draft in batch.drafts:
            bill = draft.bill
            number = bill.subscription.subscription_id
            if bill.key in issued:
                skipped.append(passed_over(bill, ALREADY_ISSUED))
                seen[number] += 1
            elif (
                changes.get(number, 0) != bill.subscription.last_change_id
                or seen[number] != standing[number]
                or (basis := carried.basis(bill)) != draft.basis
                or (bill.corrections and bill.credited_at_once != credited.get(number, 0))
            ):
                skipped.append(passed_over(bill, SUBSCRIPTION_CHANGED))
            else:
                if basis.carried is not None:
                    # The same, but it knows the numbers that were given in the meantime.
                    draft = replace(draft, basis=basis)
                carried.add(draft)
                kept.append(draft)
                seen[number] += 1
                standing[number] += 1
        kept, units = drawn_from_units(conn, tenant_id, kept, skipped, now)
        if not kept:
            return [], skipped
        tenant_name, seller = rows.select_seller(conn, tenant_id)
        prepared = batch.prepared
        kept = with_taxes(conn, tenant_id, kept, seller, ahead=None if prepared is None else prepared.taxes)
        first = rows.take_numbers(conn, tenant_id, len(kept))
        kept, draws = paid_from_wallets(conn, tenant_id, kept, now)
        named = seller_on_document(seller, tenant_name)
        ready = {} if prepared is None else prepared.documents(named, now)
        invoices = numbered(kept, first, named, now, ready)
        issued_now = booking_rows.select_issued_of(
            conn, tenant_id, rows.insert_invoices(conn, tenant_id, invoices, now)
        )
        post(conn, tenant_id, [*units, *draws, *issued_transfers(issued_now)], now)
        charges = charge_facts(invoices, select_own_collections(conn, tenant_id, ids), now)
        announce(conn, tenant_id, [*issued_facts(invoices, now), *charges])
    return [invoice.number for invoice in invoices], skipped


def book_past_invoices(books: Books, tenant_id: int, now: datetime) -> int:
    """Book the invoices that were issued before there was a ledger, and say how many those were.

    They take effect on the day of their issue. Safe to run at any time, several at once, and to kill.
    """
    booked, after = 0, 0
    while True:
        with books.transaction(tenant_id) as conn:
            some = booking_rows.select_unbooked_after(
                conn, tenant_id, after, INVOICES_PER_TRANSACTION, INVOICE_KEY_PREFIX
            )
            booked += post(conn, tenant_id, issued_transfers(some), now).booked
        if len(some) < INVOICES_PER_TRANSACTION:
            return booked
        after = some[-1]["invoice_id"]


def get_invoice(books: Books, tenant_id: int, number: str) -> dict[str, Any]:
    """The invoice as it was issued; where it is void, that with it. Raises NotFound `invoice_not_found`."""
    with books.read_only(tenant_id) as conn:
        found = rows.select_document(conn, tenant_id, number)
    if found is None:
        raise no_invoice(number)
    document: dict[str, Any] = json.loads(found["document"])
    if found["voided_at"] is not None:
        voided_at = format_instant(found["voided_at"])
        document |= {"status": "void", "voided_at": voided_at, "void_reason": found["void_reason"]}
    return document


def invoice_documents(books: Books, tenant_id: int, numbers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """These invoices as they were issued, in this order, a few hundred read at a time."""
    for some in pieces(numbers, DOCUMENTS_PER_QUERY):
        with books.read_only(tenant_id) as conn:
            found = rows.select_documents(conn, tenant_id, some)
        for number in some:
            if number not in found:
                raise no_invoice(number)
            yield json.loads(found[number])


def list_invoices(
    books: Books,
    tenant_id: int,
    after: str | None,
    limit: int,
    customer: str | None = None,
    *,
    void: bool | None = None,
) -> list[dict[str, Any]]:
    """Invoices in order of issue without their lines, the first after the number `after`.

    void: only those that are void, or only those that hold.
    """
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        found = rows.select_summaries_after(conn, tenant_id, after, limit, customer=customer, void=void)
    return _summaries(found)


def invoices_named(books: Books, tenant_id: int, numbers: Sequence[str]) -> list[dict[str, Any]]:
    """The invoices with these numbers in order of issue, without their lines."""
    with books.read_only(tenant_id) as conn:
        found = rows.select_summaries_after(conn, tenant_id, None, len(numbers), numbers=numbers)
    return _summaries(found)


def _summaries(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "number": row["number"],
            "customer": row["customer"],
            "subscription": row["subscription"],
            "status": row["status"],
            "currency": row["currency"],
            "period": {
                "start": format_instant(row["period_start"]),
                "end": format_instant(row["period_end"]),
            },
            "subtotal": plain(row["subtotal"]),
            "tax": plain(row["tax"]),
            "total_exact": trimmed(row["total_exact"]),
            "total": plain(row["total"]),
            "reason": row["reason"],
            "issued_at": format_instant(row["issued_at"]),
        }
        for row in found
    ]


def list_redemptions(books: Books, tenant_id: int, subscription: str) -> list[dict[str, Any]]:
    """The coupons that a subscription redeemed, in that order, and what they took off issued invoices.

    Raises NotFound `subscription_not_found`.
    """
    found, terms = get_terms(books, tenant_id, subscription)
    history = _history(books, tenant_id, found)
    return [redemption_state(one, history) for one in terms.redemptions]


def list_commitments(books: Books, tenant_id: int, subscription: str) -> list[dict[str, Any]]:
    """The commitments of a subscription in order of their terms, and how far issued invoices used them.

    Raises NotFound `subscription_not_found`.
    """
    found, terms = get_terms(books, tenant_id, subscription)
    history = _history(books, tenant_id, found)
    return [commitment_state(one, history) for one in terms.commitments]


def _history(books: Books, tenant_id: int, subscription: Subscription) -> History:
    since = {subscription.subscription_id: subscription.start}
    with books.read_only(tenant_id) as conn:
        return rows.select_histories(conn, tenant_id, since).get(subscription.subscription_id, History())


def get_seller(books: Books, tenant_id: int) -> dict[str, Any]:
    """Who invoices come from, with logo and paper; the tenant's own name if nothing else was said."""
    with books.read_only(tenant_id) as conn:
        tenant_name, seller = rows.select_seller(conn, tenant_id)
    return {"name": tenant_name} | seller


def put_seller(books: Books, tenant_id: int, raw: object) -> dict[str, Any]:
    """Say who invoices come from, from now on. Raises InvalidInput `invalid_seller`, `invalid_logo`."""
    seller = parse_seller(raw)
    check_logo(seller)
    with books.transaction(tenant_id) as conn:
        rows.update_seller(conn, tenant_id, seller)
    return seller


def no_invoice(number: str) -> NotFound:
    """What is said of an invoice that does not stand."""
    return NotFound("invoice_not_found", f"there is no invoice {shown(number)}")
