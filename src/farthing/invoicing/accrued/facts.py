"""What the world outside is told of pay as you go. Pure.

`spend.threshold_reached` (subject: the customer) when as much had accrued as may, `charge.due` (subject: the
invoice) when an invoice of somebody who is charged as they go is issued, also the one at the end of a period. Both
stand in the transaction of the invoice: they are told exactly if it was issued.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from farthing.customers.terms.collecting import collection_in_force
from farthing.customers.terms.collecting_store import OwnCollection
from farthing.db.outbox import Fact
from farthing.invoicing.interim.charging import accrued_on
from farthing.invoicing.model import Because
from farthing.invoicing.written import Invoice
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import ZERO, exact, plain, trimmed


def charge_facts(invoices: Iterable[Invoice], own: Mapping[int, OwnCollection], now: datetime) -> list[Fact]:
    """The facts of newly issued invoices; own: terms of collection of subscriptions, by id."""
    facts: list[Fact] = []
    for invoice in invoices:
        bill = invoice.draft.bill
        held = own.get(bill.subscription.subscription_id)
        as_you_go = collection_in_force(held, bill.plan).as_you_go
        if bill.interim is None and not as_you_go:
            continue
        if bill.interim is not None and bill.interim.because is Because.THRESHOLD:
            facts.append(Fact("spend.threshold_reached", bill.customer.key, _reached(invoice), now))
        if invoice.draft.totals.total > 0:
            facts.append(Fact("charge.due", invoice.number, _charge(invoice), now))
    return facts


def _charge(invoice: Invoice) -> dict[str, Any]:
    bill, totals = invoice.draft.bill, invoice.draft.totals
    because = bill.reason.value if bill.interim is None else bill.interim.because.value
    return _head(invoice) | {"reason": bill.reason.value, "because": because, "amount": plain(totals.total)}


def _reached(invoice: Invoice) -> dict[str, Any]:
    draft = invoice.draft
    accrued = accrued_on(draft.lines)
    with exact():
        billed = sum((one.total for one in draft.basis.billed), ZERO)
        unbilled = accrued - billed
    interim = draft.bill.interim
    threshold = None if interim is None else interim.threshold
    return _head(invoice) | {
        "invoice": invoice.number,
        "accrued": trimmed(accrued),
        "billed_before": plain(billed),
        "unbilled": trimmed(unbilled),
        "threshold": None if threshold is None else trimmed(threshold),
    }


def _head(invoice: Invoice) -> dict[str, Any]:
    bill = invoice.draft.bill
    return {
        "customer": bill.customer.key,
        "subscription": bill.subscription.key,
        "currency": bill.plan.currency,
        "period_start": format_instant(bill.period.start),
        "period_end": format_instant(bill.period.end),
    }
