"""Packages: units are sold in bundles of a fixed size.

    {"model": "package", "package_price": "5", "package_size": "1000", "free_units": "0", "round": "up"}

round: up      a package begun is a package owed: ceil(quantity / size)
       down    only full packages are owed: floor(quantity / size)
       exact   part of a package costs its part of the price

Law: the packages of the running total are counted, never those of a part by itself, so a part owes
only the packages that it opens (up) or fills (down). `free_units` come off the quantity before
packages are counted (a modifier; it stands on any model).

Exact packages are not turned into a price per unit, which need not end (5 for every 3): quantities
are counted in parts of 1/size of a unit, so that packages = quantity / size is exact, and the price
is divided out once, at the very end (`rating/between.py`).

Example, 5 for every 1000, up:
    rate(quantity=1001)                     10    2 x 5, package
    rate(before=1001, quantity=999)          0    the second package is paid up to 2000
    rate(before=1001, quantity=1000)         5    1 x 5, package
Example, 5 for every 3, exact:
    rate(quantity=6)                        10
    rate(quantity=1)                         1.666666666666666667
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Self

from farthing.kernel.quantity import ONE
from farthing.kernel.reading import Fields, parse_choice
from farthing.kernel.rounding import Direction, divide_rounded
from farthing.rating.charge import Charge, charge
from farthing.rating.price import Measure
from farthing.rating.sheet import INVALID_PRICE, Sheet, parse_amount, parse_positive


class PackageRound(StrEnum):
    """What becomes of a package that is not full."""

    UP = "up"
    DOWN = "down"
    EXACT = "exact"


_DIRECTIONS = {PackageRound.UP: Direction.UP, PackageRound.DOWN: Direction.DOWN}


@dataclass(frozen=True, slots=True)
class Package:
    """An amount for every started (or whole, or fractional) package of units."""

    package_price: Decimal
    package_size: Decimal
    round: PackageRound = PackageRound.UP

    measure: ClassVar[Measure] = Measure.QUANTITY

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        return cls(
            fields.required("package_price", parse_amount),
            fields.required("package_size", parse_positive),
            fields.optional("round", _parse_round, PackageRound.UP),
        )

    @property
    def grain(self) -> Decimal:
        return self.package_size if self.proportional else ONE

    @property
    def proportional(self) -> bool:
        return self.round is PackageRound.EXACT

    def charges(self, start: Decimal, end: Decimal, one: Decimal) -> list[Charge]:
        packages = self._packages(end, one) - self._packages(start, one)
        return [charge(packages, self.package_price, "package")] if packages else []

    def charges_at_zero(self, one: Decimal) -> list[Charge]:
        return []

    def _packages(self, quantity: Decimal, one: Decimal) -> Decimal:
        """Packages in this many parts, themselves in parts."""
        if self.round is PackageRound.EXACT:
            return quantity / self.package_size
        return divide_rounded(quantity, self.package_size * one, 0, _DIRECTIONS[self.round]) * one


def _parse_round(raw: object, path: str) -> PackageRound:
    return PackageRound(parse_choice(raw, path, tuple(PackageRound), code=INVALID_PRICE))
