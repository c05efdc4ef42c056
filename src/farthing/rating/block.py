"""Blocks: units are sold in blocks whose size and price change from tier to tier.

    {"model": "block", "policy": "all_tiers",
     "tiers": [{"block_size": "100", "block_price": "1", "max_blocks": "10"},
               {"block_size": "1000", "block_price": "5"}]}

policy: all_tiers   blocks are bought tier by tier: those of a tier until its `max_blocks` are full,
                    then those of the next (the default)
        top_tier    all units are bought in blocks of the tier that the total reaches

A block begun is a block owed. Without `max_blocks` a tier is open, and only the last may be. Where the
last tier has a `max_blocks` too, what lies beyond it owes nothing more (all_tiers, and it is listed) or
is bought in its blocks all the same (top_tier).

Law: total(q) counts the blocks of the running total q, for all_tiers

    blocks of a tier = min(max_blocks, ceil((q - what the tiers before it hold) / block_size))

and for top_tier ceil(q / block_size) of the first tier whose own blocks, after those before it are
full, would do. A part owes the difference between the totals at its two ends. (This is Kill Bill's
consumable usage, which bills whole units; here fractions of a unit begin a block too.)

Example, as above:
    rate(quantity=1001)                     15       10 x 1, tier 1
                                                      1 x 5, tier 2
    rate(before=1001, quantity=999)          0       the block of tier 2 is paid up to 2000
    top_tier, rate(quantity=1001)           10        2 x 5, tier 2

Several meters. A block can be a bundle: `"sizes": {"calls": "1000", "gigabytes": "1"}` in place of
`block_size`, in every tier and of the same meters. Each meter says how many blocks of a tier it needs,
by the formula above; the tier owes the largest of these numbers, once, for all of them; top_tier takes
the highest tier that a meter reaches. So 2500 calls and 7 gigabytes are 7 blocks, not 3 + 7. (Kill Bill
bills each meter by itself and adds up. That needs no price of several meters: it is one rate card for
each.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Self

from farthing.kernel.quantity import ZERO
from farthing.kernel.reading import Fields, parse_choice
from farthing.kernel.rounding import Direction, divide_rounded
from farthing.rating.charge import Charge, charge, differences, repriced
from farthing.rating.meters import ByMeter, read_by_meter
from farthing.rating.price import MetersFormula
from farthing.rating.sheet import INVALID_PRICE, Sheet, parse_amount, parse_positive, refused
from farthing.rating.tiers import TIERS_MAX

BEYOND = "beyond the last tier"
_ONE_METER = ""


class BlockPolicy(StrEnum):
    """Which tiers' blocks are bought."""

    ALL_TIERS = "all_tiers"
    TOP_TIER = "top_tier"


@dataclass(frozen=True, slots=True)
class BlockTier:
    """How large a block is, what it costs, and how many there are."""

    block_price: Decimal
    block_size: Decimal | None = None
    sizes: ByMeter | None = None
    max_blocks: Decimal | None = None

    def size(self, meter: str) -> Decimal:
        """How much of a meter one block holds."""
        size = self.block_size if self.sizes is None else self.sizes.get(meter)
        assert size is not None
        return size


