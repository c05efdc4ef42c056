"""Tiers: the steps of a graduated, volume, stair step or graduated percentage price.

`up_to` is inclusive and the last tier is open. Tiers are continuous: one begins where the one
before it ends, so 5.5 units never fall between 5 and 6.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, TypeVar

from farthing.kernel.quantity import ZERO
from farthing.kernel.reading import Fields
from farthing.rating.sheet import Sheet, parse_amount, parse_positive

TIERS_MAX = 1000


class Step(Protocol):
    """A step of any ladder: where it ends, and whatever it costs."""

    @property
    def up_to(self) -> Decimal | None: ...


_S = TypeVar("_S", bound=Step)


@dataclass(frozen=True, slots=True)
class Tier:
    """A step of the ladder: what a unit in it costs, and what entering it costs."""

    up_to: Decimal | None
    unit_price: Decimal
    flat_fee: Decimal = ZERO


def read_tiers(fields: Fields, sheet: Sheet) -> tuple[Tier, ...]:
    """The `tiers` of a price whose tiers have a unit price, a flat fee or both."""

    def read_tier(tier: Fields, up_to: Decimal | None) -> Tier:
        unit_price = tier.optional("unit_price", parse_amount, ZERO)
        flat_fee = tier.optional("flat_fee", parse_amount, ZERO)
        if tier.is_object and "unit_price" not in tier and "flat_fee" not in tier:
            sheet.faults.add(tier.path, "needs a unit_price or a flat_fee")
        return Tier(up_to, unit_price, flat_fee)

    return read_ladder(fields, sheet, read_tier)


def read_ladder(
    fields: Fields, sheet: Sheet, read_step: Callable[[Fields, Decimal | None], _S]
) -> tuple[_S, ...]:
    """The `tiers` of a price, their bounds rising and only the last one open."""

    def read_one(raw: object, path: str) -> tuple[_S, bool]:
        tier = sheet.fields(raw, path)
        step = read_step(tier, tier.optional("up_to", parse_positive, None))
        tier.refuse_unknown()
        return step, "up_to" not in tier

    ladder = sheet.parts(fields, "tiers", read_one, most=TIERS_MAX)
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


def step_of(steps: Sequence[Step], quantity: Decimal, one: Decimal) -> int:
    """The index of the step that a total lies in."""
    return next(
        index for index, step in enumerate(steps) if step.up_to is None or quantity <= step.up_to * one
    )
