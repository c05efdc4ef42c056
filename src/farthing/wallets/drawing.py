"""Who pays for charges, one after another, from what is left of grants. Pure; `exact()` is in force.

- A charge above zero is paid in the order of burning down. What no grant can pay is owed.
- A charge below zero (a total that went down) first takes off what is owed, then goes back to the grants that
  paid last.
- Settled holds of a charge pay first, whatever the order; what of them it does not need is let go.
- A settlement brings what was drawn for a period to what its invoice says: what is owed is tried again, what was
  drawn too much goes back, and then the sum is moved, by less than a minor unit, to whole minor units.

    usage of 12.3456, funds 20      drawn 12.3456   invoice 12.35   settled: 12.35 drawn, nothing due
    usage of 12.3456, funds 10      drawn 10        invoice 12.35   settled: 10.00 drawn, 2.35 due
    usage of 12.3456, funds 5.005   drawn 5.005     invoice 12.35   settled: 5.00 drawn, 7.35 due, 0.005 left
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from farthing.kernel.quantity import ZERO
from farthing.kernel.rounding import Direction, round_count
from farthing.wallets.burn_down import Funds
from farthing.wallets.model import ChargeKey, DrawPart, OpenGrant, Settlement, Standing, UsageCharge

OWED = 0
"""Stands for a grant where no funds covered a part of a charge."""


class Drawing:
    """The funds of customers while charges are paid from them, and all that comes of it.

    standing: where the money for the charges of these periods came from so far; None where all charges are above
        zero. parts: what grants pay or get back, in order. owed: how much more is owed, by charge.
    """

    def __init__(
        self,
        grants: Mapping[int, Sequence[OpenGrant]],
        standing: Mapping[ChargeKey, Standing] | None = None,
    ) -> None:
        self.funds = {customer_id: Funds(own) for customer_id, own in grants.items()}
        self.parts: list[DrawPart] = []
        self.owed: dict[ChargeKey, Decimal] = {}
        # Where nothing goes back, it does not matter what stands.
        self._keeps_standing = standing is not None
        self._standing = {key: list(some) for key, some in (standing or {}).items()}
        self._of_period: dict[tuple[int, datetime], dict[ChargeKey, None]] = {}
        for key in self._standing:
            self._of_period.setdefault((key.subscription_id, key.period_start), {})[key] = None

    def charge(self, charge: UsageCharge) -> Decimal:
        """Pay for one charge, or give back. How much of it grants paid; below zero, got back."""
        if charge.amount < ZERO:
            return self._give_back(charge)
        left = charge.amount
        for hold in charge.settled:
            used = min(hold.amount, left)
            left -= used
            self._funds_give(charge.customer_id, hold.grant_id, hold.amount - used)
            self._add(DrawPart(charge, hold.grant_id, used, hold.amount))
        own = self.funds.get(charge.customer_id)
        if own is not None and left > ZERO:
            key = charge.key
            for grant_id, part in own.take(left, charge.as_of, charge.meters, key.rate_card, charge.currency):
                left -= part
                self._add(DrawPart(charge, grant_id, part))
        if left:
            self._owe(charge.key, left)
        return charge.amount - left

    def settle(self, settlement: Settlement) -> Decimal:
        """Bring what was drawn for a period to what its invoice says; how much of that is paid, in minor units."""
        for total in settlement.totals:
            charge = self._charge_of(settlement, total.rate_card, total.meters)
            owed, paid = self._stands(charge.key)
            self._owe(charge.key, -owed)
            self.charge(replace(charge, amount=total.amount - paid))
        self._drop_unknown_cards(settlement)
        drawn = self._drawn(settlement)
        covered = drawn == sum((total.amount for total in settlement.totals), ZERO)
        paid = min(
            settlement.payable if covered else round_count(drawn, settlement.minor_units, Direction.DOWN),
            settlement.payable,
        )
        if paid > drawn and self._round_up(settlement, paid - drawn) < paid - drawn:
            drawn = self._drawn(settlement)
            paid = round_count(drawn, settlement.minor_units, Direction.DOWN)
        self._round_down(settlement, self._drawn(settlement) - paid, still_owed=not covered)
        return paid

    def _charge_of(self, settlement: Settlement, rate_card: str, meters: tuple[str, ...] = ()) -> UsageCharge:
        key = ChargeKey(settlement.subscription_id, settlement.period_start, rate_card)
        return UsageCharge(key, settlement.customer_id, settlement.currency, meters, ZERO, settlement.as_of)

    def _keys(self, settlement: Settlement) -> list[ChargeKey]:
        return list(self._of_period.get((settlement.subscription_id, settlement.period_start), ()))

    def _drop_unknown_cards(self, settlement: Settlement) -> None:
        """What was drawn for a rate card that the invoice does not charge by goes back."""
        known = {total.rate_card for total in settlement.totals}
        for key in self._keys(settlement):
            if key.rate_card not in known:
                owed, paid = self._stands(key)
                self._owe(key, -owed)
                self.charge(replace(self._charge_of(settlement, key.rate_card), amount=-paid))

    def _drawn(self, settlement: Settlement) -> Decimal:
        return sum((self._stands(key)[1] for key in self._keys(settlement)), ZERO)

    def _round_up(self, settlement: Settlement, missing: Decimal) -> Decimal:
        """Draw what is missing to the minor unit for whichever rate card has funds for it; how much that was.

        That is no usage, so what no grant pays is not owed.
        """
        found = ZERO
        own = self.funds.get(settlement.customer_id)
        for total in settlement.totals:
            if own is None or found >= missing:
                break
            charge = self._charge_of(settlement, total.rate_card, total.meters)
            for grant_id, part in own.take(
                missing - found, charge.as_of, charge.meters, total.rate_card, charge.currency
            ):
                found += part
                self._add(DrawPart(charge, grant_id, part))
        return found

    def _round_down(self, settlement: Settlement, excess: Decimal, *, still_owed: bool) -> None:
        """Give back what lies beyond the minor unit, from the rate cards that were charged last.

        still_owed: whether the invoice asks for it; else it is what rounding takes away.
        """
        for key in reversed(self._keys(settlement)):
            if excess <= ZERO:
                return
            paid = self._stands(key)[1]
            part = min(paid, excess)
            if part > ZERO:
                excess -= part
                charge = self._charge_of(settlement, key.rate_card)
                rest = self._return(charge, part)
                if still_owed:
                    self._owe(key, part - rest)

    def _give_back(self, charge: UsageCharge) -> Decimal:
        """A charge below zero: what is owed shrinks first, then whoever paid last gets it back."""
        back = -charge.amount
        owed, _ = self._stands(charge.key)
        if owed > ZERO:
            part = min(owed, back)
            back -= part
            self._owe(charge.key, -part)
        for hold in charge.settled:
            self._funds_give(charge.customer_id, hold.grant_id, hold.amount)
            self._add(DrawPart(charge, hold.grant_id, ZERO, hold.amount))
        rest = self._return(charge, back)
        if rest:
            self._owe(charge.key, -rest)
        return rest - back

    def _return(self, charge: UsageCharge, back: Decimal) -> Decimal:
        """So much goes back to the grants that paid for a charge, the last first; what none of them had paid."""
        for grant_id, paid in reversed(list(self._standing.get(charge.key, ()))):
            part = min(paid, back)
            if grant_id == OWED or part <= ZERO:
                continue
            back -= part
            self._funds_give(charge.customer_id, grant_id, part)
            self._add(DrawPart(charge, grant_id, -part))
        return back

    def _funds_give(self, customer_id: int, grant_id: int, amount: Decimal) -> None:
        if amount and customer_id in self.funds:
            self.funds[customer_id].give_back(grant_id, amount)

    def _stands(self, key: ChargeKey) -> tuple[Decimal, Decimal]:
        """What is owed for a charge so far, and what grants have paid for it."""
        owed = paid = ZERO
        for grant_id, amount in self._standing.get(key, ()):
            if grant_id == OWED:
                owed += amount
            else:
                paid += amount
        return owed, paid

    def _owe(self, key: ChargeKey, amount: Decimal) -> None:
        if amount:
            self.owed[key] = self.owed.get(key, ZERO) + amount
            self._stand(key, OWED, amount)

    def _add(self, part: DrawPart) -> None:
        self.parts.append(part)
        self._stand(part.charge.key, part.grant_id, part.amount)

    def _stand(self, key: ChargeKey, grant_id: int, amount: Decimal) -> None:
        if not self._keeps_standing:
            return
        some = self._standing.get(key)
        if some is None:
            some = self._standing[key] = []
            self._of_period.setdefault((key.subscription_id, key.period_start), {})[key] = None
        for place, (known, before) in enumerate(some):
            if known == grant_id:
                some[place] = (grant_id, before + amount)
                return
        some.append((grant_id, amount))
