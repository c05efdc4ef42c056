"""A bill that is too small to be worth an invoice is carried forward to the next one. Pure.

    smallest invoice 5.00 USD     January    1.333  carried forward            invoice over 0.00
                                  February   2.333  1.333 brought, 3.666 carried         0.00
                                  March      2.100  3.666 brought                        5.77   (5.766)

Nothing is lost and nothing is asked for twice: every bill has its invoice, which asks for nothing where what it comes
to is carried, in a line below zero; and that line stands, turned round, on the next invoice of the same customer and
currency, whichever of its subscriptions that is for. So at most one carried amount waits for a customer and currency,
and a chain of invoices leads back to every event. Amounts are carried to the last digit; the sum is rounded once, by
the bill that asks for it. What is shown of a carried amount, in minor units, is shown of it when it is brought.

A collective invoice is made in the same way: of the bills of a customer and currency that are due at one moment each
leaves what it comes to to the last one, which asks for it all, and shows it by subscription.

- Carried is what comes to more than nothing and less than the smallest invoice. Tax is left to whoever asks for it.
- Only what is billed when a period is over is carried; what is asked for in advance, at once or as it accrues is not,
  but brings what waits. Interim invoices leave it alone.
- The last bill of a subscription carries nothing. What a subscription carried before it turned out to have ended is
  brought by a bill of its own (reason `settlement`).
- Customers with wallets carry nothing: wallets settle every period to what its invoice says.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from farthing.invoicing.drafting.remainder import adjustment_line
from farthing.invoicing.drafting.shares import categories_of_line
from farthing.invoicing.interim.totals import totals_less_billed
from farthing.invoicing.model import (
    Adjustment,
    Basis,
    Bill,
    BillKey,
    CarriedForward,
    CarriedPart,
    Draft,
    Gathering,
    Line,
    LineKind,
    Reason,
    Share,
    Totals,
)
from farthing.kernel.money import MINOR_UNITS, amount_text
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.kernel.rounding import allocate

_CARRIED_BY = (Reason.PERIOD, Reason.SETTLEMENT)


def with_brought(bill: Bill, lines: tuple[Line, ...], basis: Basis) -> tuple[Line, ...]:
    """The lines of a bill, with what the bill before left to it.

    A bill with nothing on it is not made for that, unless it is the last of the subscription that left it.
    """
    carried = basis.carried
    if carried is None or bill.reason is Reason.INTERIM:
        return lines
    own = carried.of.subscription_id == bill.subscription.subscription_id
    same_day = basis.gathering is Gathering.ASKS and carried.period.end == bill.period.end
    if not lines and not (bill.last and own) and not same_day:
        return lines
    return (*lines, *(_brought_line(bill, carried, part) for part in carried.parts))


def carried_if_small(
    bill: Bill, lines: tuple[Line, ...], totals: Totals, basis: Basis
) -> tuple[tuple[Line, ...], Totals]:
    """The lines and totals of a bill, which carries what it comes to where that is not worth an invoice."""
    why = _why_carried(bill, totals, basis)
    if why is None:
        return lines, totals
    parts = _parts(bill, lines, totals)
    made = [_carried_line(bill, lines, part, why) for part in parts]
    with exact():
        return (*lines, *made), Totals(
            (*totals.amounts, *(part.amount.copy_negate() for part in parts)),
            totals.subtotal - totals.subtotal,
            totals.tax,
            totals.total - totals.total,
            ZERO,
        )


def _why_carried(bill: Bill, totals: Totals, basis: Basis) -> str | None:
    if bill.reason not in _CARRIED_BY:
        return None
    if basis.gathering is Gathering.LEAVES:
        return "asked for with what else is due on the day"
    smallest = basis.smallest
    if smallest is None or bill.last or not ZERO < totals.total_exact < smallest:
        return None
    return f"less than {amount_text(smallest, bill.plan.currency)}, the smallest invoice"


def totals_with_brought(lines: Sequence[Line], bill: Bill) -> Totals:
    """The totals of these lines, of which those that are brought show what was shown when they were carried."""
    brought = [line for line in lines if line.kind is LineKind.BROUGHT_FORWARD]
    if not brought:
        return totals_less_billed(lines, bill)
    own = [line for line in lines if line.kind is not LineKind.BROUGHT_FORWARD]
    with exact():
        brought_exact = sum((line.amount_exact for line in brought), ZERO)
        shown = sum((_shown(line) for line in brought), ZERO)
        totals = totals_less_billed(own, bill, brought_exact, shown)
        return Totals(
            (*totals.amounts, *map(_shown, brought)),
            totals.subtotal + shown,
            totals.tax,
            totals.total + shown,
            totals.total_exact + brought_exact,
        )


@dataclass(slots=True)
class CarryForward:
    """What waits to be brought forward, by customer and currency, on the way from bill to bill of a run.

    smallest: the smallest invoice of customers, by currency; of those that have one.
    collective: the customers that get collective invoices.
    """

    smallest: Mapping[tuple[int, str], Decimal] = field(default_factory=dict)
    waiting: dict[tuple[int, str], CarriedForward] = field(default_factory=dict)
    collective: frozenset[int] = frozenset()

    def gathered(self, bills: Sequence[Bill]) -> list[Bill]:
        """These bills, in the order of issue, each with its part in a collective invoice."""
        if not self.collective:
            return list(bills)
        asked: set[tuple[int, str, datetime]] = set()
        found: list[Bill] = []
        for bill in reversed(bills):
            day = bill.customer.customer_id, bill.plan.currency, bill.due_since
            if bill.reason is Reason.PERIOD and day[0] in self.collective:
                bill = replace(bill, gathering=Gathering.LEAVES if day in asked else Gathering.ASKS)
                asked.add(day)
            found.append(bill)
        return found[::-1]

    def on(self, bill: Bill, basis: Basis) -> Basis:
        """The basis of a bill, with what waits for it and what is worth an invoice."""
        key = bill.customer.customer_id, bill.plan.currency
        carried, smallest = self.waiting.get(key), self.smallest.get(key)
        gathering = bill.gathering if key[0] in self.collective else None
        if bill.reason is Reason.INTERIM or (carried is None and smallest is None and gathering is None):
            return basis
        return replace(basis, carried=carried, smallest=smallest, gathering=gathering)

    def add(self, draft: Draft) -> None:
        """A bill is drafted: it may have brought what waited, and left something itself."""
        if all(line.adjustment is None for line in draft.lines):
            return
        key = draft.bill.customer.customer_id, draft.bill.plan.currency
        if any(line.kind is LineKind.BROUGHT_FORWARD for line in draft.lines):
            self.waiting.pop(key, None)
        parts = tuple(
            CarriedPart(
                line.subscription or draft.bill.subscription.key,
                line.tax_category,
                line.amount_exact.copy_negate(),
                amount.copy_negate(),
            )
            for line, amount in zip(draft.lines, draft.totals.amounts, strict=True)
            if line.kind is LineKind.CARRIED_FORWARD
        )
        if parts:
            self.waiting[key] = CarriedForward(draft.bill.key, draft.bill.period, parts)


def carries(draft: Draft) -> bool:
    """Whether the invoice asks for nothing and leaves what it comes to to the next."""
    return any(line.kind is LineKind.CARRIED_FORWARD for line in draft.lines)


def brings(draft: Draft, numbers: Mapping[BillKey, str]) -> str | None:
    """The number of the invoice whose carried amount a draft brings.

    numbers: of those that are issued with it; the others have theirs.
    """
    carried = draft.basis.carried
    if carried is None or all(line.kind is not LineKind.BROUGHT_FORWARD for line in draft.lines):
        return None
    return carried.number or numbers[carried.of]


def naming(draft: Draft, number: str | None) -> Draft:
    """The draft, whose brought lines name the invoice that carried them."""
    if number is None:
        return draft
    return replace(draft, lines=tuple(_named(line, number) for line in draft.lines))


def subscriptions_waited_for(waiting: Collection[CarriedForward]) -> frozenset[int]:
    """The subscriptions whose bills carried what waits."""
    return frozenset(carried.of.subscription_id for carried in waiting)


def _named(line: Line, number: str) -> Line:
    if line.kind is not LineKind.BROUGHT_FORWARD or line.adjustment is None:
        return line
    adjustment = replace(line.adjustment, key=number)
    return replace(line, description=_title(number), adjustment=adjustment)


def _title(number: str | None) -> str:
    return "Brought forward" if number is None else f"Brought forward from {number}"


def _brought_line(bill: Bill, carried: CarriedForward, part: CarriedPart) -> Line:
    line = adjustment_line(
        _title(carried.number),
        carried.period,
        ONE,
        part.amount_exact,
        f"subscription {part.subscription}",
        Adjustment(LineKind.BROUGHT_FORWARD, carried.number or ""),
    )
    return replace(
        line, tax_category=part.tax_category, shown=part.amount, subscription=_of_another(bill, part)
    )


def _of_another(bill: Bill, part: CarriedPart) -> str | None:
    return None if part.subscription == bill.subscription.key else part.subscription


def _carried_line(bill: Bill, lines: Sequence[Line], part: CarriedPart, why: str) -> Line:
    whose = _of_another(bill, part)
    of = tuple(
        Share(place, share.copy_negate())
        for place, line in enumerate(lines, start=1)
        if line.subscription == whose
        and (share := categories_of_line(lines, place - 1).get(part.tax_category, ZERO))
    )
    line = adjustment_line(
        "Carried forward to the next invoice",
        bill.period,
        ONE,
        part.amount_exact.copy_negate(),
        why,
        Adjustment(LineKind.CARRIED_FORWARD, part.tax_category, of),
    )
    return replace(line, tax_category=part.tax_category, subscription=whose)


def _parts(bill: Bill, lines: Sequence[Line], totals: Totals) -> list[CarriedPart]:
    """What the lines come to by subscription and tax category, in the order in which these first come."""
    exacts: dict[tuple[str, str], Decimal] = {}
    shown: dict[tuple[str, str], Decimal] = {}
    minor_units = MINOR_UNITS[bill.plan.currency]
    with exact():
        for place in range(len(lines)):
            shares = categories_of_line(lines, place)
            amounts = [totals.amounts[place]]
            if len(shares) > 1:
                amounts = allocate(list(shares.values()), totals.amounts[place], minor_units)
            whose = lines[place].subscription or bill.subscription.key
            for (category, share), amount in zip(shares.items(), amounts, strict=True):
                of = whose, category
                exacts[of] = exacts.get(of, ZERO) + share
                shown[of] = shown.get(of, ZERO) + amount
    return [CarriedPart(*of, exacts[of], shown[of]) for of in exacts if exacts[of] or shown[of]]


def _shown(line: Line) -> Decimal:
    assert line.shown is not None, "what is brought was shown when it was carried"
    return line.shown
