"""Dynamic: the amount travels in the event, and the price passes it on.

    {"model": "dynamic", "multiplier": "1"}

The seller's own system has worked out what each call costs (a resold service, a marketplace fee); the
quantity is the sum of these amounts. `multiplier` is 1 unless given: 1.2 adds a fifth.

Law: amount = sum of the amounts x multiplier, whatever came before.

Example, multiplier 1.2:
    rate(events: 10, 2.5)                   15       12.5 x 1.2, amounts of events
    rate(quantity=12.5)                     15
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Self

from farthing.kernel.quantity import ONE
from farthing.kernel.reading import Fields
from farthing.rating.charge import Charge, charge
from farthing.rating.price import Measure
from farthing.rating.sheet import Sheet, parse_amount


@dataclass(frozen=True, slots=True)
class Dynamic:
    """What the events say they cost, times a factor."""

    multiplier: Decimal = ONE

    measure: ClassVar[Measure] = Measure.AMOUNT
    grain: ClassVar[Decimal] = ONE
    proportional: ClassVar[bool] = True

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        return cls(fields.optional("multiplier", parse_amount, ONE))

    def charges(self, start: Decimal, end: Decimal, one: Decimal) -> list[Charge]:
        return [charge(end - start, self.multiplier, "amounts of events")] if start != end else []

    def charges_at_zero(self, one: Decimal) -> list[Charge]:
        return []
