"""The totals of the invoices of a period that was charged before its end. Pure.

What interim invoices billed is in whole minor units. It is taken off after rounding, so that the invoices of a
period sum to the rounded period, also where a half is rounded. An interim invoice itself comes to whole
minor units exactly, and its lines receive them by largest remainder, whatever the plan rounds.

Example, half even:   the period 0.125 -> 0.12, billed 0.01, left 0.11   (0.115 rounded by itself would be 0.12)
"""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from farthing.catalog.model import RoundingScope
from farthing.invoicing.drafting.totals import totals_of
from farthing.invoicing.model import Bill, Line, LineKind, Reason, Totals
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact
from farthing.kernel.rounding import round_money


def totals_less_billed(
    lines: Sequence[Line], bill: Bill, brought_exact: Decimal = ZERO, brought: Decimal = ZERO
) -> Totals:
    """The totals of these lines, among which may be what interim invoices of the period billed.

    brought_exact, brought: what is brought forward beside them, and what is shown of it; they are rounded together.
    """
    if bill.reason is Reason.INTERIM:
        by_total = replace(bill.plan, rounding=RoundingScope.INVOICE)
        return totals_of([line.amount_exact for line in lines], by_total)
    own = [line.amount_exact for line in lines if line.kind is not LineKind.BILLED]
    totals = totals_of(own, bill.plan, brought_exact, brought)
    if len(own) == len(lines):
        return totals
    minor_units = MINOR_UNITS[bill.plan.currency]
    rounded = iter(totals.amounts)
    amounts = tuple(
        round_money(line.amount_exact, minor_units) if line.kind is LineKind.BILLED else next(rounded)
        for line in lines
    )
    with exact():
        billed = sum((line.amount_exact for line in lines if line.kind is LineKind.BILLED), ZERO)
        return Totals(
            amounts,
            totals.subtotal + billed,
            totals.tax,
            totals.total + billed,
            totals.total_exact + billed,
        )
