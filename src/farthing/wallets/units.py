"""Units that wallets hold pay for usage before it is priced. Pure; `exact()` is in force.

A wallet of units holds a quantity of one meter: 10,000 requests, 5 million tokens. Usage of that meter takes from it
first, in the order of burning down, and only what it does not cover is priced: units that were paid for stand outside
of the plan's tiers, free units and packages. Each grant of units was paid for at a price for one, which may be nothing.

    12,000 requests, a wallet of 10,000 at 0.002, a plan of 0.01 up to 1,000 and 0.005 above:
    10,000 are drawn, worth 20.00; 2,000 are priced: 1,000 x 0.01 + 1,000 x 0.005 = 15.00

What units pay is decided for a whole period so far, each time anew: what had been drawn for it stands as far as it
is still wanted, the rest goes back to whoever paid last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from farthing.kernel.quantity import ZERO
from farthing.wallets.burn_down import Funds
from farthing.wallets.model import ChargeKey, OpenGrant, Standing


class UnitPart(NamedTuple):
    """So many units of one grant."""

    grant_id: int
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class UnitsPaid:
    """What units pay of the usage of a rate card in a period.

    wanted: how much usage there is that they may pay. as_of: the moment that grants must be in force at.
    parts: by grant, those that paid first before those that paid last. wallets: whose they are, by their keys.
    stood: how many had been drawn for it: where that has changed since, more may be known of the usage, too.
    """

    rate_card: str
    meter: str
    wanted: Decimal
    as_of: datetime
    parts: tuple[UnitPart, ...]
    wallets: tuple[str, ...] = ()
    stood: Decimal = ZERO

    @property
    def quantity(self) -> Decimal:
        """How many that are in all. Call it with exact arithmetic in force."""
        return sum((part.quantity for part in self.parts), ZERO)


@dataclass(frozen=True, slots=True)
class UnitGrants:
    """The grants of units of some customers that may move, and what was drawn of them for some periods.

    grants: by customer, what can be drawn. standing: what was drawn, first payers first.
    wallet_of, price_of: of every grant that is named, its wallet's key and what one unit was paid for.
    """

    grants: Mapping[int, Sequence[OpenGrant]]
    standing: Mapping[ChargeKey, Standing]
    wallet_of: Mapping[int, str]
    price_of: Mapping[int, Decimal]

    @property
    def meters_of(self) -> dict[int, frozenset[str]]:
        """The meters that each customer may hold units of."""
        return {
            customer_id: frozenset(one.unit for one in own if one.unit is not None)
            for customer_id, own in self.grants.items()
        }

    @property
    def cards_drawn(self) -> dict[tuple[int, datetime], frozenset[str]]:
        """The rate cards that something was drawn for, by (subscription, period start)."""
        found: dict[tuple[int, datetime], set[str]] = {}
        for key in self.standing:
            found.setdefault((key.subscription_id, key.period_start), set()).add(key.rate_card)
        return {period: frozenset(cards) for period, cards in found.items()}


class Purse:
    """The units of customers while usage is paid with them: what one bill takes the next does not find."""

    def __init__(self, held: UnitGrants) -> None:
        self._held = held
        self._funds = {customer_id: Funds(own) for customer_id, own in held.grants.items()}
        self._standing = {key: list(some) for key, some in held.standing.items()}

    def pay(
        self, key: ChargeKey, customer_id: int, meter: str, wanted: Decimal, as_of: datetime
    ) -> UnitsPaid | None:
        """Bring what units pay of this usage to what is wanted, as far as they go; None where they never did."""
        parts = self._standing.get(key, [])
        funds = self._funds.get(customer_id)
        if not parts and (funds is None or wanted <= ZERO):
            return None
        stood = sum((quantity for _, quantity in self._held.standing.get(key, ())), ZERO)
        missing = wanted - sum((quantity for _, quantity in parts), ZERO)
        if missing < ZERO:
            parts = self._returned(funds, parts, -missing)
        elif funds is not None:
            for grant_id, part in funds.take(missing, as_of, (meter,), key.rate_card, None, meter):
                _add(parts, grant_id, part)
        self._standing[key] = parts
        wallets = dict.fromkeys(self._held.wallet_of[grant_id] for grant_id, _ in parts)
        paid = tuple(UnitPart(*part) for part in parts)
        return UnitsPaid(key.rate_card, meter, wanted, as_of, paid, tuple(wallets), stood)

    def undo(self, key: ChargeKey, customer_id: int) -> None:
        """What units pay of this usage is what it was before: nothing comes of its bill."""
        funds, before = self._funds.get(customer_id), list(self._held.standing.get(key, ()))
        for grant_id, quantity in moves(self._standing.get(key, ()), before):
            if funds is not None:
                funds.give_back(grant_id, -quantity)
        self._standing[key] = before

    def _returned(self, funds: Funds | None, parts: Standing, back: Decimal) -> Standing:
        """So many units go back, from whoever paid last."""
        kept: Standing = []
        for grant_id, quantity in reversed(parts):
            part = min(quantity, back)
            back -= part
            if part and funds is not None:
                funds.give_back(grant_id, part)
            if quantity > part:
                kept.append((grant_id, quantity - part))
        return kept[::-1]


def _add(parts: Standing, grant_id: int, quantity: Decimal) -> None:
    for place, (known, before) in enumerate(parts):
        if known == grant_id:
            parts[place] = (grant_id, before + quantity)
            return
    parts.append((grant_id, quantity))


def moves(
    standing: Sequence[tuple[int, Decimal]], parts: Sequence[tuple[int, Decimal]]
) -> list[tuple[int, Decimal]]:
    """By how much each grant is drawn more, or less, so that what stands becomes these parts."""
    change: dict[int, Decimal] = {}
    for grant_id, quantity in parts:
        change[grant_id] = change.get(grant_id, ZERO) + quantity
    for grant_id, quantity in standing:
        change[grant_id] = change.get(grant_id, ZERO) - quantity
    return [(grant_id, quantity) for grant_id, quantity in sorted(change.items()) if quantity]
