"""The only module that rounds.

Amounts stay exact until they become money on a document. Then the total is rounded once to the
currency's minor unit, and the lines receive that total by the largest remainder method, so lines
always sum to the total. (Largest remainder: Hamilton's method of apportionment.)
"""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, localcontext
from enum import StrEnum
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


def round_money(amount: Decimal, minor_units: int, rounding: Rounding = Rounding.HALF_UP) -> Decimal:
    """The amount at the currency's precision: `round_money(Decimal("47.608895"), 2)` is `47.61`."""
    return _quantize(amount, minor_units, _MODES[rounding])


def round_count(number: Decimal, scale: int, direction: Direction) -> Decimal:
    """A quantity at `scale` digits after the point, up (to +infinity), down (to -infinity), half up or half even."""
    return _quantize(number, scale, _DIRECTIONS[direction])


def divide_rounded(dividend: Decimal, divisor: Decimal, scale: int, direction: Direction) -> Decimal:
    """`dividend / divisor` rounded once to `scale` digits, correct even where the quotient does not end."""
    assert divisor > 0
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
        unit = Decimal(1).scaleb(-minor_units)
        missing = int((total - sum(floors, ZERO)).scaleb(minor_units))
        assert 0 <= missing <= len(floors), "the total is not the rounded sum of these amounts"
        remainders = [amount - floor for amount, floor in zip(exact_amounts, floors, strict=True)]
        order = sorted(range(len(floors)), key=lambda index: (-remainders[index], index))
        for index in order[:missing]:
            floors[index] += unit
    return floors


def _quantize(number: Decimal, scale: int, mode: str) -> Decimal:
    with localcontext(_WIDE):
        result = number.quantize(Decimal(1).scaleb(-scale), rounding=mode)
        return result or abs(result)  # no negative zero on a document
