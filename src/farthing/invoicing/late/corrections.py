"""What usage that came late makes of periods that are invoiced. Pure.

An issued invoice never changes. Its usage is rated again, all of it, and what that differs by from what was billed of
the period so far (its own lines, and the corrections of it on later invoices and credit notes) is a line of the next
invoice, or a credit note at once where it is below zero and that is wanted (`at_once.py`):

    January, 1,000 calls at 0.01, billed 10.00; 200 more arrive in February      a line of 2.00 on February's invoice
                                   100 of them turn out to be corrected in March     a line of -1.00 on March's

So after any sequence of late events, the invoices sum to what one invoice at the end would have been, to the last
digit. A price of tiers is rated over the whole quantity of the period, as it would have been. Where coupons,
commitments or a minimum look at the bill, all of it is computed again (`late_terms.py`), and each of them has its
difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from farthing.invoicing.drafting.remainder import adjustment_line, counted_by_minimum
from farthing.invoicing.late.whole_bill import Amount, Amounts, Place
from farthing.invoicing.model import Adjustment, Bill, Corrected, Line, LineKind, Reason
from farthing.invoicing.paper.wording import grouped, precise
from farthing.kernel.quantity import ONE, ZERO, exact

NOTHING = Amount(ZERO)


@dataclass(frozen=True, slots=True)
class InvoiceCorrection:
    """What an issued invoice is corrected by, and what the difference was told from.

    since: from when on events are late. before: what was corrected of it already, (amount, quantity) by place: where
    that has moved meanwhile, so has the difference.
    """

    subscription_id: int
    invoice_id: int
    number: str
    since: datetime
    lines: tuple[Line, ...]
    before: Mapping[Place, tuple[Decimal, Decimal]]


def correction_lines(
    bill: Bill, number: str, since: datetime, now: Mapping[Place, Amount], billed: Mapping[Place, Amount]
) -> list[Line]:
    """The lines that bring what was billed of an invoice to what it comes to now.

    bill, number: of the invoice. since: from when on events are late. now, billed: by place, as it would be billed now
    and as it was so far.
    """
    lines: list[Line] = []
    told: set[tuple[LineKind, str]] = set()
    with exact():
        for place in dict.fromkeys((*now, *billed)):
            after, before = now.get(place, NOTHING), billed.get(place, NOTHING)
            if after.amount == before.amount and (place.kind is None or after.quantity == before.quantity):
                continue
            line = _line(bill, number, since, place, after, before, gone=place not in now)
            if place.kind is not None and (named := (place.kind, place.key)) not in told:
                told.add(named)
                line = _counted(line, _stands(now, named) - _stands(billed, named))
            lines.append(line)
    return lines


def _line(
    bill: Bill, number: str, since: datetime, place: Place, after: Amount, before: Amount, *, gone: bool
) -> Line:
    currency = bill.plan.currency
    card = next((card for card in bill.plan.rate_cards if card.key == place.rate_card), None)
    title = after.title or before.title or (str(place.rate_card) if card is None else card.name)
    if place.kind is not None:
        said = precise(after.amount, currency)
    elif gone:
        said = "nothing"
    else:
        said = f"{precise(after.amount, currency)} for {grouped(after.quantity)}"
    corrected = None
    if place.kind is not None:
        corrected = Corrected(place.kind, place.key, ahead=_is_ahead(bill, place))
    quantity, unit_price = _counted_by(place, after, before)
    made = adjustment_line(
        f"{title}, correction of {number}",
        place.service or bill.period,
        quantity,
        unit_price,
        f"{said} in place of {precise(before.amount, currency)}",
        Adjustment(LineKind.CORRECTION, number, since=since, corrected=corrected),
    )
    category = after.tax_category
    if gone:
        category = before.tax_category if card is None else card.tax_category
    return replace(made, rate_card=place.rate_card, dimensions=dict(place.dimensions), tax_category=category)


def _counted_by(place: Place, after: Amount, before: Amount) -> tuple[Decimal, Decimal]:
    """Quantity and unit price of the difference. Of a commitment the quantity is money, and has a difference too."""
    amount, quantity = after.amount - before.amount, after.quantity - before.quantity
    if place.kind in (LineKind.COMMITMENT, LineKind.LAPSE):
        return quantity, ZERO
    if place.kind is LineKind.DRAWDOWN and amount == -quantity:
        return quantity, -ONE
    return ONE, amount


def _is_ahead(bill: Bill, place: Place) -> bool:
    """Whether what is corrected was charged before the invoice of the period that it is for: `adjustments.is_ahead`."""
    if place.service is None or place.kind is None or not counted_by_minimum(place.kind):
        return False
    return bill.reason in (Reason.START, Reason.CHANGE) or place.service.start >= bill.period.end


def _stands(amounts: Mapping[Place, Amount], named: tuple[LineKind, str]) -> int:
    """1 where a coupon, commitment or minimum does something on the bill, else 0."""
    mine = [amount for place, amount in amounts.items() if (place.kind, place.key) == named]
    total = sum((one.amount for one in mine), ZERO)
    counted = sum((one.quantity for one in mine), ZERO)
    return int(bool(total) or (named[0] not in BY_AMOUNT and bool(counted)))


BY_AMOUNT = (LineKind.COUPON, LineKind.TRUE_UP, LineKind.MINIMUM)
"""Adjustments that do nothing on a bill where their amount is zero; others may count without one."""


def _counted(line: Line, invoices: int) -> Line:
    """The line, which makes it so many invoices more (or less) that its coupon or commitment did something on."""
    adjustment = line.adjustment
    if adjustment is None or adjustment.corrected is None or not invoices:
        return line
    return replace(
        line, adjustment=replace(adjustment, corrected=replace(adjustment.corrected, invoices=invoices))
    )


def by_subscription(found: Sequence[InvoiceCorrection]) -> dict[int, list[Line]]:
    """The lines of these corrections, by subscription."""
    lines: dict[int, list[Line]] = {}
    for one in found:
        lines.setdefault(one.subscription_id, []).extend(one.lines)
    return {subscription_id: some for subscription_id, some in lines.items() if some}


def billed_before(amounts: Amounts, more: Mapping[Place, tuple[Decimal, Decimal]]) -> Amounts:
    """What was billed, with what corrections billed or gave back since: (amount, quantity) by place."""
    found = dict(amounts)
    with exact():
        for place, (amount, quantity) in more.items():
            found[place] = found.get(place, NOTHING).plus(amount, quantity)
    return found
