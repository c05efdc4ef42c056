"""The plan's minimum: what a period comes to at least. Pure.

    missing = minimum * length of the period / length of a full one - what the period comes to

What a period comes to is the usage and the fees for service that begins in it, after coupons, overage
included, on whichever invoice they stand: a fee in advance was billed an invoice earlier. What comes back
of such a fee where the period ends early counts against it. A commitment's own amounts and its drawdown
do not count: what is drawn was used.

The minimum is asked for as long as fees are: a period that is a part of a full one has its share of it, a
pause and a trial have none, and where the plan changes each has the share of its time.

Example, a minimum of 50, usage of 12.50 and a fee of 20 that was billed in advance:    17.50
Example, a minimum of 31 in January, paused from the 11th to the 21st, no usage:        21
"""

from collections.abc import Sequence
from decimal import Decimal

from farthing.invoicing.drafting.remainder import adjustment_line, counted_by_minimum
from farthing.invoicing.model import Adjustment, Basis, Bill, Line, LineKind, Reason, Share
from farthing.invoicing.paper.wording import precise
from farthing.kernel.quantity import ONE, ZERO
from farthing.kernel.rounding import quotient


def has_minimum(bill: Bill) -> bool:
    """Whether a plan that the bill has to do with asks for one."""
    return any(plan.minimum for plan in bill.plans_met)


def minimum_lines(bill: Bill, lines: Sequence[Line], basis: Basis) -> list[Line]:
    """What is missing to the minimum of the bill's period. `exact()` is in force."""
    if bill.reason is not Reason.PERIOD:
        return []
    currency, least = bill.plan.currency, minimum_of(bill)
    if not least:
        return []
    of = tuple(
        Share(place, line.amount_exact)
        for place, line in enumerate(lines, start=1)
        if counted_by_minimum(line.kind) and _is_of(bill, line)
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


def _is_of(bill: Bill, line: Line) -> bool:
    """Whether a line is for the bill's period: service that begins in it, or what comes back of its fees."""
    if line.service_period.start in bill.period:
        return True
    return line.fee is not None and line.quantity < 0 and bill.period.start in line.fee.full


def minimum_of(bill: Bill) -> Decimal:
    """The minimum of the bill's period: of each plan the share of the time that it charged fees.

    Each share has 18 digits, half up; times under one minimum are taken together, so that a change of
    seats parts nothing.
    """
    assert bill.own is not None, "a period that is over is one that fees are for"
    lengths: dict[Decimal, int] = {}
    for stretch in bill.stretches:
        least = bill.plans[stretch.plan_version_id].minimum
        part = bill.own.part.clipped(stretch.start, stretch.end)
        if least and part is not None and stretch.mode.charges_fees:
            lengths[least] = lengths.get(least, 0) + part.length
    whole = bill.own.full.length
    shares = (
        least if length == whole else quotient(least * length, Decimal(whole))
        for least, length in lengths.items()
    )
    return sum(shares, ZERO)
