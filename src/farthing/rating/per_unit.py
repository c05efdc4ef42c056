"""Per unit: every unit costs the same, fractions of a unit their fraction.

    {"model": "per_unit", "unit_price": "0.0000025"}

Law: amount = quantity x unit_price, whatever came before.

Example, unit price 0.0000025:
    rate(quantity=18059974)                 45.149935    18059974 x 0.0000025, usage
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
class PerUnit:
    """The same price for every unit."""

    unit_price: Decimal

    measure: ClassVar[Measure] = Measure.QUANTITY
    grain: ClassVar[Decimal] = ONE
    proportional: ClassVar[bool] = True

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        return cls(fields.required("unit_price", parse_amount))

    def charges(self, start: Decimal, end: Decimal, one: Decimal) -> list[Charge]:
        return [charge(end - start, self.unit_price, "usage")] if start != end else []

    def charges_at_zero(self, one: Decimal) -> list[Charge]:
        return []
