"""Volume: all units cost what the tier of the total says.

    {"model": "volume", "tiers": [{"up_to": "1000", "unit_price": "0.01"}, {"unit_price": "0.005"}]}

Law: total(q) = q x unit price + flat fee of the one tier that q lies in, for q > 0. The total is not
a sum over units: crossing a bound re-prices everything before it. So a part owes the difference
between the totals at its two ends, and parts still sum to the whole; a part that crosses into a
cheaper tier can owe less than nothing. Bounds, and zero usage, are as in `graduated.py`.

Example, 0.01 up to 1000, then 0.005:
    rate(quantity=1000)                     10       1000 x 0.01, tier 1
    rate(quantity=1001)                      5.005   1001 x 0.005, tier 2
    rate(before=1000, quantity=1)           -4.995   1001 x 0.005, tier 2
                                                    -1000 x 0.01, tier 1 re-priced
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Self

from farthing.kernel.quantity import ONE
from farthing.kernel.reading import Fields
from farthing.rating.charge import Charge, charge, repriced
from farthing.rating.price import Measure
from farthing.rating.sheet import Sheet, parse_flag
from farthing.rating.tiers import Tier, read_tiers, step_of


@dataclass(frozen=True, slots=True)
class Volume:
    """All units at the price of the tier that the total reaches."""

    tiers: tuple[Tier, ...]
    bill_flat_on_zero: bool = False

    measure: ClassVar[Measure] = Measure.QUANTITY
    grain: ClassVar[Decimal] = ONE
    proportional: ClassVar[bool] = False

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        return cls(read_tiers(fields, sheet), fields.optional("bill_flat_on_zero", parse_flag, False))

    def charges(self, start: Decimal, end: Decimal, one: Decimal) -> list[Charge]:
        if start == end:
            return []
        if not start:
            return self._total(end, step_of(self.tiers, end, one), one)
        old, new = step_of(self.tiers, start, one), step_of(self.tiers, end, one)
        if old == new:
            return [charge(end - start, self.tiers[new].unit_price, f"tier {new + 1}")]
        return repriced(self._total(start, old, one), self._total(end, new, one))

    def charges_at_zero(self, one: Decimal) -> list[Charge]:
        fee = self.tiers[0].flat_fee
        return [charge(one, fee, "tier 1 flat fee")] if self.bill_flat_on_zero and fee else []

    def _total(self, quantity: Decimal, index: int, one: Decimal) -> list[Charge]:
        tier = self.tiers[index]
        charges = [charge(quantity, tier.unit_price, f"tier {index + 1}")]
        if tier.flat_fee:
            charges.append(charge(one, tier.flat_fee, f"tier {index + 1} flat fee"))
        return charges
