"""What a bill's lines are. Pure.

Usage is billed in arrears: one line for each rate card, or for each combination of dimensions of a
matrix price and each window of a time of use (`usage_lines.py`). A line stands if anything was used or
anything is owed; usage that costs nothing is shown, a card without usage and without an amount is not.
The fees, minimums and tiers of a usage price are not prorated: a period that is shorter is shorter for
usage too.

A fixed fee is billed in arrears or in advance. In a part of a full period it owes its share:

    amount = fee * length of the part / length of the full period

exactly, to the microsecond, except where the quotient does not end: then at 18 digits, half up (the
one place in this room where an amount is rounded before the total; see kernel.rounding.quotient).

Example, 49 a month from 10 January:   49 * 22/31 = 34.774193548387096774
"""

from decimal import Decimal

from farthing.catalog.model import RateCard, Timing
from farthing.customers.billable import fraction, full_period
from farthing.invoicing.due import bills_in_advance, next_period
from farthing.invoicing.model import Bill, Line, Reason
from farthing.invoicing.usage_lines import BillUsage, usage_lines, usage_rows
from farthing.kernel.period import Period
from farthing.kernel.quantity import ONE, exact
from farthing.kernel.rounding import quotient
from farthing.rating import Charge, rate

_DAY = 86_400_000_000
_SECOND = 1_000_000


def lines_of(bill: Bill, usage: BillUsage) -> tuple[Line, ...]:
    """The lines of a bill, in the order of the plan's rate cards. `usage` is that of the bill's own period."""
    lines: list[Line] = []
    coming = next_period(bill) if bill.reason is Reason.PERIOD and bills_in_advance(bill.plan) else None
    for card in bill.plan.rate_cards:
        if card.meters:
            if bill.reason is Reason.PERIOD:
                lines += usage_lines(card, bill.period, usage_rows(card, usage))
            continue
        period = _fee_period(card, bill, coming)
        if period is not None:
            lines += _fixed_line(card, bill, period)
    return tuple(lines)


def _fee_period(card: RateCard, bill: Bill, coming: Period | None) -> Period | None:
    """The period that a fixed fee is billed for on this invoice, if it is on it at all."""
    if card.timing is Timing.ADVANCE:
        return bill.period if bill.reason is Reason.START else coming
    return bill.period if bill.reason is Reason.PERIOD else None


def _fixed_line(card: RateCard, bill: Bill, period: Period) -> list[Line]:
    rated = rate(card.price, quantity=ONE)
    full = full_period(bill.subscription, bill.plan, bill.customer, period)
    amount, charges = prorated(rated.amount, rated.charges, *fraction(period, full))
    if not amount:
        return []
    return [
        Line(
            rate_card=card.key,
            description=card.name,
            meter=None,
            dimensions={},
            service_period=period,
            quantity=ONE,
            amount_exact=amount,
            charges=charges,
        )
    ]


def prorated(
    amount: Decimal, charges: tuple[Charge, ...], part: int, whole: int
) -> tuple[Decimal, tuple[Charge, ...]]:
    """`amount * part / whole`, and the charges with one more that takes off the rest. They sum to it."""
    if part == whole or not amount:
        return amount, charges
    with exact():
        share = quotient(amount * part, Decimal(whole))
        rest = share - amount
    return share, (*charges, Charge(ONE, rest, rest, f"prorated to {_share(part, whole)}"))


def _share(part: int, whole: int) -> str:
    """`16 of 31 days`; in seconds or microseconds where that is no whole number."""
    for unit, name in ((_DAY, "days"), (_SECOND, "seconds")):
        if part % unit == whole % unit == 0:
            return f"{part // unit} of {whole // unit} {name}"
    return f"{part} of {whole} microseconds"
