"""What is left of the lines of rate cards while adjustments are made of them. Pure.

Coupons, commitments and the plan's minimum each see of every line what the steps before them left (see
`adjustments.py`), and each line they make says of which lines it was made, and how much of each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from farthing.invoicing.model import Adjustment, Line, LineKind, Share
from farthing.kernel.period import Period
from farthing.kernel.quantity import ZERO
from farthing.rating import Charge


@dataclass(slots=True)
class Remainder:
    """The lines of rate cards, and what is left of the amount of each, on the way through the steps."""

    lines: Sequence[Line]
    left: list[Decimal]

    @classmethod
    def of(cls, lines: Sequence[Line]) -> "Remainder":
        return cls(lines, [line.amount_exact for line in lines])

    def places(self, wanted: Callable[[Line], bool]) -> list[int]:
        """The places, from zero, of the lines that a step is about."""
        return [place for place, line in enumerate(self.lines) if wanted(line)]

    def sum_of(self, places: Sequence[int]) -> Decimal:
        return sum((self.left[place] for place in places), ZERO)

    def take(self, places: Sequence[int], parts: Sequence[Decimal]) -> None:
        """Take these parts off what is left of the lines at these places."""
        for place, part in zip(places, parts, strict=True):
            self.left[place] -= part


def shares(places: Sequence[int], parts: Sequence[Decimal]) -> tuple[Share, ...]:
    """The parts that are not zero, each with the number of its line on the invoice."""
    return tuple(Share(place + 1, part) for place, part in zip(places, parts, strict=True) if part)


def beyond(amounts: Sequence[Decimal], before: Decimal, limit: Decimal) -> list[Decimal]:
    """Of amounts that follow upon `before`, the part of each by which the running total passes `limit`.

    It is the difference of max(0, total - limit) at both ends of each amount, so the parts of one
    invoice or of twelve sum to what the whole passes the limit by, also where an amount is negative.

        beyond([60, 60], before=0, limit=100)   ->  [0, 20]
    """
    parts, running = [], before
    for amount in amounts:
        after = running + amount
        parts.append(max(ZERO, after - limit) - max(ZERO, running - limit))
        running = after
    return parts


def adjustment_line(
    description: str,
    period: Period,
    quantity: Decimal,
    unit_price: Decimal,
    reason: str,
    adjustment: Adjustment,
) -> Line:
    """A line of one charge that no rate card charges."""
    amount = quantity * unit_price
    return Line(
        rate_card=None,
        description=description,
        meter=None,
        dimensions={},
        service_period=period,
        quantity=quantity,
        amount_exact=amount,
        charges=(Charge(quantity, unit_price, amount, reason),),
        adjustment=adjustment,
    )


def counted_by_minimum(kind: LineKind) -> bool:
    """Whether a line is part of what the plan's minimum asks for: usage and fees after coupons, with overage.

    What a prepaid commitment pays for counts as used, so neither it nor its drawdown do.
    """
    return kind in (LineKind.USAGE, LineKind.FEE, LineKind.COUPON, LineKind.OVERAGE)
