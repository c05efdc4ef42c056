"""Units pay for authorised usage before money does, as they will once it is counted. Pure; `exact()` is in force.

    up to 900 tokens, 600 units are free      600 units are held, and the money that 300 more can cost
    it used 500                               500 units are settled, 100 are free again, and so is the money

Units are of a meter, so nothing about how many a call needs depends on the place it is counted at. What they leave
is priced as if it were all of the call: units climb no tier.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from farthing.kernel.quantity import ZERO
from farthing.wallets.burn_down import Funds
from farthing.wallets.holds.model import Part, UnitsWanted
from farthing.wallets.holds.pricing import Use
from farthing.wallets.model import OpenGrant

ALL_THERE_IS = Decimal("1e30")
"""More than any grant holds."""


def holders_of_units(grants: Mapping[int, Sequence[OpenGrant]]) -> frozenset[int]:
    """The customers that have units left, of these open grants."""
    return frozenset(
        customer_id for customer_id, own in grants.items() for grant in own if grant.unit is not None
    )


def units_for(use: Use, funds: Funds, quantity: Decimal, at: datetime) -> list[Part]:
    """What units can give for so much of a use, in the order in which they burn down."""
    charged, unit = use.kind.charged, use.kind.unit
    if unit is None or quantity <= ZERO:
        return []
    taken = funds.take(quantity, at, (unit,), charged.card.key, None, unit)
    return [
        Part(charged.subscription_id, charged.period.start, charged.card.key, grant_id, part, unit)
        for grant_id, part in taken
    ]


def priced_after(uses: Sequence[Use], parts: Sequence[Sequence[Part]]) -> list[Use]:
    """What is left of uses to be priced when these parts have paid, use by use."""
    left: list[Use] = []
    for use, own in zip(uses, parts, strict=True):
        if not own:
            left.append(use)
            continue
        quantity = use.total - sum((part.amount for part in own), ZERO)
        if quantity:
            left.append(Use(use.kind, quantity, 1))
    return left


def wanted_of(uses: Sequence[Use], parts: Sequence[Sequence[Part]]) -> tuple[UnitsWanted, ...]:
    """How much usage units may pay, and how many there are for it, by meter."""
    found: dict[str, UnitsWanted] = {}
    for use, own in zip(uses, parts, strict=True):
        if use.kind.unit is not None:
            known = found.get(use.kind.unit, UnitsWanted(use.kind.unit, ZERO, ZERO))
            there = sum((part.amount for part in own), ZERO)
            required = known.required + max(use.total, ZERO)
            found[use.kind.unit] = UnitsWanted(known.unit, required, known.available + there)
    return tuple(found.values())
