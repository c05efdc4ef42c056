"""What a bill's lines are. Pure.

Usage is billed in arrears: one line for each rate card, or for each combination of dimensions of a
matrix price and each window of a time of use (`usage_lines.py`); where the price changed within the
period, lines for each part (`parts.py`). A line stands if anything was used or anything is owed; usage
that costs nothing is shown, a card without usage and without an amount is not. The fees, minimums and
tiers of a usage price are not prorated: a period that is shorter is shorter for usage too.

A fixed fee is billed in arrears or in advance, its share where it holds for a part of a period, and what
was billed too much of it is credited (`fees.py`).

A one-off charge is a line as it was said. A settlement has none of these: what is settled on it is made by
`adjustments.py`. An interim invoice has usage alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from farthing.catalog.model import TAX_CATEGORY_DEFAULT
from farthing.customers.model import OneOffCharge
from farthing.invoicing.drafting.fees import fee_lines
from farthing.invoicing.drafting.parts import UsagePart, is_simple, usage_parts
from farthing.invoicing.drafting.usage_lines import PART_MASK, BillUsage, usage_lines, usage_rows
from farthing.invoicing.model import Bill, Cover, FeePeriod, Line, Reason
from farthing.invoicing.units.left import UnitsLeft
from farthing.kernel.instant import zone_named
from farthing.kernel.memo import Memo
from farthing.kernel.period import Period, local_midnight
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.rating import Charge

_DAY = timedelta(days=1)
_FEES_ALIKE: Memo[tuple[Line, ...]] = Memo(1_000)
_WHY = {"paused": "while paused", "trial": "in the trial"}


def lines_of(bill: Bill, usage: BillUsage, covers: Sequence[Cover] = ()) -> tuple[Line, ...]:
    """The lines of a bill, in the order of the rate cards of its plans, then the one-off charges.

    usage: of the bill's own period, by what was asked. covers: what is billed of its subscription's fees.
    """
    if bill.reason is Reason.SETTLEMENT:
        return ()
    fees = _fees(bill, covers) if bill.reason is not Reason.INTERIM else ()
    lines: dict[str | None, list[Line]] = {}
    for stretch in bill.stretches:
        for card in stretch.rate_cards(bill.plans[stretch.plan_version_id]):
            lines.setdefault(card.key, [])
    units = UnitsLeft(bill)
    for part in usage_parts(bill):
        lines[part.card.key] += _lines_of_part(bill, part, usage, units)
    for line in fees:
        lines.setdefault(line.rate_card, []).append(line)
    one_offs = [_one_off_line(charge, bill.customer.timezone) for charge in bill.one_offs]
    return (*(line for of_card in lines.values() for line in of_card), *one_offs)


def usage_lines_of(bill: Bill, usage: BillUsage) -> list[Line]:
    """The lines of a bill that are usage, and nothing else."""
    units = UnitsLeft(bill)
    return [line for part in usage_parts(bill) for line in _lines_of_part(bill, part, usage, units)]


def _lines_of_part(bill: Bill, part: UsagePart, usage: BillUsage, units: UnitsLeft) -> list[Line]:
    told = usage_of_part(bill, part, usage)
    period = part.times[0] if len(part.times) == 1 else Period(part.times[0].start, part.times[-1].end)
    if part.unbilled is None:
        rows, paid = units.priced(part, usage_rows(part.card, told))
        lines = units.shown(usage_lines(part.card, period, rows, final=part.final), paid)
    else:
        lines = _free_lines(part, period, told, part.unbilled)
    if part.card.tax_category != TAX_CATEGORY_DEFAULT:
        lines = [replace(line, tax_category=part.card.tax_category) for line in lines]
    own_plan = (part.plan.key, part.version) == (bill.plan.key, bill.version)
    if own_plan and not part.own_price and len(part.times) == 1 and part.unbilled is None:
        return lines
    return [
        replace(
            line,
            plan=None if own_plan else (part.plan.key, part.version, part.plan.name),
            price=part.card.price if part.own_price else None,
            parts=part.times if len(part.times) > 1 else (),
            unbilled=part.unbilled,
        )
        for line in lines
    ]


def usage_of_part(bill: Bill, part: UsagePart, usage: BillUsage) -> BillUsage:
    """What of a bill's usage is of one part of it."""
    if is_simple(bill):
        return usage
    return {
        query: [row for row in usage.get(query, ()) if row.span_id & PART_MASK == part.number]
        for query in part.queries
    }


def _free_lines(part: UsagePart, period: Period, usage: BillUsage, why: str) -> list[Line]:
    """Usage that is counted and costs nothing."""
    with exact():
        used = {
            query[0]: sum((row.quantity for row in usage[query]), ZERO)
            for query in part.queries
            if usage.get(query)
        }
    if not used:
        return []
    several = len(part.card.meters) > 1
    quantity: Decimal = ONE if several else next(iter(used.values()))
    return [
        Line(
            rate_card=part.card.key,
            description=f"{part.card.name}, {_WHY[why]}",
            meter=part.card.meter,
            dimensions={},
            service_period=period,
            quantity=quantity,
            amount_exact=ZERO,
            charges=(Charge(quantity, ZERO, ZERO, f"not billed: {why}"),),
            quantities=used if several else {},
        )
    ]


def _fees(bill: Bill, covers: Sequence[Cover]) -> Sequence[Line]:
    """The lines of fixed fees. Where nothing of them is billed yet, bills of a period that are alike have the same."""
    if covers or bill.reason is not Reason.PERIOD or len(bill.stretches) > 1 or not is_simple(bill):
        return _fees_of(bill, covers)
    periods = _bounds(bill.own), _bounds(bill.coming)
    alike = bill.version, periods, bill.stretches[0].end, bill.customer.timezone
    return _FEES_ALIKE.of(bill.plan, alike, lambda: _fees_of(bill, covers))


def _bounds(period: FeePeriod | None) -> tuple[datetime, ...]:
    """What tells a period of fees from others, found again quicker than the period itself."""
    if period is None:
        return ()
    return period.part.start, period.part.end, period.full.start, period.full.end


def _fees_of(bill: Bill, covers: Sequence[Cover]) -> tuple[Line, ...]:
    return tuple(_told_apart(bill, line) for line in fee_lines(bill, covers))


def _told_apart(bill: Bill, line: Line) -> Line:
    """A fee's line, with its plan and its price where the invoice's plan does not say them."""
    source = line.source
    assert source is not None
    own = (source.plan, source.version) == (bill.plan.key, bill.version)
    return replace(
        line,
        plan=None if own else (source.plan, source.version, source.plan_name),
        price=source.card.price if source.own_price else None,
        tax_category=source.card.tax_category,
    )


def _one_off_line(charge: OneOffCharge, timezone: str) -> Line:
    """It is for the local day that it falls on."""
    day = charge.charged_at.astimezone(zone_named(timezone)).date()
    reason = "one-off credit" if charge.amount < 0 else "one-off charge"
    return Line(
        rate_card=charge.key,
        description=charge.description,
        meter=None,
        dimensions={},
        service_period=Period(local_midnight(day, timezone), local_midnight(day + _DAY, timezone)),
        quantity=ONE,
        amount_exact=charge.amount,
        charges=(Charge(ONE, charge.amount, charge.amount, reason),),
        one_off=charge.key,
    )
