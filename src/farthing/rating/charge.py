"""What rating takes and gives: rows of usage in, charges with their reasons out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Self

from farthing.kernel.quantity import ZERO, exact
from farthing.kernel.value import value
from farthing.rating.runs import Run


@value
class Charge:
    """Something owed, and why: `1000 x 0.01 = 10, tier 1`. Every digit is kept.

    `amount` is what counts. It equals `quantity * unit_price`, except where the price divides and
    the quotient does not end: there the quantity is shown at 18 digits and the amount is the exact
    share (see `rating/between.py`). A charge below zero takes back what an earlier part was charged.
    """

    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class UnitCharge(Charge):
    """A charge of a price that is written in a unit of its own (`rating/unit.py`), in money and in that unit.

    `1000 x 0.05 = 50` in money is `1000 x 5 = 5000` credits at 0.01.
    """

    unit: str
    unit_price_in_unit: Decimal
    amount_in_unit: Decimal


def charge(quantity: Decimal, unit_price: Decimal, reason: str) -> Charge:
    """So many at so much."""
    return Charge(quantity, unit_price, quantity * unit_price, reason)


def reversed_charge(taken_back: Charge, reason: str | None = None) -> Charge:
    """The charge that undoes this one."""
    return Charge(
        -taken_back.quantity, taken_back.unit_price, -taken_back.amount, reason or taken_back.reason
    )


def repriced(old: Sequence[Charge], new: Sequence[Charge]) -> list[Charge]:
    """What is owed where a total was `old` and is `new`: the new one, less the old one, which is taken back."""
    if old == new:
        return []
    return [*new, *(reversed_charge(owed, f"{owed.reason} re-priced") for owed in old)]


def differences(old: Sequence[Charge], new: Sequence[Charge]) -> list[Charge]:
    """What is owed where totals of the same charges in the same order were `old` and are `new`."""
    moved = (
        Charge(after.quantity - before.quantity, after.unit_price, after.amount - before.amount, after.reason)
        for before, after in zip(old, new, strict=True)
    )
    return [charge for charge in moved if charge.quantity or charge.amount]


@value
class Rated:
    """What a quantity costs. The charges sum to the amount exactly.

    `shortfall` is how far the net quantity lies below zero: corrections beyond what was used.
    It owes nothing and is given back to the caller to report.
    """

    amount: Decimal
    charges: tuple[Charge, ...]
    shortfall: Decimal = ZERO


@value
class Row:
    """Usage of one combination of dimensions: `{"model": "opus"}`, 5 units after `before` units.

    What else must be told depends on the price (`rating/needs.py`); what a price does not need it ignores.

    dimensions: the meter's dimensions, and the window of each clock of the price under the clock's name.
    events, events_before: how many events `quantity` and `before` are the sums of.
    runs, runs_before: the first of these events in their order, as far as they must be told apart; what the
        runs leave of the quantity and of the count is known as a sum only. See `of_runs`.
    quantities, quantities_before: by meter, for a price of several meters.
    """

    dimensions: Mapping[str, str]
    quantity: Decimal = ZERO
    before: Decimal = ZERO
    events: int | None = None
    events_before: int | None = None
    runs: Sequence[Run] = ()
    runs_before: Sequence[Run] = ()
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    quantities_before: Mapping[str, Decimal] = field(default_factory=dict)

    @classmethod
    def of_runs(cls, dimensions: Mapping[str, str], runs: Sequence[Run], before: Sequence[Run] = ()) -> Self:
        """Usage of which every event is told."""
        with exact():
            quantity = sum((run.value * run.count for run in runs), ZERO)
            earlier = sum((run.value * run.count for run in before), ZERO)
        counts = sum(run.count for run in runs), sum(run.count for run in before)
        return cls(dimensions, quantity, earlier, *counts, runs, before)


@value
class RatedRow:
    """One line that a price owes for its rows (see `rating/rows.py` for which rows share a line).

    `unpriced` usage matched no cell of a matrix without a default: it owes nothing and is listed.
    `quantities` says how much of each meter, where a price counts several; `quantity` is then 1 for the
    period if anything was used, else 0. A line that `adjusts` is no usage's own: it is what the modifiers of
    a matrix add to the lines before it.
    """

    dimensions: Mapping[str, str]
    quantity: Decimal
    amount: Decimal
    charges: tuple[Charge, ...]
    shortfall: Decimal = ZERO
    unpriced: bool = False
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    adjusts: bool = False
