"""Rounding: once, in one place, and lines that always sum to the total."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.kernel.quantity import exact
from farthing.kernel.rounding import (
    Direction,
    Rounding,
    allocate,
    divide_rounded,
    quotient,
    round_count,
    round_money,
    square_root,
)

amounts = st.decimals(-(10**12), 10**12, places=7)


@pytest.mark.parametrize(
    ("amount", "minor_units", "half_up", "half_even"),
    [
        ("47.608895", 2, "47.61", "47.61"),
        ("0.125", 2, "0.13", "0.12"),
        ("0.135", 2, "0.14", "0.14"),
        ("-0.125", 2, "-0.13", "-0.12"),
        ("0.1249999999999999999999999999999999999", 2, "0.12", "0.12"),
        ("2.5", 0, "3", "2"),
        ("-2.5", 0, "-3", "-2"),
        ("1.2345", 3, "1.235", "1.234"),
        ("7", 2, "7.00", "7.00"),
        ("-0.001", 2, "0.00", "0.00"),
    ],
)
def test_money(amount: str, minor_units: int, half_up: str, half_even: str) -> None:
    assert str(round_money(Decimal(amount), minor_units)) == half_up
    assert str(round_money(Decimal(amount), minor_units, Rounding.HALF_EVEN)) == half_even


def test_the_largest_amounts_keep_their_digits() -> None:
    amount = Decimal("9" * 60 + ".994")
    assert str(round_money(amount, 2)) == "9" * 60 + ".99"


@pytest.mark.parametrize(
    ("number", "scale", "up", "down", "half_up", "half_even"),
    [
        ("1.0000000000000001", 0, "2", "1", "1", "1"),
        ("1.5", 0, "2", "1", "2", "2"),
        ("2.5", 0, "3", "2", "3", "2"),
        ("1", 0, "1", "1", "1", "1"),
        ("-1.5", 0, "-1", "-2", "-2", "-2"),
        ("-2.5", 0, "-2", "-3", "-3", "-2"),
        ("1.234", 2, "1.24", "1.23", "1.23", "1.23"),
    ],
)
def test_counts(number: str, scale: int, up: str, down: str, half_up: str, half_even: str) -> None:
    for direction, expected in (
        (Direction.UP, up),
        (Direction.DOWN, down),
        (Direction.HALF_UP, half_up),
        (Direction.HALF_EVEN, half_even),
    ):
        assert round_count(Decimal(number), scale, direction) == Decimal(expected)
        assert divide_rounded(Decimal(number), Decimal(1), scale, direction) == Decimal(expected)


@given(
    st.decimals(-(10**9), 10**9, places=6),
    st.decimals("0.000001", 10**6, places=6),
    st.integers(0, 18),
    st.sampled_from(Direction),
)
def test_division_is_rounded_once(
    dividend: Decimal, divisor: Decimal, scale: int, direction: Direction
) -> None:
    exact_quotient = Fraction(dividend) / Fraction(divisor) * 10**scale
    away = math.floor(abs(exact_quotient) + Fraction(1, 2)) * (1 if exact_quotient >= 0 else -1)
    expected = {
        Direction.UP: math.ceil(exact_quotient),
        Direction.DOWN: math.floor(exact_quotient),
        Direction.HALF_UP: away,
        Direction.HALF_EVEN: round(exact_quotient),
    }[direction]
    assert Fraction(divide_rounded(dividend, divisor, scale, direction)) == Fraction(expected, 10**scale)


@pytest.mark.parametrize(
    ("dividend", "divisor", "expected"),
    [
        ("1", "3", "0.333333333333333333"),
        ("2", "3", "0.666666666666666667"),
        ("-2", "3", "-0.666666666666666667"),
        ("10", "4", "2.5"),
        ("300", "3", "100"),
        ("0", "7", "0"),
        ("1", "8000000000000000000", "0"),
        ("5", "10000000000000000000", "0.000000000000000001"),
    ],
)
def test_a_quotient_keeps_18_digits(dividend: str, divisor: str, expected: str) -> None:
    assert quotient(Decimal(dividend), Decimal(divisor)) == Decimal(expected)


def test_a_quotient_may_be_taken_where_arithmetic_is_exact() -> None:
    with exact():
        assert quotient(Decimal(1), Decimal(3)) == Decimal("0.333333333333333333")


@pytest.mark.parametrize(
    ("lines", "total", "shared"),
    [
        (["0.335", "0.335", "0.33"], "1.00", ["0.34", "0.33", "0.33"]),
        (["1.005", "1.005"], "2.01", ["1.01", "1.00"]),
        (["0.001"] * 5, "0.01", ["0.01", "0.00", "0.00", "0.00", "0.00"]),
        (["0.004", "0.006"], "0.01", ["0.00", "0.01"]),
        (["10", "20.50"], "30.50", ["10.00", "20.50"]),
        (["-1.005", "3.015"], "2.01", ["-1.00", "3.01"]),
        ([], "0", []),
    ],
)
def test_lines_share_the_total_by_largest_remainder(lines: list[str], total: str, shared: list[str]) -> None:
    assert allocate([Decimal(line) for line in lines], Decimal(total), 2) == [
        Decimal(line) for line in shared
    ]


@given(st.lists(amounts, min_size=1, max_size=50), st.integers(0, 4))
def test_lines_sum_to_the_total_and_none_is_off_by_a_unit(lines: list[Decimal], minor_units: int) -> None:
    with exact():
        whole = sum(lines, Decimal(0))
    total = round_money(whole, minor_units)
    shared = allocate(lines, total, minor_units)
    with exact():
        assert sum(shared, Decimal(0)) == total
        unit = Decimal(1).scaleb(-minor_units)
        assert all(abs(rounded - line) < unit for rounded, line in zip(shared, lines, strict=True))


def test_a_total_that_is_not_the_rounded_sum_is_a_fault() -> None:
    with pytest.raises(AssertionError, match="not the rounded sum"):
        allocate([Decimal("1.00")], Decimal("1.02"), 2)


@given(st.integers(0, 10**30), st.integers(0, 18), st.integers(0, 6))
def test_a_square_root_is_rounded_half_up(digits: int, places: int, scale: int) -> None:
    number = Decimal(digits).scaleb(-places)
    root = square_root(number, scale)
    unit = Fraction(1, 10**scale)
    low, high = Fraction(root) - unit / 2, Fraction(root) + unit / 2
    assert max(low, Fraction(0)) ** 2 <= Fraction(number) < high**2
    assert -root.as_tuple().exponent == scale
