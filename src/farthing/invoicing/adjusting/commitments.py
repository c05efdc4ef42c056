"""What commitments do to the invoices of their term. Pure.

What counts toward a commitment is what its rate cards (those with a meter, or the ones it names) charge
for service that begins in its term, after coupons. A period of service that begins in the term counts
whole; the next one belongs to the next term.

    minimum     billed as used; each invoice says what counted, in a line of amount zero. What is missing
                to the amount at the end of the term is owed then: the true-up.
    prepaid     billed up front, on the first invoice that falls due when the term begins or later.
                Usage draws it down: lines below zero, until nothing is left. What is left at the end of
                the term lapses, in a line of amount zero, or with `rollover` goes on being drawn.
    overage     usage beyond the amount costs `overage_percent` of its ordinary price, exactly from the
                point on where the amount is reached: a line of the difference.

        overage = what lies beyond * (overage_percent - 100) / 100

A term ends early with its subscription: what is missing is owed, what is left lapses, on the invoice of
the last period, or on a settlement of its own where that was issued before the end was known.

How far a commitment is used is the sum of its lines on issued invoices. Nothing else remembers it.

Example, a minimum of 1000 and an overage of 120 percent, 950 counted so far, usage of 80:
    commitment     0      80.00 counted: 1,030.00 of 1,000.00
    overage        6      30.00 beyond 1,000.00 at 120 %
"""

from collections.abc import Sequence
from decimal import Decimal

from farthing.catalog.coupon import HUNDRED
from farthing.customers.terms.model import Commitment
from farthing.invoicing.drafting.remainder import Remainder, adjustment_line, beyond, shares
from farthing.invoicing.model import Adjustment, Basis, Bill, Line, LineKind, Reason, Share
from farthing.invoicing.paper.wording import grouped, precise
from farthing.kernel.quantity import ONE, ZERO


def commitment_lines(bill: Bill, remainder: Remainder, basis: Basis) -> list[Line]:
    """The lines of all commitments; what prepaid ones pay for is taken off. `exact()` is in force."""
    lines: list[Line] = []
    for commitment in basis.terms.commitments:
        if begins_never(bill, commitment):
            continue
        lines += _prepaid_lines(bill, commitment, basis)
        lines += (_drawn if commitment.prepaid else _counted)(bill, commitment, remainder, basis)
    return lines


def begins_never(bill: Bill, commitment: Commitment) -> bool:
    """Whether the subscription ends before the term begins."""
    end = bill.subscription.end
    return end is not None and end <= commitment.term.start


def _counts(commitment: Commitment, line: Line) -> bool:
    if line.service_period.start < commitment.term.start:
        return False
    if line.service_period.start >= commitment.term.end and not commitment.rollover:
        return False
    if commitment.rate_cards is None:
        return line.kind is LineKind.USAGE
    return line.rate_card in commitment.rate_cards and line.one_off is None


def _is_over(bill: Bill, commitment: Commitment) -> bool:
    """Whether this invoice is one that settles the commitment: it falls due at its end or later."""
    if bill.reason is Reason.START:
        return False
    end = bill.subscription.end
    over = commitment.term.end if end is None else min(commitment.term.end, end)
    return bill.due_since >= over


def _prepaid_lines(bill: Bill, commitment: Commitment, basis: Basis) -> list[Line]:
    """The amount itself, unless an earlier invoice has it."""
    if not commitment.prepaid or bill.due_since < commitment.term.start:
        return []
    if basis.of(LineKind.PREPAID, commitment.key).invoices:
        return []
    adjustment = _adjustment(LineKind.PREPAID, commitment, ZERO)
    return [
        adjustment_line(commitment.name, bill.period, ONE, commitment.amount, "paid in advance", adjustment)
    ]


