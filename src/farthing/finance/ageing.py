"""How old debts are. Pure.

What stands under a document is that document's debt; payments, credit notes and write-offs that name it have been
taken off already. What a customer has to its credit under any other name (a payment that names no invoice, a refund
that is still to come) pays its oldest debts first. So a customer's items always add up to its receivable.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from farthing.finance.model import OpenItem
from farthing.kernel.quantity import ZERO, exact

BUCKETS = ("not due", "1 to 30", "31 to 60", "61 to 90", "over 90")
"""Days since a debt fell due."""
CREDIT = "credit"
"""Where a customer has more to its credit than it owes."""

_UP_TO_DAYS = (30, 60, 90)


def aged(items: Iterable[OpenItem], as_of: datetime) -> dict[tuple[str, str], dict[str, Decimal]]:
    """By (customer, currency), how much is owed in each bucket; `credit` is below zero."""
    of_customer: dict[tuple[str, str], list[OpenItem]] = defaultdict(list)
    for item in items:
        of_customer[item.customer, item.currency].append(item)
    return {key: _buckets(of_customer[key], as_of) for key in sorted(of_customer)}


def bucket_of(due_at: datetime, as_of: datetime) -> str:
    """The bucket of a debt: one that falls due at this very moment is not late yet."""
    if as_of <= due_at:
        return BUCKETS[0]
    days = (as_of - due_at) // timedelta(days=1)
    for place, most in enumerate(_UP_TO_DAYS, start=1):
        if days <= most:
            return BUCKETS[place]
    return BUCKETS[-1]


def _buckets(items: list[OpenItem], as_of: datetime) -> dict[str, Decimal]:
    found = dict.fromkeys((*BUCKETS, CREDIT), ZERO)
    with exact():
        credit = -sum((item.amount for item in items if item.amount < 0), ZERO)
        debts = sorted(
            (item for item in items if item.amount > 0), key=lambda item: (_due(item), item.reference)
        )
        for item in debts:
            paid = min(credit, item.amount)
            credit -= paid
            found[bucket_of(_due(item), as_of)] += item.amount - paid
        found[CREDIT] = -credit if credit else ZERO
    return found


def _due(item: OpenItem) -> datetime:
    """A debt without a day of its own (a chargeback, an opening balance) is due since it arose."""
    return item.due_at or item.since
