"""What rating takes and gives: rows of usage in, charges with their reasons out."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from farthing.kernel.quantity import ZERO


@dataclass(frozen=True, slots=True)
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


def charge(quantity: Decimal, unit_price: Decimal, reason: str) -> Charge:
    """So many at so much."""
    return Charge(quantity, unit_price, quantity * unit_price, reason)


def reversed_charge(taken_back: Charge, reason: str | None = None) -> Charge:
    """The charge that undoes this one."""
    return Charge(
        -taken_back.quantity, taken_back.unit_price, -taken_back.amount, reason or taken_back.reason
    )


@dataclass(frozen=True, slots=True)
class Rated:
    """What a quantity costs. The charges sum to the amount exactly.

    `shortfall` is how far the net quantity lies below zero: corrections beyond what was used.
    It owes nothing and is given back to the caller to report.
    """

    amount: Decimal
    charges: tuple[Charge, ...]
    shortfall: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Row:
    """Usage of one combination of dimensions: `{"model": "opus"}`, 5 units after `before` units."""

    dimensions: Mapping[str, str]
    quantity: Decimal
    before: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class RatedRow:
    """One line that a price owes for its rows (see `rating/rows.py` for which rows share a line).

    `unpriced` usage matched no cell of a matrix without a default: it owes nothing and is listed.
    """

    dimensions: Mapping[str, str]
    quantity: Decimal
    amount: Decimal
    charges: tuple[Charge, ...]
    shortfall: Decimal = ZERO
    unpriced: bool = False
