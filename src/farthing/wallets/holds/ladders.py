"""Which of a price's ladders usage climbs. Pure.

A price that is no matrix has one ladder, called "". In a matrix, and a time of use, each cell is one: usage of one
cell does not move that of another. Modifiers of the matrix that work on the sum of its lines cannot raise what a
cell's usage adds, so they are passed by, but for a percentage off, which all of it gets; of free units that cells
share nothing is reckoned on. A shared ladder, and a price that counts several meters, cannot be told ahead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from farthing.kernel.errors import InvalidInput
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.rating import Price, rate
from farthing.rating.matrix import Ladder as Ladders
from farthing.rating.matrix import Matrix
from farthing.rating.modifiers import HUNDRED, Modifiers
from farthing.rating.price import EventFormula, MetersFormula
from farthing.rating.proportion import in_proportion
from farthing.rating.time_of_use import TimeOfUse, matrix_of
from farthing.wallets.holds.worst_case import is_proportional, worst_cost, worst_event_cost

UNPRICED = "unpriced"


@dataclass(frozen=True, slots=True)
class Ladder:
    """A price of a single running quantity (None: usage that nothing prices), and what share of it is owed.

    has_places: whether what is owed depends on where the running quantity stands.
    each: what one unit costs where that is all there is to know.
    """

    name: str
    price: Price | None
    share: Decimal = ONE
    has_places: bool = field(init=False)
    each: Decimal | None = field(init=False)

    def __post_init__(self) -> None:
        price, each = self.price, None
        has_places = price is not None and not (
            isinstance(price.model, EventFormula) or is_proportional(price)
        )
        if price is None:
            each = ZERO
        elif in_proportion(price):
            with exact():
                each = rate(price, quantity=ONE, final=False).amount * self.share
        object.__setattr__(self, "has_places", has_places)
        object.__setattr__(self, "each", each)

    def worst(
        self, low: Decimal, high: Decimal, quantity: Decimal, count: int = 1, *, exactly: bool = False
    ) -> Decimal:
        """The most that `count` times this quantity can owe from anywhere between `low` and `high`.

        `exact()` is in force.
        """
        if self.each is not None or self.price is None:
            return quantity * count * (self.each or ZERO) if quantity > ZERO else ZERO
        if isinstance(self.price.model, EventFormula):
            owed = worst_event_cost(self.price, quantity, count)
        else:
            owed = worst_cost(self.price, low, high, quantity * count, exactly=exactly)
        return owed * self.share


def ladders_of(price: Price, dimensions: Mapping[str, str], moment: datetime | None) -> tuple[Ladder, ...]:
    """The ladder of usage with these dimensions at a moment; of a time of use with no moment, each that it may be.

    Raises InvalidInput `price_not_authorizable`.
    """
    return tuple(_ladders("", price, dimensions, moment, ONE))


def _ladders(
    name: str, price: Price, dimensions: Mapping[str, str], moment: datetime | None, share: Decimal
) -> list[Ladder]:
    matrix = matrix_of(price.model)
    if matrix is None:
        if isinstance(price.model, MetersFormula) and len(price.model.meters) > 1:
            raise _untold("counts several meters")
        return [Ladder(name, price, share)]
    if matrix.tiers is Ladders.SHARED:
        raise _untold("has one ladder for all of its cells")
    share *= (HUNDRED - price.modifiers.discount_percent).scaleb(-2)
    found: list[Ladder] = []
    for cell in _cells(price, matrix, dimensions, moment):
        inner = matrix.default if cell is None else matrix.cells[cell].price
        below = f"{name}{'default' if cell is None else cell}/"
        if inner is None:
            found.append(Ladder(f"{below}{UNPRICED}", None))
            continue
        found += _ladders(below, _converted(inner, price.modifiers), dimensions, moment, share)
    return found


def _cells(
    price: Price, matrix: Matrix, dimensions: Mapping[str, str], moment: datetime | None
) -> list[int | None]:
    if not isinstance(price.model, TimeOfUse):
        return [matrix.cell_for(dimensions)]
    clock = price.model.clock
    if clock.dimension in dimensions:
        return [matrix.cell_for(dimensions)]
    if moment is not None:
        return [matrix.cell_for({clock.dimension: clock.label_at(moment)})]
    return [*range(len(matrix.cells)), None]


def _converted(price: Price, around: Modifiers) -> Price:
    """A cell's price on the quantity as it is metered, where the matrix around it converts."""
    outer, inner = around.convert, price.modifiers.convert
    if outer is None:
        return price
    if outer.round is not None:
        raise _untold("rounds the quantity of each of its lines")
    if inner is not None:
        if inner.operation is not outer.operation:
            raise _untold("converts the quantity twice, there and back")
        outer = replace(inner, factor=outer.factor * inner.factor)
    return replace(price, modifiers=replace(price.modifiers, convert=outer))


def _untold(why: str) -> InvalidInput:
    return InvalidInput(
        "price_not_authorizable", f"what this usage costs cannot be told ahead: its price {why}", path="usage"
    )
