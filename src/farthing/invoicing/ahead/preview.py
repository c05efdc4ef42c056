"""Looking ahead by the code of the billing run: the next invoices, what usage would add; nothing is issued.

A preview at a moment holds, for each subscription, what a billing run up to that moment would issue
(`due`), what stands as a draft until its grace is over (`draft`), and the period that is open then as if it
ended with what was used so far (`open`). So minimums are filled up in it, and commitments whose term ends
with the period are settled. A billing run at the same
clock issues the due ones to the last digit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from farthing.catalog.model import Meter, PlanVersion
from farthing.catalog.service import all_meters, get_plan
from farthing.customers.service import get_customer, get_subscription
from farthing.customers.store import select_one_offs
from farthing.customers.terms.billing_store import select_billing_terms
from farthing.customers.terms.model import NO_TERMS
from farthing.db import Books
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import store as rows
from farthing.invoicing.adjusting.adjustments import History
from farthing.invoicing.ahead.estimate import Question, bills_of_nobody, check_added, difference, with_added
from farthing.invoicing.batches import add_covers, carried_for, draft_batches
from farthing.invoicing.document import document_of
from farthing.invoicing.drafting.fees import covers_of
from farthing.invoicing.drafting.usage_lines import BillUsage
from farthing.invoicing.drafting.usage_reading import usage_of
from farthing.invoicing.drafts.grace import issue_at, parted_by_grace
from farthing.invoicing.due import open_bills, parted, with_one_offs
from farthing.invoicing.late.bills import with_corrections
from farthing.invoicing.model import NO_BASIS, Basis, Bill, BillKey, Cover, Draft, Line, Reason
from farthing.invoicing.run import draft_on, drafted
from farthing.invoicing.seller import seller_on_document
from farthing.invoicing.service import Progress, Subscribed, subscribed_by
from farthing.invoicing.taxes.reading import with_taxes
from farthing.invoicing.units.drawing import units_of
from farthing.invoicing.units.paying import Units
from farthing.kernel.errors import Conflict, LimitExceeded
from farthing.kernel.instant import format_instant
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact, plain, trimmed
from farthing.kernel.rounding import round_money
from farthing.usage.service import prepare_usage

DUE, DRAFT, OPEN = "due", "draft", "open"

_Position = tuple[Bill, BillUsage, list[Cover], Basis]
"""An open bill, what is used in it so far, and what came before it: billed fees, and sums over invoices."""


@dataclass(slots=True)
class Preview:
    """Invoices as they would be, without numbers, and what would be passed over, as a billing run says it."""

    upcoming: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)


def preview_billing(
    books: Books,
    store: EventStore,
    tenant_id: int,
    now: datetime,
    *,
    customer: str | None = None,
    most: int | None = None,
    progress: Progress | None = None,
) -> Preview:
    """The upcoming invoices of a tenant, or of one customer.

    Raises NotFound `customer_not_found`; LimitExceeded `too_many_invoices` for more than `most`.
    """
    if customer is not None:
        get_customer(books, tenant_id, customer)
    prepare_usage(books, store, tenant_id, now)
    billed = only(subscribed_by(books, tenant_id, now), customer)
    bills = pending(books, store, tenant_id, billed, now)
    if most is not None and len(bills) > most:
        said = f"there are {len(bills)} upcoming invoices; at most {most} are shown at once"
        raise LimitExceeded("too_many_invoices", said)
    with books.read_only(tenant_id) as conn:
        tenant_name, seller = rows.select_seller(conn, tenant_id)
        grace = select_billing_terms(conn, tenant_id)
    over = [bill for bill in bills if not is_open(bill, now)]
    _, in_grace = parted_by_grace(over, lambda customer_id: grace.of(customer_id).grace, now)
    waiting = {bill.key: issue_at(bill, lambda customer_id: grace.of(customer_id).grace) for bill in in_grace}
    shown = seller_on_document(seller, tenant_name)
    found = Preview()
    for batch in draft_batches(books, store, tenant_id, bills, billed.terms, now):
        with books.read_only(tenant_id) as conn:
            drafts = with_taxes(conn, tenant_id, batch.drafts, seller)
        found.upcoming += [_document(draft, shown, now, waiting) for draft in drafts]
        found.skipped += batch.skipped
        if progress:
            progress(batch.bills_done, len(bills))
    return found


def only(billed: Subscribed, customer: str | None, subscription: str | None = None) -> Subscribed:
    """The subscriptions of one customer, or the one, where one is named."""
    if customer is None and subscription is None:
        return billed
    kept = [one for one in billed.subscriptions if customer == one.customer or subscription == one.key]
    return billed.of(kept)


def pending(books: Books, store: EventStore, tenant_id: int, billed: Subscribed, now: datetime) -> list[Bill]:
    """What is due and not issued, in the order of issue, and then the open periods; late usage is on them."""
    bills, standing = pending_alone(books, tenant_id, billed, now)
    return with_corrections(books, store, tenant_id, bills, standing, billed.terms)


def pending_alone(
    books: Books, tenant_id: int, billed: Subscribed, now: datetime
) -> tuple[list[Bill], list[Bill]]:
    """The same without late usage, and the bills that were issued."""
    with books.read_only(tenant_id) as conn:
        ids = {one.subscription_id for one in billed.subscriptions}
        issued = rows.select_issued(conn, tenant_id, ids)
        one_offs = select_one_offs(conn, tenant_id, unbilled=True)
    missing, standing = parted(billed.due(now), issued)
    going_on = open_bills(billed.subscriptions, billed.customers, billed.plans, now, billed.terms)
    return with_one_offs(missing + going_on, one_offs), standing


def is_open(bill: Bill, now: datetime) -> bool:
    """Whether the bill is of a period that is not over."""
    return bill.due_since > now


def _document(
    draft: Draft, seller: dict[str, Any], now: datetime, waiting: Mapping[BillKey, datetime]
) -> dict[str, Any]:
    """The document as it would be issued, without what only the issue gives it. waiting: drafts, and until when."""
    until = waiting.get(draft.bill.key)
    status = OPEN if is_open(draft.bill, now) else DUE if until is None else DRAFT
    unissued = {"number": None, "status": status, "issued_at": None, "due_at": None}
    if until is not None:
        unissued["issue_at"] = format_instant(until)
    return document_of(draft, "", seller, now) | unissued


def estimate_usage(
    books: Books, store: EventStore, tenant_id: int, question: Question, now: datetime
) -> dict[str, Any]:
    """What hypothetical usage adds to the invoices of the periods that are open now (see `estimate.py`).

    Raises:
        NotFound: `customer_not_found`, `subscription_not_found`, `plan_not_found`.
        InvalidInput: `invalid_estimate` with every fault.
        Conflict: `not_subscribed`; `earlier_bill_missing` where an earlier period cannot be rated.
    """
    meters = {meter.key: meter for meter in all_meters(books, tenant_id)}
    positions, was, will_be = _positions(books, store, tenant_id, question, meters, now)
    check_added(question.usage, meters, [position[0] for position in positions], now)
    lines: list[dict[str, Any]] = []
    total = ZERO
    for bill, usage, covers, basis in positions:
        then = with_added(bill, usage, question.usage, meters, now)
        then_bill = bill if will_be is None else will_be.on(bill, then)
        now_bill = bill if was is None else was.on(bill, usage)
        before, after = _lines(now_bill, usage, covers, basis), _lines(then_bill, then, covers, basis)
        subscription = {"subscription": bill.subscription.key or None, "plan": bill.plan.key}
        lines += [
            subscription | line for line in difference(now_bill, then_bill, before, after, usage, then, now)
        ]
        with exact():
            total += sum((line.amount_exact for line in after), ZERO)
            total -= sum((line.amount_exact for line in before), ZERO)
    plan = positions[0][0].plan
    return {
        "at": format_instant(now),
        "currency": plan.currency,
        "lines": lines,
        "amount_exact": trimmed(total),
        "amount": plain(round_money(total, MINOR_UNITS[plan.currency], plan.rounding_mode)),
    }


def _lines(bill: Bill, usage: BillUsage, covers: Sequence[Cover], basis: Basis) -> tuple[Line, ...]:
    draft = draft_on(bill, usage, covers, basis)
    return () if draft is None else draft.lines


def _positions(
    books: Books,
    store: EventStore,
    tenant_id: int,
    question: Question,
    meters: Mapping[str, Meter],
    now: datetime,
) -> tuple[list[_Position], Units | None, Units | None]:
    """The open bills that the usage would go on, and the units that bills before them leave, for each of the two
    reckonings."""
    if question.plan is not None:
        nobody = _position_of_nobody(get_plan(books, tenant_id, question.plan, question.version), now)
        return [nobody], None, None
    if question.customer is not None:
        get_customer(books, tenant_id, question.customer)
    if question.subscription is not None:
        get_subscription(books, tenant_id, question.subscription)
    prepare_usage(books, store, tenant_id, now)
    billed = only(subscribed_by(books, tenant_id, now), question.customer, question.subscription)
    bills = pending(books, store, tenant_id, billed, now)
    with books.read_only(tenant_id) as conn:
        told = usage_of(conn, store, tenant_id, meters, bills)
        carried = carried_for(conn, tenant_id, bills, billed.terms)
        covers: dict[int, list[Cover]] = {}
        add_covers(conn, tenant_id, bills, covers)
        was, will_be = (units_of(conn, tenant_id, bills, meters, now) for _ in range(2))
    positions: list[_Position] = []
    for place, one in enumerate(bills):
        bill, usage = one, told.of(place)
        before = covers.setdefault(bill.subscription.subscription_id, [])
        if not is_open(bill, now):
            if was is not None and will_be is not None:
                bill = was.on(bill, usage)
                will_be.on(bill, usage)
            draft = drafted(bill, usage, before, carried)
            if isinstance(draft, Draft):
                before += covers_of(draft.lines)
            continue
        basis = carried.basis(bill)
        if basis is None:
            raise Conflict("earlier_bill_missing", "an earlier period of the subscription cannot be rated")
        # What usage costs does not depend on which invoice asks for it.
        positions.append((bill, usage, before, replace(basis, carried=None, smallest=None)))
    if not positions:
        raise Conflict("not_subscribed", "there is no subscription that is going on now")
    return positions, was, will_be


def _position_of_nobody(version: PlanVersion, now: datetime) -> _Position:
    """That of somebody who takes the plan now: nothing used, and paid in advance what the plan asks for."""
    history, covers = History(), list[Cover]()
    for bill in bills_of_nobody(version, now):
        if bill.reason is Reason.PERIOD:
            return bill, {}, covers, history.basis(bill, NO_TERMS)
        lines = _lines(bill, {}, covers, NO_BASIS)
        history.add(bill, lines)
        covers += covers_of(lines)
    raise AssertionError("a plan that is taken now has a period")
