"""Which grants pay. Pure.

The order, each rule deciding where those before it do not:

    1. the wallet with the lower priority number
    2. the grant with the lower priority number
    3. the one that expires earliest; one that never expires comes last
    4. promotional before paid
    5. the older one (the smaller grant id)

So funds that would lapse are used before funds that stay, and gifts before money. A grant pays for what its
scope covers, while it is in force, and only in the currency of its wallet. Each charge takes from the first
grant that can pay for it until that is used up, then from the next. A part that no grant can pay is not drawn.

    wallet 1: 5.00 promotional, expires in June; 20.00 paid      wallet 2: 50.00 paid
    a charge of 7.50:  5.00 of the promotion, then 2.50 of the paid grant
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal

from farthing.kernel.quantity import ZERO
from farthing.wallets.model import OpenGrant

_NEVER = datetime.max.replace(tzinfo=UTC)


def in_order(grants: Iterable[OpenGrant]) -> list[OpenGrant]:
    """Grants in the order in which they burn down."""
    return sorted(grants, key=_place)


def _place(grant: OpenGrant) -> tuple[int, int, datetime, bool, int]:
    return (
        grant.wallet_priority,
        grant.priority,
        grant.expires_at or _NEVER,
        grant.paid,
        grant.grant_id,
    )


def in_force(grant: OpenGrant, at: datetime) -> bool:
    """Whether it can be drawn or held at a moment."""
    return grant.effective_at <= at and (grant.expires_at is None or at < grant.expires_at)


class Funds:
    """What is left of the grants of one customer, while charges take from it. `exact()` is in force."""

    def __init__(self, grants: Iterable[OpenGrant]) -> None:
        self.grants = in_order(grants)
        self._left = [grant.left for grant in self.grants]
        self._place = {grant.grant_id: place for place, grant in enumerate(self.grants)}
        self._first = 0

    def take(
        self,
        amount: Decimal,
        at: datetime,
        meters: tuple[str, ...],
        rate_card: str,
        currency: str | None,
        unit: str | None = None,
    ) -> Iterator[tuple[int, Decimal]]:
        """Take up to an amount, in order: pairs of grant and how much of it."""
        left = self._left
        while self._first < len(left) and left[self._first] <= ZERO:
            self._first += 1
        for place in range(self._first, len(left)):
            if amount <= ZERO:
                return
            grant = self.grants[place]
            if left[place] <= ZERO or grant.currency != currency or grant.unit != unit:
                continue
            if not (in_force(grant, at) and grant.scope.covers(meters, rate_card)):
                continue
            part = min(left[place], amount)
            left[place] -= part
            amount -= part
            yield grant.grant_id, part

    def give_back(self, grant_id: int, amount: Decimal) -> None:
        """A grant has this much again. One that is not among these has nothing to do with what follows."""
        place = self._place.get(grant_id)
        if place is not None:
            self._left[place] += amount
            self._first = min(self._first, place)

    def available(self, at: datetime) -> dict[int, Decimal]:
        """What can be drawn at a moment, by wallet; of every wallet that has a grant among these."""
        found: dict[int, Decimal] = {}
        for grant, left in zip(self.grants, self._left, strict=True):
            now = left if in_force(grant, at) else ZERO
            found[grant.wallet_id] = found.get(grant.wallet_id, ZERO) + now
        return found
