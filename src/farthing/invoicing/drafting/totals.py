"""How exact amounts become money on an invoice. Pure.

By default the total is rounded once to the currency's minor unit, and the lines receive it by largest
remainder. A plan may ask for each line to be rounded instead; the total is then their sum. Either way
lines sum to the total, and neither a discount nor a credit (a line below zero) changes that.

Example, three lines of 0.333 USD:   total 1.00, lines 0.34 0.33 0.33     "rounding": "invoice"
                                     total 0.99, lines 0.33 0.33 0.33     "rounding": "line"
"""

from collections.abc import Sequence
from decimal import Decimal

from farthing.catalog.model import Plan, RoundingScope
from farthing.invoicing.model import Totals
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact
from farthing.kernel.rounding import allocate, round_money


def totals_of(
    amounts_exact: Sequence[Decimal], plan: Plan, brought_exact: Decimal = ZERO, brought: Decimal = ZERO
) -> Totals:
    """The amounts of an invoice of this plan. Tax is zero so far.

    brought_exact, brought: what is brought forward, and what is shown of it, which stands. The total is rounded with
    it, and what that makes of these lines beyond their own rounding is the largest one's. It is not in the answer.
    """
    minor_units = MINOR_UNITS[plan.currency]
    total_exact = _sum(amounts_exact)
    tax = round_money(ZERO, minor_units)
    if plan.rounding is RoundingScope.LINE:
        amounts = [round_money(amount, minor_units, plan.rounding_mode) for amount in amounts_exact]
        subtotal = _sum(amounts)
    else:
        subtotal = round_money(total_exact, minor_units, plan.rounding_mode)
        amounts = allocate(amounts_exact, subtotal, minor_units)
        if brought_exact and amounts:
            with exact():
                together = round_money(total_exact + brought_exact, minor_units, plan.rounding_mode) - brought
                largest = max(range(len(amounts)), key=lambda place: amounts_exact[place])
                amounts[largest] += together - subtotal
            subtotal = together
    assert _sum(amounts) == subtotal, "lines sum to the subtotal"
    return Totals(tuple(amounts), subtotal, tax, _sum([subtotal, tax]), total_exact)


def _sum(amounts: Sequence[Decimal]) -> Decimal:
    with exact():
        return sum(amounts, ZERO)
