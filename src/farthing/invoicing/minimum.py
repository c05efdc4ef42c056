"""The plan's minimum: what a period comes to at least. Pure.

    missing = minimum * length of the period / length of a full one - what the period comes to

What a period comes to is the usage and the fees for service that begins in it, after coupons, overage
included, on whichever invoice they stand: a fee in advance was billed an invoice earlier. A
commitment's own amounts and its drawdown do not count: what is drawn was used. A period that is a part
of a full one has its share of the minimum, as a fixed fee has.

Example, a minimum of 50, usage of 12.50 and a fee of 20 that was billed in advance:    17.50
"""

from collections.abc import Sequence
from decimal import Decimal

from farthing.invoicing.model import Adjustment, Basis, Bill, Line, LineKind, Reason, Share
from farthing.invoicing.remainder import adjustment_line, counted_by_minimum
from farthing.invoicing.wording import precise
from farthing.kernel.quantity import ONE, ZERO
from farthing.kernel.rounding import quotient


def minimum_lines(bill: Bill, lines: Sequence[Line], basis: Basis) -> list[Line]:
    """What is missing to the minimum of the bill's period. `exact()` is in force."""
    if not bill.plan.minimum or bill.reason is not Reason.PERIOD:
        return []
    currency, least = bill.plan.currency, minimum_of(bill)
    of = tuple(
        Share(place, line.amount_exact)
        for place, line in enumerate(lines, start=1)
        if counted_by_minimum(line.kind) and line.service_period.start in bill.period
    )
    reached = basis.ahead + sum((share.amount for share in of), ZERO)
    missing = least - reached
    if missing <= 0:
        return []
    said = f"{precise(reached, currency)} of {precise(least, currency)} reached"
    if basis.ahead:
        said += f", {precise(basis.ahead, currency)} of it in advance"
    adjustment = Adjustment(LineKind.MINIMUM, bill.plan.key, of, bill.period, least, basis.ahead)
    return [adjustment_line("Minimum spend", bill.period, ONE, missing, said, adjustment)]


def minimum_of(bill: Bill) -> Decimal:
    """The plan's minimum, or the share of it that a part of a period has (18 digits, half up)."""
    assert bill.own is not None, "a period that is over is one that fees are for"
    part, whole = bill.own.part.length, bill.own.full.length
    if part == whole:
        return bill.plan.minimum
    return quotient(bill.plan.minimum * part, Decimal(whole))
