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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from farthing.kernel.quantity import ZERO
from farthing.wallets.model import DrawPart, OpenGrant, UsageCharge

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

    def left_of(self, grant_id: int) -> Decimal:
        return self._left[self._place[grant_id]]


def draw_parts(charges: Sequence[UsageCharge], funds: Mapping[int, Funds]) -> list[DrawPart]:
    """Which grants pay for charges above zero, one charge after the other. `funds` by customer.

    What holds had set aside for a charge pays first, whatever the order; what of it is not needed is let go,
    and can pay for what comes after. `exact()` is in force.
    """
    parts: list[DrawPart] = []
    for charge in charges:
        own = funds.get(charge.customer_id)
        if own is None:
            continue
        amount = charge.amount
        for hold in charge.settled:
            used = min(hold.amount, max(amount, ZERO))
            amount -= used
            own.give_back(hold.grant_id, hold.amount - used)
            parts.append(DrawPart(charge, hold.grant_id, used, hold.amount))
        if amount > ZERO:
            taken = own.take(amount, charge.as_of, charge.meters, charge.key.rate_card, charge.currency)
            parts += [DrawPart(charge, grant_id, part) for grant_id, part in taken]
    return parts


def returned_parts(
    charge: UsageCharge, drawn: Sequence[tuple[int, Decimal]], funds: Funds | None
) -> list[DrawPart]:
    """What a charge below zero gives back: to the grants that paid last first, never more than they had paid.

    drawn: what each grant has paid for the same usage so far, in the order of payment. `exact()` is in force.
    """
    parts: list[DrawPart] = []
    back = -charge.amount
    for grant_id, paid in reversed(drawn):
        part = min(paid, back)
        if part <= ZERO:
            continue
        back -= part
        parts.append(DrawPart(charge, grant_id, -part))
        if funds is not None:
            funds.give_back(grant_id, part)
    return parts
