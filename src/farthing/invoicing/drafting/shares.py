"""Of which lines a line is made, in terms of tax. Pure.

A coupon, a drawdown, an overage, and what was billed or carried within a period are as much of a tax category as the
lines that they are made of. Other adjustments (a minimum, a true-up, a prepaid commitment itself) bear the standard
rate; a correction, and what is brought forward, that of the lines which they come from.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

from farthing.invoicing.model import Line, LineKind
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.tax.model import STANDARD

MADE_OF_OTHERS = (
    LineKind.COUPON,
    LineKind.DRAWDOWN,
    LineKind.OVERAGE,
    LineKind.BILLED,
    LineKind.CARRIED,
    LineKind.CARRIED_FORWARD,
)
"""Adjustments that bear the tax of the lines that they are made of."""
_OF_A_CATEGORY = (LineKind.CORRECTION, LineKind.BROUGHT_FORWARD)

_Name = TypeVar("_Name")


def category_of(line: Line) -> str:
    """The tax category of a line that stands for itself."""
    own = line.adjustment is None or line.kind in _OF_A_CATEGORY
    return line.tax_category if own else STANDARD


def is_made_of_others(line: Line) -> bool:
    """Whether a line is made of others on the same invoice, and says of which."""
    return line.adjustment is not None and line.kind in MADE_OF_OTHERS and bool(line.adjustment.of)


def parted_by(lines: Sequence[Line], place: int, named: Callable[[int], _Name]) -> dict[_Name, Decimal]:
    """The exact amount of a line that is made of others, by what those are named. place: from zero."""
    line = lines[place]
    assert line.adjustment is not None
    sums: dict[_Name, Decimal] = {}
    # An overage costs a percentage of what lies beyond the commitment; the others are as much as their shares.
    factor = line.charges[0].unit_price if line.kind is LineKind.OVERAGE else ONE
    with exact():
        for share in line.adjustment.of:
            name = named(share.line - 1)
            sums[name] = sums.get(name, ZERO) + share.amount * factor
        # What is of no line of this invoice any more goes with the first.
        sums[next(iter(sums))] += line.amount_exact - sum(sums.values(), ZERO)
    return sums


def categories_of_line(lines: Sequence[Line], place: int) -> dict[str, Decimal]:
    """The exact amount of a line by tax category. place: from zero."""
    if not is_made_of_others(lines[place]):
        return {category_of(lines[place]): lines[place].amount_exact}
    return parted_by(lines, place, lambda other: lines[other].tax_category)
