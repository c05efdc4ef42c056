"""Capacity: one price for the period, by the tier that is large enough.

    {"model": "capacity", "tiers": [{"limits": {"seats": "100", "projects": "10"}, "price": "10"},
                                    {"limits": {"seats": "500"}, "price": "40"}]}

`limits` are by meter: the most of each that the tier holds. A meter that a tier does not name is not
limited by it; the last tier may leave `limits` out and hold everything.

Law: total(quantities) = the price of the first tier all of whose limits suffice, a limit included;
the price of the last tier, if none does. Nothing is owed with nothing used, unless
`"bill_flat_on_zero": true`: then a period that ends so owes the price of tier 1. It is no sum over
units: a part owes the difference between the prices at its two ends, and parts still sum to the whole.

Each tier must hold more than the one before it of at least one meter: one that no quantity can reach is
a mistake.

Example, as above:
    rate(seats=100, projects=10)            10       1 x 10, tier 1
    rate(seats=101, projects=10)            40       1 x 40, tier 2
    rate(seats=5, projects=11)              40       1 x 40, tier 2
    rate(seats=900)                         40       1 x 40, tier 2
    rate(before: seats=100, seats=1)        30       1 x 40, tier 2
                                                    -1 x 10, tier 1 re-priced
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Self

from farthing.kernel.quantity import ZERO
from farthing.kernel.reading import Fields
from farthing.rating.charge import Charge, charge
from farthing.rating.meters import ByMeter, read_by_meter
from farthing.rating.price import MetersFormula
from farthing.rating.sheet import Sheet, parse_amount, parse_flag
from farthing.rating.tiers import TIERS_MAX

NO_LIMITS = ByMeter()


@dataclass(frozen=True, slots=True)
class CapacityTier:
    """What the period costs, and how much of each meter that buys."""

    price: Decimal
    limits: ByMeter = NO_LIMITS

    def holds(self, quantities: Mapping[str, Decimal], one: Decimal) -> bool:
        """Whether all of its limits suffice."""
        return all(quantities.get(meter, ZERO) <= limit * one for meter, limit in self.limits)


@dataclass(frozen=True, slots=True)
class Capacity(MetersFormula):
    """The price of the first tier that is large enough."""

    tiers: tuple[CapacityTier, ...]
    bill_flat_on_zero: bool = False
    _meters: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        named = {meter for tier in self.tiers for meter, _ in tier.limits or ()}
        object.__setattr__(self, "_meters", tuple(sorted(named)))

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        faults_before = len(sheet.faults)
        tiers = sheet.parts(fields, "tiers", lambda raw, path: _read_tier(raw, path, sheet), most=TIERS_MAX)
        if len(sheet.faults) == faults_before:
            _check_limits(tiers, fields.at("tiers"), sheet)
        return cls(tiers, fields.optional("bill_flat_on_zero", parse_flag, False))

    @property
    def meters(self) -> tuple[str, ...]:
        return self._meters

    def total(self, quantities: Mapping[str, Decimal], one: Decimal) -> list[Charge]:
        if not any(quantities.get(meter) for meter in self.meters):
            return []
        last = len(self.tiers) - 1
        index = next((place for place, tier in enumerate(self.tiers) if tier.holds(quantities, one)), last)
        return [charge(one, self.tiers[index].price, f"tier {index + 1}")]

    def charges_at_zero(self, one: Decimal) -> list[Charge]:
        price = self.tiers[0].price
        return [charge(one, price, "tier 1")] if self.bill_flat_on_zero and price else []


def _check_limits(tiers: Sequence[CapacityTier], path: str, sheet: Sheet) -> None:
    """Note the tiers that hold no more than the one before them."""
    if not any(tier.limits.numbers for tier in tiers):
        sheet.faults.add(f"{path}[0].limits", "must name at least one meter")
    for index, (below, tier) in enumerate(pairwise(tiers), start=1):
        if not any(_more(limit, tier.limits.get(meter)) for meter, limit in below.limits):
            complaint = f"must hold more of a meter than tiers[{index - 1}]"
            sheet.faults.add(f"{path}[{index}].limits", complaint)


def _more(lower: Decimal, limit: Decimal | None) -> bool:
    """Whether a limit, none at all for one that is without, is beyond a lower one."""
    return limit is None or limit > lower


def _read_tier(raw: object, path: str, sheet: Sheet) -> CapacityTier:
    fields = sheet.fields(raw, path)
    tier = CapacityTier(
        fields.required("price", parse_amount),
        fields.optional("limits", lambda raw, path: read_by_meter(raw, path, sheet, parse_amount), NO_LIMITS),
    )
    fields.refuse_unknown()
    return tier
