"""The comparison of a gateway's books with ours. Pure.

A movement is matched by the gateway's name for what moved, its kind and its amount. What is left over on either side
has a reason: `unknown_here` (they moved it, nothing here says so), `unknown_there` (we say that it moved, they do not),
`amount_differs`, `moved_twice` (they moved money more than once for one payment).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from farthing.kernel.quantity import ZERO, exact
from farthing.payments.gateway import Movement, MovementKind

UNKNOWN_HERE, UNKNOWN_THERE = "unknown_here", "unknown_there"
AMOUNT_DIFFERS, MOVED_TWICE = "amount_differs", "moved_twice"


@dataclass(frozen=True, slots=True)
class Ours:
    """What our books say that moved at a gateway. key: of the payment, refund or dispute."""

    kind: MovementKind
    provider_id: str
    key: str
    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that only one side says, or that the two say differently. None: what a side does not have."""

    reason: str
    kind: MovementKind
    provider_id: str
    key: str | None
    theirs: Decimal | None
    ours: Decimal | None
    currency: str


@dataclass(slots=True)
class Reconciliation:
    """What matched, and what did not. totals: (kind, currency) -> (theirs, ours)."""

    gateway: str
    matched: int = 0
    differences: list[Difference] = field(default_factory=list)
    totals: dict[tuple[MovementKind, str], tuple[Decimal, Decimal]] = field(default_factory=dict)


def compare(gateway: str, theirs: Iterable[Movement], ours: Sequence[Ours]) -> Reconciliation:
    """Both ways; fees are compared by their sum for each payment."""
    found = Reconciliation(gateway)
    moved: dict[tuple[MovementKind, str, str], list[Decimal]] = defaultdict(list)
    for movement in theirs:
        moved[movement.kind, _name(movement), movement.currency].append(movement.amount)
        _add(found, movement.kind, movement.currency, movement.amount, ZERO)
    said = {(one.kind, one.provider_id, one.currency): one for one in ours}
    for one in ours:
        _add(found, one.kind, one.currency, ZERO, one.amount)
    for key in dict.fromkeys([*moved, *said]):
        kind, provider_id, currency = key
        amounts, own = moved.get(key), said.get(key)
        with exact():
            total = None if amounts is None else sum(amounts, ZERO)
        reason = _reason(kind, amounts, own)
        if reason is None:
            found.matched += 1
        else:
            found.differences.append(
                Difference(
                    reason,
                    kind,
                    provider_id,
                    None if own is None else own.key,
                    total,
                    None if own is None else own.amount,
                    currency,
                )
            )
    return found


def _reason(kind: MovementKind, amounts: Sequence[Decimal] | None, own: Ours | None) -> str | None:
    if amounts is None:
        return UNKNOWN_THERE
    if own is None:
        return UNKNOWN_HERE
    with exact():
        total = sum(amounts, ZERO)
    if total == own.amount:
        return None
    several = kind is MovementKind.PAYMENT and len(amounts) > 1
    return MOVED_TWICE if several else AMOUNT_DIFFERS


def _name(movement: Movement) -> str:
    """What a movement is matched by: refunds and disputes have names of their own, payments and fees the payment's."""
    own = movement.kind in (MovementKind.REFUND, MovementKind.DISPUTE)
    return movement.movement_id if own else movement.provider_id


def _add(found: Reconciliation, kind: MovementKind, currency: str, theirs: Decimal, ours: Decimal) -> None:
    before = found.totals.get((kind, currency), (ZERO, ZERO))
    with exact():
        found.totals[kind, currency] = (before[0] + theirs, before[1] + ours)
