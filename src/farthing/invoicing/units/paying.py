"""What units of wallets pay of bills, decided before these are priced. Pure.

Units are of a meter, so they pay for a rate card that counts that one meter, where the meter adds up and the price
looks at nothing but the quantity: not for a price that tells usage apart by dimensions or windows of time, or looks
at single events. Usage of a pause or a trial costs nothing, and is not paid. Where the price changed within the
period, earlier usage is paid before later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from farthing.catalog.model import Meter
from farthing.invoicing.drafting.lines import usage_of_part
from farthing.invoicing.drafting.parts import usage_parts
from farthing.invoicing.drafting.usage_lines import BillUsage, usage_rows
from farthing.invoicing.model import Bill, Reason
from farthing.invoicing.wallets import drawn_as_of
from farthing.kernel.quantity import ZERO, exact
from farthing.wallets.model import ChargeKey
from farthing.wallets.schedule import takes_units
from farthing.wallets.unit_draws import UnitDraft
from farthing.wallets.units import Purse, UnitGrants, UnitsPaid


class Units:
    """The units of wallets while bills are drafted, one after another.

    held: of the customers of the bills, and what was drawn for their periods.
    """

    def __init__(self, held: UnitGrants, meters: Mapping[str, Meter], now: datetime) -> None:
        self._purse, self._meters, self._now = Purse(held), meters, now
        self._meters_of, self._drawn = held.meters_of, held.cards_drawn

    def on(self, bill: Bill, usage: BillUsage) -> Bill:
        """The bill with what units pay of its usage; an interim one asks for what they leave of its period so far."""
        if not bill.bills_usage:
            return bill
        number, start = bill.subscription.subscription_id, bill.period.start
        own = self._meters_of.get(bill.customer.customer_id, frozenset())
        drawn = self._drawn.get((number, start), frozenset())
        if not own and not drawn:
            return bill
        paid = []
        with exact():
            wanted_of = _wanted(bill, usage, self._meters)
            # What it does not charge by gives back what was drawn.
            wanted_of |= {(card, ""): ZERO for card in sorted(drawn - {card for card, _ in wanted_of})}
            for (card, meter), wanted in wanted_of.items():
                one = self._purse.pay(
                    ChargeKey(number, start, card),
                    bill.customer.customer_id,
                    meter,
                    wanted,
                    drawn_as_of(bill, self._now),
                )
                if one is not None:
                    paid.append(one)
        return replace(bill, units=tuple(paid))

    def off(self, bill: Bill) -> None:
        """Nothing comes of this bill: what it would have taken, later ones find."""
        with exact():
            for one in bill.units:
                key = ChargeKey(bill.subscription.subscription_id, bill.period.start, one.rate_card)
                self._purse.undo(key, bill.customer.customer_id)


def _wanted(bill: Bill, usage: BillUsage, meters: Mapping[str, Meter]) -> dict[tuple[str, str], Decimal]:
    """How much usage units may pay, by (rate card, meter); a rate card that changed its meter counts by the first."""
    wanted: dict[tuple[str, str], Decimal] = {}
    counted: dict[str, str] = {}
    for part in usage_parts(bill):
        if part.unbilled is not None or not takes_units(part.card, meters):
            continue
        place = (part.card.key, counted.setdefault(part.card.key, part.card.meters[0]))
        wanted.setdefault(place, ZERO)
        if place[1] == part.card.meters[0]:
            for row in usage_rows(part.card, usage_of_part(bill, part, usage)):
                wanted[place] += max(row.quantity, ZERO)
    return wanted


def unit_draft(bill: Bill) -> UnitDraft:
    """What of a draft's bill is drawn from wallets of units."""
    return UnitDraft(
        bill.subscription.subscription_id,
        bill.period.start,
        bill.customer.customer_id,
        bill.plan.currency,
        bill.units,
    )


def with_units_drawn(bills: Sequence[Bill], held: UnitGrants) -> list[Bill]:
    """Bills of periods with the units that were drawn for them, however much their usage is by now."""
    by_period: dict[tuple[int, datetime], list[UnitsPaid]] = {}
    purse = Purse(UnitGrants({}, held.standing, held.wallet_of, held.price_of))
    with exact():
        for key, some in held.standing.items():
            total = sum((quantity for _, quantity in some), ZERO)
            one = purse.pay(key, 0, "", total, key.period_start)
            if one is not None:
                by_period.setdefault((key.subscription_id, key.period_start), []).append(one)
    return [
        replace(bill, units=tuple(by_period.get((bill.subscription.subscription_id, bill.period.start), ())))
        if bill.reason is Reason.PERIOD
        else bill
        for bill in bills
    ]
