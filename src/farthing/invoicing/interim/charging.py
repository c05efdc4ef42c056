"""Interim invoices: what has accrued in a period is charged before it is over. Pure.

    accrued     what the usage of the period so far comes to           rate(all of it), never a part by itself
    interim     accrued - billed by the interim invoices before it     in whole minor units, the rest is carried
    at the end  the whole period - billed by its interim invoices      as if there had been none, less what was paid

Every invoice of the period rates all of its usage so far, and lines say which invoices it takes off. So a
price need not be additive (volume, stairs, packages), late events and changes are billed by whichever invoice comes
next, and the invoices of a period sum to what one invoice would have been, exactly and as rounded: an interim
invoice bills whole minor units, so what is taken off later needs no rounding, and rounding the period's own
lines comes out as it would without it.

Only usage accrues. Fixed fees, one-off charges, what a price is filled up to, coupons, commitments and the
plan's minimum are settled on the invoice of the period, which may come out below zero where they give back.
Rounding is down: nothing is charged before it is owed.

Example, 0.333 USD a unit:    3 units accrued  0.999   INV-1   0.99   (0.009 carried)
                              6 units          1.998   INV-2   1.00   (1.99 - 0.99; 0.008 carried)
                              the period, 7    2.331   INV-3   0.34   (2.33 - 0.99 - 1.00)
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from farthing.catalog.model import Plan
from farthing.customers.billable import Term, periods_from, terms_of
from farthing.customers.model import Customer, Subscription
from farthing.customers.timeline import lives_of
from farthing.invoicing.drafting.remainder import adjustment_line
from farthing.invoicing.model import (
    Adjustment,
    Bill,
    BilledBefore,
    Line,
    LineId,
    LineKind,
    Reason,
    Share,
)
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.period import Period
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.kernel.rounding import Direction, round_count

ToldOf = dict[str, tuple[tuple[LineId, Decimal], ...]]
"""By the number of an interim invoice, how much of it is of which line."""

INTERIM_INVOICES_MAX = 1_000
"""Most interim invoices of one period; what accrues beyond that waits for its end."""


def bill_so_far(
    subscription: Subscription, customer: Customer, plans: Mapping[int, Plan], moment: datetime
) -> tuple[Period, Bill] | None:
    """The period that a subscription is in, and a bill of its usage before a moment; None where it is in none.

    None also at the very start of a period, when nothing can have accrued.
    """
    life = next(
        (
            one
            for one in lives_of(subscription)
            if one.start <= moment and (one.end is None or moment < one.end)
        ),
        None,
    )
    if life is None:
        return None
    terms = terms_of(life, subscription.anchor, plans, customer.timezone)
    term = next(one for one in terms if one.start <= moment and (one.end is None or moment < one.end))
    period = _period_at(term, moment)
    if moment <= period.start:
        return None
    so_far = Period(period.start, moment)
    stretches = tuple(one for one in life.stretches if so_far.clipped(one.start, one.end) is not None)
    held = stretches[-1]
    bill = Bill(
        subscription,
        customer,
        plans[held.plan_version_id],
        Reason.INTERIM,
        so_far,
        held.plan_version_id,
        held.version,
        stretches,
        plans,
        terms,
        own=None,
    )
    return period, bill


@lru_cache(maxsize=1024)
def _period_at(term: Term, moment: datetime) -> Period:
    # Everybody is looked at at one moment, and most began together.
    return next(periods_from(term, moment))


def accrued_on(lines: Sequence[Line]) -> Decimal:
    """What the lines of an interim invoice come to before anything is taken off."""
    with exact():
        return sum((line.amount_exact for line in lines if line.adjustment is None), ZERO)


def whole_units(amount: Decimal, currency: str) -> Decimal:
    """An accrued amount without the part of a minor unit at its end: `0.999` USD is `0.99`."""
    return round_count(amount, MINOR_UNITS[currency], Direction.DOWN)


def less_billed(bill: Bill, lines: tuple[Line, ...], billed: Sequence[BilledBefore]) -> tuple[Line, ...]:
    """The lines of a bill, less what the interim invoices of its period billed.

    Nothing is on an interim invoice that would charge nothing, or give back.
    """
    if bill.reason is not Reason.INTERIM and not billed:
        return lines
    taken = [_billed_line(bill, before, lines) for before in billed]
    if bill.reason is not Reason.INTERIM:
        return (*lines, *taken)
    with exact():
        owed = sum((line.amount_exact for line in (*lines, *taken)), ZERO)
        charged = whole_units(owed, bill.plan.currency)
        carried = owed - charged
    if charged <= 0:
        return ()
    return (*lines, *taken, *([_carried_line(bill, lines, carried)] if carried else ()))


def line_id(line: Line) -> LineId:
    """What tells a line from the others of its period, on whichever of the period's invoices it stands."""
    dimensions = tuple(sorted(line.dimensions.items()))
    return line.rate_card, dimensions, line.service_period.start, line.adjusts


