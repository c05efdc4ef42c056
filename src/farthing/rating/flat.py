"""A flat fee: the same amount however much is used.

    {"model": "flat", "amount": "10"}

Law: owed once. The first part of a period that uses anything owes it, every later part owes nothing
more, and a period that ends with nothing used owes it all the same. So the parts of a period sum to
the amount, wherever the period is split.

Example, amount 10:
    rate(quantity=5)                        10    1 x 10, flat fee
    rate(before=5, quantity=7)               0
    rate(quantity=0)                        10    the period ends here
    rate(quantity=0, final=False)            0    it may still be owed by a later part
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
class Flat:
    """One amount, whatever the quantity."""

    amount: Decimal

    measure: ClassVar[Measure] = Measure.QUANTITY
    grain: ClassVar[Decimal] = ONE
    proportional: ClassVar[bool] = False

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        return cls(fields.required("amount", parse_amount))

    def charges(self, start: Decimal, end: Decimal, one: Decimal) -> list[Charge]:
        return self.charges_at_zero(one) if not start and end else []

    def charges_at_zero(self, one: Decimal) -> list[Charge]:
        return [charge(one, self.amount, "flat fee")]
