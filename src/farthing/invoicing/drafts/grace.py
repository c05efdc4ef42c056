"""When a bill that is due is issued: at once, or after a grace in which it stands as a draft. Pure.

    January is over     1 February, 00:00     its bill is due, and a draft: nothing is numbered, nothing is booked
    an event of 31 January comes              it is in the draft, which is computed from usage whenever it is asked for
    72 hours later      4 February, 00:00     the invoice is issued; what comes later still is on the next one

Only what is billed when a period is over waits. A bill that has no grace (a start, a change that asks for its invoice
at once) takes those before it of the same subscription along, so that the invoices of a subscription stand in order.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from farthing.invoicing.model import Bill, Reason

_AFTER_GRACE = (Reason.PERIOD, Reason.SETTLEMENT)

GraceOf = Callable[[int], timedelta]
"""The grace of a customer, by id."""


def issue_at(bill: Bill, grace_of: GraceOf) -> datetime:
    """When the bill by itself is no draft any more."""
    if bill.reason not in _AFTER_GRACE:
        return bill.due_since
    return bill.due_since + grace_of(bill.customer.customer_id)


def parted_by_grace(
    bills: Sequence[Bill], grace_of: GraceOf, moment: datetime
) -> tuple[list[Bill], list[Bill]]:
    """Of bills in the order of issue those that are to be issued at a moment, and those that are drafts then."""
    ready: list[Bill] = []
    drafts: list[Bill] = []
    taking_along: set[int] = set()
    for bill in reversed(bills):
        key = bill.subscription.subscription_id
        if key in taking_along or issue_at(bill, grace_of) <= moment:
            taking_along.add(key)
            ready.append(bill)
        else:
            drafts.append(bill)
    return ready[::-1], drafts[::-1]
