"""How much may accrue before it is charged. Pure.

To charge costs a fee f, however large the charge is. To wait costs too: of what is owed and not paid yet, a
share c is lost each day, to customers who never pay and as interest. With a spend of r a day, charged each
time it reaches T, there are r / T charges a day, and T / 2 is owed on average:

    cost a day    K(T) = f r / T  +  c T / 2
    least where   K'(T) = -f r / T^2 + c / 2 = 0,    so    T = sqrt(2 f r / c)

There the fees of a day equal its losses, and K = sqrt(2 f r c). It is the economic order quantity (F. W. Harris,
"How Many Parts to Make at Once", Factory, The Magazine of Management 10, 1913), with charges for orders and
accrued spend for stock. K is flat at its bottom: K(xT) / K(T) = (x + 1/x) / 2, so a threshold that is a
quarter too high costs 2.5 % more than the best one, a quarter too low 4.2 %. A percentage of the charge, which
payments cost as well, is the same for every T and does not matter here.

A quarter is therefore how far the computed threshold may leave the one in force before that follows: spend goes
up and down from day to day, and a bound that people are told should not.

Example, 0.30 a charge, 20 a day, 0.1 percent a day:   sqrt(2 * 0.30 * 20 / 0.001) = 109.54
"""

from decimal import Decimal

from farthing.catalog.collection import ComputedThreshold
from farthing.kernel.quantity import exact
from farthing.kernel.rounding import quotient, square_root

_HUNDRED = Decimal(100)
KEPT_LEAST, KEPT_MOST = Decimal("0.75"), Decimal("1.25")
"""The threshold in force stays while the computed one is from so much to so much of it."""


def economic_threshold(
    fee_per_charge: Decimal, spend_per_day: Decimal, cost_percent_per_day: Decimal, minor_units: int
) -> Decimal:
    """sqrt(2 f r / c) at the currency's minor unit, half up. No spend is zero; fee and cost are above zero."""
    with exact():
        owed = 2 * fee_per_charge * spend_per_day * _HUNDRED
    return square_root(quotient(owed, cost_percent_per_day), minor_units)


def computed_threshold(
    terms: ComputedThreshold, spend_per_day: Decimal, in_force: Decimal | None, minor_units: int
) -> Decimal:
    """The threshold of a customer who spends so much a day, within its bounds.

    in_force: the threshold so far, which stays while it is near enough and within the bounds.
    """
    computed = economic_threshold(
        terms.fee_per_charge, spend_per_day, terms.cost_percent_per_day, minor_units
    )
    bounded = min(max(computed, terms.least), terms.most)
    if in_force is None or not terms.least <= in_force <= terms.most:
        return bounded
    with exact():
        near = in_force * KEPT_LEAST <= bounded <= in_force * KEPT_MOST
    return in_force if near else bounded
