"""What usage that came late makes of periods that are invoiced. Pure.

An issued invoice never changes. Its usage is rated again, all of it, and what that differs by from what was billed of
the period so far (its own lines, and the corrections of it on later invoices) is a line of the next invoice:

    January, 1,000 calls at 0.01, billed 10.00; 200 more arrive in February      a line of 2.00 on February's invoice
                                   100 of them turn out to be corrected in March     a line of -1.00 on March's

So after any sequence of late events, the invoices sum to what one invoice at the end would have been, to the last
digit. A price of tiers is rated over the whole quantity of the period, as it would have been.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from farthing.invoicing.model import Adjustment, Bill, Line, LineKind
from farthing.invoicing.remainder import adjustment_line
from farthing.invoicing.wording import grouped, precise
from farthing.kernel.quantity import ONE, ZERO, exact

Place = tuple[str | None, tuple[tuple[str, str], ...]]
"""What lines are told apart by: the rate card, and the dimensions in order of name."""


def place_of(rate_card: str | None, dimensions: Mapping[str, str]) -> Place:
    """The place of a line."""
    return rate_card, tuple(sorted(dimensions.items()))


def correction_lines(
    bill: Bill, number: str, since: datetime, now: Sequence[Line], billed: Mapping[Place, Decimal]
) -> list[Line]:
    """The lines that bring what was billed of a period to what its usage comes to now.

    bill, number: of the period, and the invoice that was issued for it. since: from when on events are late.
    now: its lines of usage as they are now. billed: the exact amounts so far, by place.
    """
    lines: list[Line] = []
    with exact():
        for place, some in _by_place(now).items():
            amount = sum((line.amount_exact for line in some), ZERO)
            before = billed.get(place, ZERO)
            if amount != before:
                quantity = sum((line.quantity for line in some), ZERO)
                said = f"{precise(amount, bill.plan.currency)} for {grouped(quantity)}"
                lines.append(_line(bill, number, since, some[0], amount - before, said, before))
        for place, before in billed.items():
            if before and place not in _by_place(now):
                lines.append(_gone(bill, number, since, place, before))
    return lines


def _by_place(lines: Sequence[Line]) -> dict[Place, list[Line]]:
    found: dict[Place, list[Line]] = {}
    for line in lines:
        found.setdefault(place_of(line.rate_card, line.dimensions), []).append(line)
    return found


def _line(
    bill: Bill, number: str, since: datetime, like: Line, difference: Decimal, said: str, before: Decimal
) -> Line:
    billed = precise(before, bill.plan.currency)
    made = adjustment_line(
        f"{like.description}, correction of {number}",
        bill.period,
        ONE,
        difference,
        f"{said} in place of {billed}",
        Adjustment(LineKind.CORRECTION, number, since=since),
    )
    return replace(made, rate_card=like.rate_card, dimensions=like.dimensions, tax_category=like.tax_category)


def _gone(bill: Bill, number: str, since: datetime, place: Place, before: Decimal) -> Line:
    """What was billed of usage that there is none of any more."""
    rate_card, dimensions = place
    card = next((card for card in bill.plan.rate_cards if card.key == rate_card), None)
    made = adjustment_line(
        f"{rate_card if card is None else card.name}, correction of {number}",
        bill.period,
        ONE,
        -before,
        f"nothing in place of {precise(before, bill.plan.currency)}",
        Adjustment(LineKind.CORRECTION, number, since=since),
    )
    category = made.tax_category if card is None else card.tax_category
    return replace(made, rate_card=rate_card, dimensions=dict(dimensions), tax_category=category)
