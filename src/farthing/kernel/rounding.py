"""The only module that rounds.

Amounts stay exact until they become money on a document. Then the total is rounded once to the
currency's minor unit, and the lines receive that total by the largest remainder method, so lines
always sum to the total. (Largest remainder: Hamilton's method of apportionment.)
"""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, localcontext
from enum import StrEnum
from functools import lru_cache
from math import isqrt
from typing import assert_never

from farthing.kernel.quantity import ZERO, exact

QUOTIENT_SCALE = 18
"""Digits after the point that a quotient keeps, where a division does not end (an average)."""


class Rounding(StrEnum):
    """How a half is resolved; `half_up` goes away from zero: 0.125 -> 0.13 and -0.125 -> -0.13."""

    HALF_UP = "half_up"
    HALF_EVEN = "half_even"


class Direction(StrEnum):
    """How a count that is not whole becomes whole (packages, conversions)."""

    UP = "up"
    DOWN = "down"
    HALF_UP = "half_up"
    HALF_EVEN = "half_even"


# Rounding is what this module is for, so here, and only here, a digit may go.
_WIDE = Context(prec=250)

_MODES = {Rounding.HALF_UP: ROUND_HALF_UP, Rounding.HALF_EVEN: ROUND_HALF_EVEN}
_DIRECTIONS = {
    Direction.UP: ROUND_CEILING,
    Direction.DOWN: ROUND_FLOOR,
    Direction.HALF_UP: ROUND_HALF_UP,
    Direction.HALF_EVEN: ROUND_HALF_EVEN,
}
_TENS = {Decimal(10) ** digits: digits for digits in range(4)}


def round_money(amount: Decimal, minor_units: int, rounding: Rounding = Rounding.HALF_UP) -> Decimal:
    """The amount at the currency's precision: `round_money(Decimal("47.608895"), 2)` is `47.61`."""
    return _quantize(amount, minor_units, _MODES[rounding])


def round_count(number: Decimal, scale: int, direction: Direction) -> Decimal:
    """A quantity at `scale` digits after the point, up (to +infinity), down (to -infinity), half up or half even."""
    return _quantize(number, scale, _DIRECTIONS[direction])


def divide_rounded(dividend: Decimal, divisor: Decimal, scale: int, direction: Direction) -> Decimal:
    """`dividend / divisor` rounded once to `scale` digits, correct even where the quotient does not end."""
    assert divisor > 0
    digits = _TENS.get(divisor)
    if digits is not None:  # A percentage: the point moves, and what is left is to round.
        return _quantize(dividend.scaleb(-digits, _WIDE), scale, _DIRECTIONS[direction])
    with localcontext(_WIDE):
        # Integer division of exactly scaled numbers, so the remainder decides and nothing is rounded twice.
        scaled = dividend.scaleb(scale)
        whole, rest = divmod(scaled, divisor)
        if rest < 0:  # divmod of Decimals truncates toward zero; move to the floor.
            whole, rest = whole - 1, rest + divisor
        up = _goes_up(whole, rest.compare(divisor - rest), direction) if rest else False
        return (whole + 1 if up else whole).scaleb(-scale)


def _goes_up(floor: Decimal, side: Decimal, direction: Direction) -> bool:
    """Whether a number above its floor goes to the next whole one; `side` of the half: -1, 0 (on it) or 1."""
    match direction:
        case Direction.UP:
            return True
        case Direction.DOWN:
            return False
        case Direction.HALF_UP:
            return side > 0 or (side == 0 and floor >= 0)
        case Direction.HALF_EVEN:
            return side > 0 or (side == 0 and floor % 2 != 0)
        case _:
            assert_never(direction)


def quotient(dividend: Decimal, divisor: Decimal) -> Decimal:
    """An average: the quotient at 18 digits after the point, half up, trailing zeros removed."""
    value = divide_rounded(dividend, divisor, QUOTIENT_SCALE, Direction.HALF_UP)
    with exact():
        return value.normalize() + ZERO if value else ZERO


def square_root(number: Decimal, scale: int) -> Decimal:
    """The square root of a number that is not negative, at `scale` digits after the point, half up."""
    assert number >= 0
    with localcontext(_WIDE):
        # Whole numbers decide: the root of four times the number is twice the root, rounded down; one more,
        # halved, is the root rounded half up.
        twice = isqrt(int((4 * number).scaleb(2 * scale)))
        return Decimal((twice + 1) // 2).scaleb(-scale)


def allocate(exact_amounts: Sequence[Decimal], total: Decimal, minor_units: int) -> list[Decimal]:
    """Share a rounded total among lines by largest remainder.

    Each line gets its amount rounded down to the minor unit; the units still missing go to the
    lines with the largest remainders, earlier lines first among equals. The result sums to
    `total` exactly and no line is off by a whole minor unit, when `total` is the rounded sum.
    """
    floors = [_quantize(amount, minor_units, ROUND_FLOOR) for amount in exact_amounts]
    with exact():
        unit = _unit(minor_units)
        missing = int((total - sum(floors, ZERO)).scaleb(minor_units))
        assert 0 <= missing <= len(floors), "the total is not the rounded sum of these amounts"
        if not missing:
            return floors
        remainders = [amount - floor for amount, floor in zip(exact_amounts, floors, strict=True)]
        order = sorted(range(len(floors)), key=lambda index: (-remainders[index], index))
        for index in order[:missing]:
            floors[index] += unit
    return floors


def apportion(total: Decimal, weights: Sequence[Decimal], minor_units: int) -> list[Decimal]:
    """Share a total in the minor unit in the ratio of weights that are not negative, by largest remainder.

    No share is off by a whole minor unit, and none is larger than its weight where the total is not larger than
    their sum and the weights are in the minor unit, too.
    """
    assert all(weight >= 0 for weight in weights), "a weight is a size"
    with exact():
        scale = max([0, *(-_exponent(weight) for weight in weights)])
        sizes = [int(weight.scaleb(scale)) for weight in weights]
        units, whole = int(total.scaleb(minor_units)), sum(sizes)
        assert whole or not units, "there is nobody to share with"
        parts = [divmod(units * size, whole) if whole else (0, 0) for size in sizes]
        missing = units - sum(part for part, _ in parts)
        first = sorted(range(len(parts)), key=lambda index: (-parts[index][1], index))[:missing]
        return [
            Decimal(part + (index in first)).scaleb(-minor_units) for index, (part, _) in enumerate(parts)
        ]


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent


def _quantize(number: Decimal, scale: int, mode: str) -> Decimal:
    result = number.quantize(_unit(scale), mode, _WIDE)
    return result or result.copy_abs()  # no negative zero on a document


@lru_cache(maxsize=256)
def _unit(scale: int) -> Decimal:
    """The smallest amount that so many digits after the point can say."""
    return Decimal(1).scaleb(-scale, _WIDE)
