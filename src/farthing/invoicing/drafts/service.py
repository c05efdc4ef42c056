"""Use cases of drafts: what is one, issuing it early, and the engine's billing by itself."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from farthing.customers.service import get_customer, get_subscription
from farthing.customers.terms.billing_store import select_billing_terms
from farthing.db import Books
from farthing.db.outbox import Fact, announce
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import store as invoice_rows
from farthing.invoicing.ahead.preview import is_open, only, pending
from farthing.invoicing.batches import draft_batches
from farthing.invoicing.document import instants
from farthing.invoicing.drafts import store as rows
from farthing.invoicing.drafts.grace import GraceOf, issue_at, parted_by_grace
from farthing.invoicing.model import Bill, BillingResult, Draft
from farthing.invoicing.service import LIST_LIMIT_MAX, Subscribed, Whose, run_billing, subscribed_by
from farthing.invoicing.taxes.reading import with_taxes
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import plain, trimmed
from farthing.kernel.reading import Faults, Fields, parse_text
from farthing.usage.service import prepare_usage

INVOICE_DRAFTED = "invoice.drafted"
SEALED_AFTER = timedelta(minutes=5)
"""What is accepted is sealed by then: nothing is billed by itself sooner after it is due."""


def list_drafts(
    books: Books,
    store: EventStore,
    tenant_id: int,
    now: datetime,
    after: str | None,
    limit: int,
    customer: str | None = None,
) -> list[dict[str, Any]]:
    """The drafts as they stand now, without their lines, in the order in which their bills were due.

    after: the `draft` of the last one of the page before. Raises NotFound `customer_not_found`.
    """
    assert 1 <= limit <= LIST_LIMIT_MAX
    if customer is not None:
        get_customer(books, tenant_id, customer)
    prepare_usage(books, store, tenant_id, now)
    billed = only(subscribed_by(books, tenant_id, now), customer)
    with books.read_only(tenant_id) as conn:
        terms = select_billing_terms(conn, tenant_id)
        issued = invoice_rows.select_issued(conn, tenant_id)
    grace_of: GraceOf = lambda customer_id: terms.of(customer_id).grace  # noqa: E731
    missing = [bill for bill in billed.due(now) if bill.key not in issued]
    _, waiting = parted_by_grace(missing, grace_of, now)
    names = [draft_name(bill) for bill in waiting]
    place = 0 if after is None else names.index(after) + 1 if after in names else len(names)
    found: list[Draft] = []
    while len(found) < limit and place < len(waiting):  # bills with nothing on them are no drafts
        page = waiting[place : place + limit]
        found += _drafted(books, store, tenant_id, billed, page, now)
        place += limit
    return [_draft_json(draft, issue_at(draft.bill, grace_of)) for draft in found[:limit]]


def draft_name(bill: Bill) -> str:
    """What tells a draft from the others, as long as it is one: `acme-payg/2026-01-01T00:00:00Z/period`."""
    return f"{bill.subscription.key}/{format_instant(bill.period.start)}/{bill.reason.value}"


def issue_early(books: Books, store: EventStore, tenant_id: int, raw: object, now: datetime) -> BillingResult:
    """Issue what is due of a customer or a subscription now, without its grace: `{"customer": "acme"}`.

    Raises InvalidInput `invalid_issue`; NotFound `customer_not_found`, `subscription_not_found`.
    """
    faults = Faults("invalid_issue")
    fields = Fields(raw, "", faults)
    customer = fields.optional("customer", parse_text, None)
    subscription = fields.optional("subscription", parse_text, None)
    fields.refuse_unknown()
    if fields.is_object and (customer is None) == (subscription is None) and not faults:
        faults.add("", "names either a customer or a subscription")
    faults.refuse()
    if subscription is not None:
        found = get_subscription(books, tenant_id, subscription)
        whose = Whose([found.customer_id], found.subscription_id, early=True)
    else:
        assert customer is not None
        whose = Whose([get_customer(books, tenant_id, customer).customer_id], early=True)
    return run_billing(books, store, tenant_id, now, now, whose=whose)


def bill_by_itself(books: Books, store: EventStore, tenant_id: int, now: datetime) -> int:
    """Issue what is due of customers for whom a grace is said, once it is over. How many invoices that made.

    What has become a draft is told as `invoice.drafted`. Safe to run at any time, several at once, and to kill.
    """
    with books.read_only(tenant_id) as conn:
        terms = select_billing_terms(conn, tenant_id)
    customers = None
    if terms.tenant.grace_hours is None:
        customers = [key for key, own in terms.own.items() if own.grace_hours is not None]
        if not customers:
            return 0
    until = now - SEALED_AFTER
    result = run_billing(books, store, tenant_id, until, now, whose=Whose(customers))
    if result.in_grace:
        _tell(books, tenant_id, result.in_grace, lambda customer_id: terms.of(customer_id).grace, now)
    return len(result.issued)


def _tell(books: Books, tenant_id: int, bills: list[Bill], grace_of: GraceOf, now: datetime) -> None:
    with books.transaction(tenant_id) as conn:
        fresh = rows.insert_notices(conn, tenant_id, [bill.key for bill in bills], now)
        announce(
            conn,
            tenant_id,
            [
                Fact(
                    INVOICE_DRAFTED,
                    bill.subscription.key,
                    {
                        "customer": bill.customer.key,
                        "currency": bill.plan.currency,
                        "period": instants(bill.period),
                        "reason": bill.reason.value,
                        "issue_at": format_instant(issue_at(bill, grace_of)),
                    },
                    now,
                )
                for bill in bills
                if bill.key in fresh
            ],
        )


def _drafted(
    books: Books,
    store: EventStore,
    tenant_id: int,
    billed: Subscribed,
    page: Sequence[Bill],
    now: datetime,
) -> list[Draft]:
    """The bills of a page, drafted behind what else is due of their customers; one with nothing on it is none."""
    wanted = {bill.key for bill in page}
    customers = {bill.customer.customer_id for bill in page}
    theirs = [one for one in billed.subscriptions if one.customer_id in customers]
    due = [
        bill for bill in pending(books, store, tenant_id, billed.of(theirs), now) if not is_open(bill, now)
    ]
    with books.read_only(tenant_id) as conn:
        _, seller = invoice_rows.select_seller(conn, tenant_id)
    found: list[Draft] = []
    for batch in draft_batches(books, store, tenant_id, due, billed.terms, now):
        with books.read_only(tenant_id) as conn:
            found += with_taxes(
                conn, tenant_id, [one for one in batch.drafts if one.bill.key in wanted], seller
            )
    return found


def _draft_json(draft: Draft, at: datetime) -> dict[str, Any]:
    bill, totals = draft.bill, draft.totals
    return {
        "number": None,
        "draft": draft_name(bill),
        "customer": bill.customer.key,
        "subscription": bill.subscription.key,
        "status": "draft",
        "currency": bill.plan.currency,
        "period": instants(bill.period),
        "subtotal": plain(totals.subtotal),
        "tax": plain(totals.tax),
        "total_exact": trimmed(totals.total_exact),
        "total": plain(totals.total),
        "reason": bill.reason.value,
        "issue_at": format_instant(at),
    }