@dataclass(frozen=True, slots=True)
class Block(MetersFormula):
    """An amount for every block begun, by tiers of blocks."""

    tiers: tuple[BlockTier, ...]
    policy: BlockPolicy = BlockPolicy.ALL_TIERS

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        policy = fields.optional("policy", _parse_policy, BlockPolicy.ALL_TIERS)
        ladder = sheet.parts(fields, "tiers", lambda raw, path: _read_tier(raw, path, sheet), most=TIERS_MAX)
        tiers = tuple(tier for tier, _ in ladder)
        for index, (tier, is_open) in enumerate(ladder):
            at = f"{fields.at('tiers')}[{index}]"
            if is_open and index < len(tiers) - 1:
                sheet.faults.add(f"{at}.max_blocks", "is missing: only the last tier is open")
            if _meters(tier) != _meters(tiers[0]):
                sheet.faults.add(at, "must have blocks of the same meters as tiers[0]")
        return cls(tiers, policy)

    @property
    def meters(self) -> tuple[str, ...]:
        return _meters(self.tiers[0]) if self.tiers else ()

    def total(self, quantities: Mapping[str, Decimal], one: Decimal) -> list[Charge]:
        used = {meter: quantities.get(meter, ZERO) for meter in self.meters or (_ONE_METER,)}
        if self.policy is BlockPolicy.TOP_TIER:
            return self._top_tier(used, one)
        blocks = [ZERO] * len(self.tiers)
        for meter, quantity in used.items():
            left = quantity
            for index, tier in enumerate(self.tiers):
                needed = _blocks(left, tier.size(meter), one)
                bought = needed if tier.max_blocks is None else min(needed, tier.max_blocks)
                blocks[index] = max(blocks[index], bought)
                left = left - bought * tier.size(meter) * one if bought < needed else ZERO
            used[meter] = left
        return [
            *(
                charge(count * one, tier.block_price, f"tier {number}")
                for number, (tier, count) in enumerate(zip(self.tiers, blocks, strict=True), start=1)
            ),
            *(charge(left, ZERO, f"{BEYOND} {meter}".strip()) for meter, left in used.items()),
        ]

    def charges_at_zero(self, one: Decimal) -> list[Charge]:
        return []

    def moved(self, start: Mapping[str, Decimal], end: Mapping[str, Decimal], one: Decimal) -> list[Charge]:
        if self.policy is BlockPolicy.TOP_TIER:
            return repriced(self.total(start, one), self.total(end, one))
        return differences(self.total(start, one), self.total(end, one))

    def _top_tier(self, used: Mapping[str, Decimal], one: Decimal) -> list[Charge]:
        if not any(used.values()):
            return []
        top = max(self._tier_of(meter, quantity, one) for meter, quantity in used.items())
        tier = self.tiers[top]
        blocks = max(_blocks(quantity, tier.size(meter), one) for meter, quantity in used.items())
        return [charge(blocks * one, tier.block_price, f"tier {top + 1}")]

    def _tier_of(self, meter: str, quantity: Decimal, one: Decimal) -> int:
        """The index of the tier in whose blocks the last unit of a meter lies."""
        left = quantity
        for index, tier in enumerate(self.tiers):
            if tier.max_blocks is None:
                return index
            held = tier.max_blocks * tier.size(meter) * one
            if left <= held:
                return index
            left -= held
        return len(self.tiers) - 1


def _blocks(quantity: Decimal, size: Decimal, one: Decimal) -> Decimal:
    return divide_rounded(quantity, size * one, 0, Direction.UP)


def _meters(tier: BlockTier) -> tuple[str, ...]:
    return tuple(meter for meter, _ in tier.sizes) if tier.sizes else ()


def _read_tier(raw: object, path: str, sheet: Sheet) -> tuple[BlockTier, bool]:
    """The tier, and whether it is open."""
    fields = sheet.fields(raw, path)
    tier = BlockTier(
        fields.required("block_price", parse_amount),
        fields.optional("block_size", parse_positive, None),
        fields.optional("sizes", lambda raw, path: _read_sizes(raw, path, sheet), None),
        fields.optional("max_blocks", _parse_blocks, None),
    )
    if fields.is_object and ("block_size" in fields) is ("sizes" in fields):
        sheet.faults.add(path, "needs a block_size, or sizes by meter, and not both")
    fields.refuse_unknown()
    return tier, "max_blocks" not in fields


def _read_sizes(raw: object, path: str, sheet: Sheet) -> ByMeter:
    sizes = read_by_meter(raw, path, sheet, parse_positive)
    if not sizes.numbers:
        raise refused(path, "must name at least one meter")
    return sizes


def _parse_blocks(raw: object, path: str) -> Decimal:
    number = parse_positive(raw, path)
    if number != number.to_integral_value():
        raise refused(path, "must be a whole number of blocks")
    return number


def _parse_policy(raw: object, path: str) -> BlockPolicy:
    return BlockPolicy(parse_choice(raw, path, tuple(BlockPolicy), code=INVALID_PRICE))
