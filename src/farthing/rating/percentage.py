"""Percentage: a share of the amount of each event, as payments are priced.

    {"model": "percentage", "rate": "2.9", "fixed_fee": "0.30", "free_events": 0, "free_amount": "0",
     "event_min": "0.05", "event_max": "12"}

`rate` is in percent; everything but the rate may be left out. Events are taken in their order:

    1. the first `free_events` of a period owe nothing, and draw nothing from the free amount;
    2. `free_amount` then takes off the amounts, until it is used up. An event that it covers wholly
       owes nothing: no fixed fee and no event_min. One that it covers in part is charged for the rest;
    3. fee = rate / 100 x what is charged of the amount + fixed_fee,
       not less than event_min and not more than event_max.

Law: total(events) = the sum of their fees, and never below zero; a part owes the difference between
the totals before and after it, so the parts of a period sum to the whole if the events are the same
in the same order. Equal events in a row are computed together, however many they are.

An amount below zero (a refund) takes back its share and touches no free amount; an event of 0 is an
event and owes the fixed fee. Where neither limits nor free amounts or events are set, the sum and the
number of events say it all. `convert` and `free_units` work on the amount of each event, before all of
this; an event whose units were free is an event of 0.

Example, 2.9 percent + 0.30, at most 12:
    rate(events: 100, 50, 1000)             16.95    150 x 0.029, 2.9 %
                                                       2 x 0.30, fixed fee
                                                       1 x 12, event maximum
Example, 1 percent + 0.10, 1 free event, free amount 30:
    rate(events: 500, 20, 40)                0.40    500 x 0, free events
                                                      30 x 0, free amount
                                                      30 x 0.01, 1 %
                                                       1 x 0.10, fixed fee
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Self

from farthing.kernel.quantity import ONE, ZERO, trimmed
from farthing.kernel.reading import Fields
from farthing.rating.charge import Charge, charge
from farthing.rating.price import EventFormula, LooksAt, Measure
from farthing.rating.runs import NOTHING, Stretch
from farthing.rating.sheet import Sheet, parse_amount, parse_whole

FREE_EVENTS_MAX = 10**15


@dataclass(frozen=True, slots=True)
class Percentage(EventFormula):
    """A share of each event's amount and a fee for it, within limits."""

    rate: Decimal
    fixed_fee: Decimal = ZERO
    free_events: int = 0
    free_amount: Decimal = ZERO
    event_min: Decimal | None = None
    event_max: Decimal | None = None

    measure: ClassVar[Measure] = Measure.AMOUNT

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        price = cls(
            fields.required("rate", parse_amount),
            fields.optional("fixed_fee", parse_amount, ZERO),
            fields.optional("free_events", lambda raw, path: parse_whole(raw, path, most=FREE_EVENTS_MAX), 0),
            fields.optional("free_amount", parse_amount, ZERO),
            fields.optional("event_min", parse_amount, None),
            fields.optional("event_max", parse_amount, None),
        )
        least, most = price.event_min, price.event_max
        if least is not None and most is not None and least > most:
            sheet.faults.add(fields.at("event_min"), "must not be greater than event_max")
        return price

    @property
    def grain(self) -> Decimal:
        return ONE

    @property
    def looks_at(self) -> LooksAt:
        return LooksAt(
            self.free_events, self.free_amount, self.event_min is not None or self.event_max is not None
        )

    def total(self, events: Sequence[Stretch], one: Decimal) -> list[Charge]:
        free_events, free_amount = self.free_events, self.free_amount * one
        owed = _Owed(self, one)
        for stretch in events:
            free, rest = stretch.split(min(free_events, stretch.count))
            free_events -= free.count
            owed.free_of_events += free.total
            if not rest.count or free_amount <= 0 or rest.total < 0:
                owed.add(rest)
                continue
            if rest.total <= free_amount:
                covered, rest = rest, NOTHING
            else:
                covered, rest = rest.split(int(free_amount // rest.value))
            owed.free_of_amount += covered.total
            free_amount -= covered.total
            if rest.count and free_amount > 0:
                first, rest = rest.split(1)
                owed.free_of_amount += free_amount
                owed.add(Stretch(first.total - free_amount, 1))
                free_amount = ZERO
            owed.add(rest)
        return owed.charges()


@dataclass(slots=True)
class _Owed:
    """What the events so far add up to, in parts."""

    price: Percentage
    one: Decimal
    free_of_events: Decimal = ZERO
    free_of_amount: Decimal = ZERO
    charged: Decimal = ZERO
    counted: int = 0
    at_least: int = 0
    at_most: int = 0
    unit_price: Decimal = field(init=False)

    def __post_init__(self) -> None:
        self.unit_price = self.price.rate.scaleb(-2)

    def add(self, events: Stretch) -> None:
        """Charge these events, which are beyond all that is free."""
        if not events.count:
            return
        least, most = self.price.event_min, self.price.event_max
        if least is not None or most is not None:
            fee = events.value * self.unit_price + self.price.fixed_fee * self.one
            if least is not None and fee < least * self.one:
                self.at_least += events.count
                return
            if most is not None and fee > most * self.one:
                self.at_most += events.count
                return
        self.charged += events.total
        self.counted += events.count

    def charges(self) -> list[Charge]:
        price, one = self.price, self.one
        return [
            charge(self.free_of_events, ZERO, "free events"),
            charge(self.free_of_amount, ZERO, "free amount"),
            charge(self.charged, self.unit_price, f"{trimmed(price.rate)} %"),
            *([charge(self.counted * one, price.fixed_fee, "fixed fee")] if price.fixed_fee else []),
            charge(self.at_least * one, price.event_min or ZERO, "event minimum"),
            charge(self.at_most * one, price.event_max or ZERO, "event maximum"),
        ]
