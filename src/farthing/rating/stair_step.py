"""Stair step: one fee for the whole quantity, by the tier that the total reaches.

    {"model": "stair_step", "tiers": [{"up_to": "1000", "flat_fee": "50"}, {"flat_fee": "90"}]}

Law: total(q) = the fee of the one tier that q lies in, for q > 0. Like volume it is no sum over units:
crossing a bound replaces the fee of the tier before, so a part owes the difference between the fees at
its two ends, and parts still sum to the whole. Bounds, and zero usage, are as in `graduated.py`.

Example, 50 up to 1000, then 90:
    rate(quantity=1000)                     50       1 x 50, tier 1
    rate(quantity=1000.5)                   90       1 x 90, tier 2
    rate(before=1000, quantity=1)           40       1 x 90, tier 2
                                                    -1 x 50, tier 1 re-priced
    rate(before=10, quantity=1)              0
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Self

from farthing.kernel.quantity import ONE
from farthing.kernel.reading import Fields
from farthing.rating.charge import Charge, charge, repriced
from farthing.rating.price import Measure
from farthing.rating.sheet import Sheet, parse_amount, parse_flag
from farthing.rating.tiers import read_ladder, step_of


@dataclass(frozen=True, slots=True)
class Stair:
    """A step that costs the same wherever on it the total stands."""

    up_to: Decimal | None
    flat_fee: Decimal


@dataclass(frozen=True, slots=True)
class StairStep:
    """One fee, that of the tier that the total reaches."""

    tiers: tuple[Stair, ...]
    bill_flat_on_zero: bool = False

    measure: ClassVar[Measure] = Measure.QUANTITY
    grain: ClassVar[Decimal] = ONE
    proportional: ClassVar[bool] = False

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        return cls(
            read_ladder(
                fields, sheet, lambda tier, up_to: Stair(up_to, tier.required("flat_fee", parse_amount))
            ),
            fields.optional("bill_flat_on_zero", parse_flag, False),
        )

    def charges(self, start: Decimal, end: Decimal, one: Decimal) -> list[Charge]:
        return repriced(self._total(start, one), self._total(end, one))

    def charges_at_zero(self, one: Decimal) -> list[Charge]:
        fee = self.tiers[0].flat_fee
        return [charge(one, fee, "tier 1")] if self.bill_flat_on_zero and fee else []

    def _total(self, quantity: Decimal, one: Decimal) -> list[Charge]:
        if not quantity:
            return []
        index = step_of(self.tiers, quantity, one)
        return [charge(one, self.tiers[index].flat_fee, f"tier {index + 1}")]
