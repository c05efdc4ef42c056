"""Graduated: each unit costs what its own tier says.

    {"model": "graduated", "tiers": [{"up_to": "1000", "unit_price": "0.01", "flat_fee": "0"},
                                     {"unit_price": "0.005"}]}

Law: a unit's price depends on its position in the running total alone, and a tier's flat fee is owed
by the part that enters the tier: additive, and exact, for tiers are summed and never rounded one by
one. A bound belongs to the tier below it: 1000 units stay in tier 1, and 1000.5 units have half a
unit in tier 2. With nothing used nothing is owed, unless `"bill_flat_on_zero": true`: then a period
that ends so owes the flat fee of tier 1.

Example, 0.01 up to 1000, then 0.005 and a flat fee of 2 on entry:
    rate(quantity=1500)                     14.50    1000 x 0.01, tier 1
                                                      500 x 0.005, tier 2
                                                        1 x 2, tier 2 flat fee
    rate(before=1500, quantity=100)          0.50     100 x 0.005, tier 2
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Self

from farthing.kernel.quantity import ONE, ZERO
from farthing.kernel.reading import Fields
from farthing.rating.charge import Charge, charge
from farthing.rating.price import Measure
from farthing.rating.sheet import Sheet, parse_flag
from farthing.rating.tiers import Tier, read_tiers


@dataclass(frozen=True, slots=True)
class Graduated:
    """Each unit at the price of the tier it falls in."""

    tiers: tuple[Tier, ...]
    bill_flat_on_zero: bool = False
    # The tiers as they are climbed, with the reason that a charge of each gives.
    _ladder: tuple[tuple[Decimal | None, Decimal, Decimal, str], ...] = field(
        init=False, repr=False, compare=False
    )

    measure: ClassVar[Measure] = Measure.QUANTITY
    grain: ClassVar[Decimal] = ONE
    proportional: ClassVar[bool] = False

    def __post_init__(self) -> None:
        ladder = (
            (tier.up_to, tier.unit_price, tier.flat_fee, f"tier {number}")
            for number, tier in enumerate(self.tiers, start=1)
        )
        object.__setattr__(self, "_ladder", tuple(ladder))

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        return cls(read_tiers(fields, sheet), fields.optional("bill_flat_on_zero", parse_flag, False))

    def charges(self, start: Decimal, end: Decimal, one: Decimal) -> list[Charge]:
        charges: list[Charge] = []
        floor = ZERO
        for ceiling, unit_price, flat_fee, reason in self._ladder:
            if ceiling is not None and one is not ONE:
                ceiling = ceiling * one
            if ceiling is None or ceiling >= end:
                ceiling = end
            if ceiling > start:
                entered = start <= floor
                quantity = ceiling - (floor if entered else start)
                charges.append(Charge(quantity, unit_price, quantity * unit_price, reason))
                if entered and flat_fee:
                    charges.append(charge(one, flat_fee, f"{reason} flat fee"))
            if ceiling is end:
                break
            floor = ceiling
        return charges

    def charges_at_zero(self, one: Decimal) -> list[Charge]:
        fee = self.tiers[0].flat_fee
        return [charge(one, fee, "tier 1 flat fee")] if self.bill_flat_on_zero and fee else []
