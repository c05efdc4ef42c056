"""What one event costs: the difference that it makes, in the order of time, by the one formula. Pure.

    its cost = the rate card's amount for the usage up to and with it - the amount for the usage before it

Usage stands in the order of (event time, source, id), from the beginning of the period. So the costs of all
events of a period sum to the amount that the rate card charges for them, to the last digit: an event inside of
free units costs nothing, one that enters a tier pays the tier's flat fee. An event that arrives late moves those
after it up. What is owed without usage (a minimum) is no event's, and coupons and commitments are of the
invoice as a whole: neither is in it. Where a price prices the whole total, the difference may be below zero and
says little; what the whole costs stands beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from farthing.invoicing.drafting.lines import usage_of_part
from farthing.invoicing.drafting.parts import UsagePart, usage_parts
from farthing.invoicing.drafting.usage_lines import BillUsage, usage_rows
from farthing.invoicing.model import Bill
from farthing.invoicing.units.left import UnitsLeft
from farthing.kernel.period import Period
from farthing.kernel.quantity import ZERO, exact
from farthing.rating import rate_rows
from farthing.rating.whole import prices_whole_total


@dataclass(frozen=True, slots=True)
class EventCost:
    """What an event costs by one rate card of one bill.

    amount: the difference that it makes. whole: what the card charges for all usage of the period so far.
    unbilled: why it costs nothing, if it does: paused, or trial.
    """

    rate_card: str
    name: str
    meters: tuple[str, ...]
    amount: Decimal
    whole: Decimal
    whole_total: bool
    unbilled: str | None


def parts_of_event(bill: Bill, event_period: Period, meters: Mapping[str, object]) -> list[UsagePart]:
    """The parts of a bill in which the event counts: of a meter that counts it, at its time."""
    return [
        part
        for part in usage_parts(bill)
        if any(meter in meters for meter in part.card.meters)
        and any(event_period.start in time for time in part.times)
    ]


def cost_of(
    bill: Bill, part: UsagePart, before: BillUsage, with_it: BillUsage, whole: BillUsage
) -> EventCost:
    """What the event costs in a part of a bill, from the usage before it, up to it, and all of it."""
    amounts = [_amount(bill, part, usage) for usage in (before, with_it, whole)]
    with exact():
        amount = amounts[1] - amounts[0]
    return EventCost(
        part.card.key,
        part.card.name,
        part.card.meters,
        amount,
        amounts[2],
        prices_whole_total(part.card.price),
        part.unbilled,
    )


def _amount(bill: Bill, part: UsagePart, usage: BillUsage) -> Decimal:
    if part.unbilled is not None:
        return ZERO
    # Units of wallets pay the first usage of a period.
    rows, _ = UnitsLeft(bill).priced(part, usage_rows(part.card, usage_of_part(bill, part, usage)))
    with exact():
        return _sum([rated.amount for rated in rate_rows(part.card.price, rows, final=False)])


def _sum(amounts: Sequence[Decimal]) -> Decimal:
    return sum(amounts, ZERO)