def told_of(number: str, lines: Sequence[Mapping[str, Any]]) -> ToldOf:
    """What the document of an interim invoice says of which lines it and those before it billed, by number.

    Of itself: each line, less what the adjustments take off it.
    """
    ids = {line["line"]: _id_of(line) for line in lines if "adjustment" not in line}
    net = {line["line"]: Decimal(line["amount_exact"]) for line in lines if "adjustment" not in line}
    told: ToldOf = {}
    with exact():
        for line in lines:
            if "adjustment" not in line or line["kind"] not in (LineKind.BILLED, LineKind.CARRIED):
                continue
            shares = {share["line"]: Decimal(share["amount"]) for share in line["adjustment"]["of"]}
            for place, amount in shares.items():
                net[place] += amount
            if line["kind"] == LineKind.BILLED:
                taken = ((ids[place], ZERO - amount) for place, amount in shares.items())
                told[line["adjustment"]["key"]] = tuple(taken)
    told[number] = tuple((ids[place], amount) for place, amount in net.items())
    return told


def _id_of(line: Mapping[str, Any]) -> LineId:
    start = parse_instant(line["service_period"]["start"], "")
    return line["rate_card"], tuple(sorted(line["dimensions"].items())), start, line.get("adjusts", False)


def _billed_line(bill: Bill, before: BilledBefore, lines: Sequence[Line]) -> Line:
    """What is of a line that is there no more is of the largest that is: something must be as much."""
    places = {line_id(line): place for place, line in enumerate(lines, start=1) if line.adjustment is None}
    shares: dict[int, Decimal] = {}
    with exact():
        for line, amount in before.of:
            if line in places:
                shares[places[line]] = shares.get(places[line], ZERO) - amount
        left = -before.total - sum(shares.values(), ZERO)
        if left and places:
            largest = _largest(lines)
            shares[largest] = shares.get(largest, ZERO) + left
        of = tuple(Share(place, amount) for place, amount in sorted(shares.items()) if amount)
        said = f"usage before {format_instant(before.until.replace(microsecond=0))}"
        adjustment = Adjustment(LineKind.BILLED, before.number, of)
        title = f"Billed on {before.number}"
        return adjustment_line(title, bill.period, ONE, -before.total, said, adjustment)


def _largest(lines: Sequence[Line]) -> int:
    """The number of the line of a rate card with the largest amount; there is one."""
    own = [place for place, line in enumerate(lines) if line.adjustment is None]
    return max(own, key=lambda place: lines[place].amount_exact) + 1


def _carried_line(bill: Bill, lines: Sequence[Line], carried: Decimal) -> Line:
    """It is of the largest line, which has as much in it."""
    adjustment = Adjustment(LineKind.CARRIED, bill.plan.key, (Share(_largest(lines), carried.copy_negate()),))
    said = "less than the smallest coin, left to the next invoice"
    with exact():
        return adjustment_line(
            "Carried to the next invoice", bill.period, ONE, carried.copy_negate(), said, adjustment
        )