def _counted(bill: Bill, commitment: Commitment, remainder: Remainder, basis: Basis) -> list[Line]:
    """What counts toward a minimum here, what of it lies beyond, and at the end what is missing."""
    currency = bill.plan.currency
    committed = precise(commitment.amount, currency)
    before = basis.of(LineKind.COMMITMENT, commitment.key).quantity
    places = remainder.places(lambda line: _counts(commitment, line))
    amounts = [remainder.left[place] for place in places]
    counted = sum(amounts, ZERO)
    reached = before + counted
    lines: list[Line] = []
    if counted:
        so_far = f"{precise(counted, currency)} counted: {precise(reached, currency)} of {committed}"
        adjustment = _adjustment(LineKind.COMMITMENT, commitment, before, shares(places, amounts))
        lines.append(adjustment_line(commitment.name, bill.period, counted, ZERO, so_far, adjustment))
    lines += _overage(bill, commitment, places, beyond(amounts, before, commitment.amount), before)
    if _is_over(bill, commitment):
        paid = basis.of(LineKind.TRUE_UP, commitment.key).amount
        missing = commitment.amount - reached - paid
        if missing > 0:
            said = f"{precise(reached, currency)} of {committed} reached"
            adjustment = _adjustment(LineKind.TRUE_UP, commitment, reached)
            name = f"{commitment.name}, true-up"
            lines.append(adjustment_line(name, bill.period, ONE, missing, said, adjustment))
    return lines


def _drawn(bill: Bill, commitment: Commitment, remainder: Remainder, basis: Basis) -> list[Line]:
    """What a prepaid amount pays for here, what of the usage lies beyond, and at the end what lapses."""
    currency = bill.plan.currency
    committed = precise(commitment.amount, currency)
    drawn = basis.of(LineKind.DRAWDOWN, commitment.key).quantity
    left = commitment.amount - drawn - basis.of(LineKind.LAPSE, commitment.key).quantity
    places = remainder.places(lambda line: _counts(commitment, line))
    amounts = [remainder.left[place] for place in places]
    over = beyond(amounts, ZERO, left)
    parts = [amount - part for amount, part in zip(amounts, over, strict=True)]
    here = sum(parts, ZERO)
    lines: list[Line] = []
    if here > 0:
        remainder.take(places, parts)
        left -= here
        said = f"{precise(here, currency)} of usage: {precise(left, currency)} of {committed} left"
        taken = shares(places, [-part for part in parts])
        adjustment = _adjustment(LineKind.DRAWDOWN, commitment, drawn, taken)
        name = f"{commitment.name}, drawn down"
        lines.append(adjustment_line(name, bill.period, here, -ONE, said, adjustment))
    # After the term, what was rolled over may run out; what lies beyond it then costs as usual.
    in_term = [
        part if remainder.lines[place].service_period.start < commitment.term.end else ZERO
        for place, part in zip(places, over, strict=True)
    ]
    lines += _overage(bill, commitment, places, in_term, drawn)
    if left > 0 and _is_over(bill, commitment) and (not commitment.rollover or _subscription_over(bill)):
        said = f"{precise(left, currency)} of {committed} not used"
        adjustment = _adjustment(LineKind.LAPSE, commitment, commitment.amount - left)
        name = f"{commitment.name}, lapsed"
        lines.append(adjustment_line(name, bill.period, left, ZERO, said, adjustment))
    return lines


def _subscription_over(bill: Bill) -> bool:
    end = bill.subscription.end
    return end is not None and bill.due_since >= end


def _overage(
    bill: Bill, commitment: Commitment, places: Sequence[int], parts: Sequence[Decimal], before: Decimal
) -> list[Line]:
    """The difference between the ordinary price of what lies beyond and its price there."""
    over, percent = sum(parts, ZERO), commitment.overage_percent
    if percent is None or percent == HUNDRED or not over:
        return []
    currency = bill.plan.currency
    passed, committed = precise(over, currency), precise(commitment.amount, currency)
    said = f"{passed} beyond {committed} at {grouped(percent)} %"
    adjustment = _adjustment(LineKind.OVERAGE, commitment, before, shares(places, parts))
    name = f"{commitment.name}, overage"
    return [adjustment_line(name, bill.period, over, (percent - HUNDRED) / HUNDRED, said, adjustment)]


def _adjustment(
    kind: LineKind, commitment: Commitment, before: Decimal, of: tuple[Share, ...] = ()
) -> Adjustment:
    return Adjustment(kind, commitment.key, of, commitment.term, commitment.amount, before)
