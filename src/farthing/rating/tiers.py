"""Tiers: the steps of a graduated or volume price.

`up_to` is inclusive and the last tier is open. Tiers are continuous: one begins where the one
before it ends, so 5.5 units never fall between 5 and 6.
"""

from dataclasses import dataclass
from decimal import Decimal

from farthing.kernel.quantity import ZERO
from farthing.kernel.reading import Fields
from farthing.rating.sheet import Sheet, parse_amount, parse_positive

TIERS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Tier:
    """A step of the ladder: what a unit in it costs, and what entering it costs."""

    up_to: Decimal | None
    unit_price: Decimal
    flat_fee: Decimal = ZERO


def read_tiers(fields: Fields, sheet: Sheet) -> tuple[Tier, ...]:
    """The `tiers` of a price, their bounds rising and only the last one open."""
    ladder = sheet.parts(fields, "tiers", lambda raw, path: _read_tier(raw, path, sheet), most=TIERS_MAX)
    last = len(ladder) - 1
    lower: Decimal | None = None
    lower_at = ""
    for index, (tier, is_open) in enumerate(ladder):
        at = f"{fields.at('tiers')}[{index}].up_to"
        if is_open and index < last:
            sheet.faults.add(at, "is missing: only the last tier is open")
        if tier.up_to is not None:  # None as well where it could not be read; that fault is noted already.
            if lower is not None and tier.up_to <= lower:
                sheet.faults.add(at, f"must be greater than {lower_at}")
            lower, lower_at = tier.up_to, f"tiers[{index}].up_to"
        if not is_open and index == last:
            sheet.faults.add(at, "must be left out: the last tier is open")
    return tuple(tier for tier, _ in ladder)


def _read_tier(raw: object, path: str, sheet: Sheet) -> tuple[Tier, bool]:
    """The tier, and whether it is open."""
    fields = sheet.fields(raw, path)
    up_to = fields.optional("up_to", parse_positive, None)
    unit_price = fields.optional("unit_price", parse_amount, ZERO)
    flat_fee = fields.optional("flat_fee", parse_amount, ZERO)
    if fields.is_object and "unit_price" not in fields and "flat_fee" not in fields:
        sheet.faults.add(path, "needs a unit_price or a flat_fee")
    fields.refuse_unknown()
    return Tier(up_to, unit_price, flat_fee), "up_to" not in fields
