"""Graduated percentage: a share of an amount, by tiers of that amount.

    {"model": "graduated_percentage", "tiers": [{"up_to": "1000", "rate": "1", "flat_fee": "200"},
                                                {"rate": "0.5"}]}

The quantity is an amount of money (what was sold, paid out, processed) and `rate` is in percent.

Law: graduated, with rate / 100 as the price of each unit of the amount. Bounds, flat fees and zero
usage are as in `graduated.py`; it is additive like it.

Example, 1 percent and 200 on entry up to 1000, then 0.5 percent:
    rate(quantity=1500)                    212.50    1000 x 0.01, tier 1
                                                        1 x 200, tier 1 flat fee
                                                      500 x 0.005, tier 2
    rate(before=1500, quantity=100)          0.50     100 x 0.005, tier 2
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Self

from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.kernel.reading import Fields
from farthing.rating.charge import Charge
from farthing.rating.graduated import Graduated
from farthing.rating.price import Measure
from farthing.rating.sheet import Sheet, parse_amount, parse_flag
from farthing.rating.tiers import Tier, read_ladder


@dataclass(frozen=True, slots=True)
class RateTier:
    """A step of the ladder: what share of the amount in it is owed, and what entering it costs."""

    up_to: Decimal | None
    rate: Decimal
    flat_fee: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class GraduatedPercentage:
    """Each unit of an amount at the rate of the tier it falls in."""

    tiers: tuple[RateTier, ...]
    bill_flat_on_zero: bool = False
    # The same ladder with prices for a unit, which is what a rate is.
    graduated: Graduated = field(init=False, repr=False, compare=False)

    measure: ClassVar[Measure] = Measure.AMOUNT
    grain: ClassVar[Decimal] = ONE
    proportional: ClassVar[bool] = False

    def __post_init__(self) -> None:
        with exact():
            tiers = tuple(Tier(tier.up_to, tier.rate.scaleb(-2), tier.flat_fee) for tier in self.tiers)
        object.__setattr__(self, "graduated", Graduated(tiers, self.bill_flat_on_zero))

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        def read_tier(tier: Fields, up_to: Decimal | None) -> RateTier:
            rate = tier.optional("rate", parse_amount, ZERO)
            flat_fee = tier.optional("flat_fee", parse_amount, ZERO)
            if tier.is_object and "rate" not in tier and "flat_fee" not in tier:
                sheet.faults.add(tier.path, "needs a rate or a flat_fee")
            return RateTier(up_to, rate or ZERO, flat_fee)

        return cls(
            read_ladder(fields, sheet, read_tier), fields.optional("bill_flat_on_zero", parse_flag, False)
        )

    def charges(self, start: Decimal, end: Decimal, one: Decimal) -> list[Charge]:
        return self.graduated.charges(start, end, one)

    def charges_at_zero(self, one: Decimal) -> list[Charge]:
        return self.graduated.charges_at_zero(one)
