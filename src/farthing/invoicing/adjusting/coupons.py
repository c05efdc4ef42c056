"""What coupons take off an invoice. Pure.

Coupons apply in the order of their redemption, each to what the ones before it left:

    percent     so many percent of what is left of the lines in its scope
    amount      so much, but never more than is left of them: an invoice is not reduced below zero

What an amount has left over is not carried to another invoice: the next one, where the coupon lasts,
is reduced by the whole amount anew. The lines an amount is taken from are used up in their order.

A fee that is given back is no charge to reduce: the credit is without what coupons had taken off it.

A coupon reduces invoices that fall due at or after its start. Each invoice that it reduced is one of its
billing periods; when there are as many as it lasts, it is used up. An invoice without anything to
take off leaves it as it is. What a coupon did is read from issued invoice lines alone.

A coupon makes one line for each service period that it takes off from (the usage of January and the
fee for February), so that what a period cost after coupons can be told later.

Example, usage of 80 and a fee of 40, coupons of 25 percent and then of 100:
    -30     25 % of 120             80 -> 60, 40 -> 30
    -90     100, of which 90        60 ->  0, 30 ->  0
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from farthing.catalog.coupon import HUNDRED, Coupon
from farthing.customers.terms.model import Redemption
from farthing.invoicing.drafting.remainder import Remainder, adjustment_line, shares
from farthing.invoicing.model import Adjustment, Basis, Bill, Line, LineKind
from farthing.invoicing.paper.wording import grouped, precise
from farthing.kernel.quantity import ONE, ZERO


def coupon_lines(bill: Bill, remainder: Remainder, basis: Basis) -> list[Line]:
    """The lines of all coupons, which are taken off the remainder. `exact()` is in force."""
    lines: list[Line] = []
    for redemption in basis.terms.redemptions:
        if _in_force(redemption, bill, basis):
            lines += _lines_of(redemption.coupon, remainder, bill.plan.currency)
    return lines


def _in_force(redemption: Redemption, bill: Bill, basis: Basis) -> bool:
    if bill.due_since < redemption.start:
        return False
    periods = redemption.coupon.periods
    return periods is None or basis.of(LineKind.COUPON, redemption.coupon.key).invoices < periods


def _lines_of(coupon: Coupon, remainder: Remainder, currency: str) -> Iterator[Line]:
    places = remainder.places(lambda line: coupon.covers(line.rate_card) and not _is_credit(line))
    reducible = remainder.sum_of(places)
    if reducible <= 0:
        return
    left = [remainder.left[place] for place in places]
    parts = _percent_parts(coupon, left) if coupon.percent else _amount_parts(coupon, left, reducible)
    remainder.take(places, parts)
    by_period: dict[object, list[int]] = {}
    for index, place in enumerate(places):
        if parts[index]:
            by_period.setdefault(remainder.lines[place].service_period, []).append(index)
    for indexes in by_period.values():
        yield _line(
            coupon, remainder, currency, [places[at] for at in indexes], [parts[at] for at in indexes]
        )


def _is_credit(line: Line) -> bool:
    """Whether a line gives back a fee: it is without what coupons had taken off already (`fees.py`)."""
    return line.fee is not None and line.quantity < 0


def _percent_parts(coupon: Coupon, left: Sequence[Decimal]) -> list[Decimal]:
    assert coupon.percent is not None
    return [amount * coupon.percent / HUNDRED for amount in left]


def _amount_parts(coupon: Coupon, left: Sequence[Decimal], reducible: Decimal) -> list[Decimal]:
    """From the lines in their order; what a credit among them takes away is not there to be reduced."""
    assert coupon.amount is not None
    remaining = min(coupon.amount, reducible)
    parts = []
    for amount in left:
        part = min(max(amount, ZERO), remaining)
        remaining -= part
        parts.append(part)
    return parts


def _line(
    coupon: Coupon,
    remainder: Remainder,
    currency: str,
    places: Sequence[int],
    parts: Sequence[Decimal],
) -> Line:
    taken = sum(parts, ZERO)
    if coupon.percent is not None:
        reason = f"{grouped(coupon.percent)} % off {precise(taken * HUNDRED / coupon.percent, currency)}"
    else:
        assert coupon.amount is not None
        whole = taken == coupon.amount
        reason = f"{precise(coupon.amount, currency)} off" + (
            "" if whole else f", of which {precise(taken, currency)} here"
        )
    adjustment = Adjustment(LineKind.COUPON, coupon.key, shares(places, [-part for part in parts]))
    period = remainder.lines[places[0]].service_period
    return adjustment_line(coupon.name, period, ONE, -taken, reason, adjustment)
