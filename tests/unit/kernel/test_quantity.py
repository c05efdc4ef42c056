"""Exact numbers: what is read, what is refused, how they are written."""

from decimal import Decimal, DivisionByZero, Inexact

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.kernel.errors import InvalidInput
from farthing.kernel.quantity import exact, parse_decimal, plain, trimmed


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0e400", "0"),
        ("1500", "1500"),
        ("-12.50", "-12.50"),
        ("007", "7"),
        ("1e3", "1000"),
        ("25E-7", "0.0000025"),
        ("0.000000000000000001", "1e-18"),
        ("1e20", "100000000000000000000"),
        ("999999999999999999999", "999999999999999999999"),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
        (42, "42"),
        (-3, "-3"),
        (Decimal("0.10"), "0.10"),
    ],
)
def test_numbers_are_read_exactly(raw: object, number: str) -> None:
    parsed = parse_decimal(raw, "quantity")
    assert parsed == Decimal(number)
    assert not (parsed == 0 and parsed.is_signed())


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (0.1, "must be a decimal string, not a binary float"),
        (True, "must be a decimal string, not a boolean"),
        (None, "must be a decimal string, not null"),
        ([], "must be a decimal string, not a list"),
        ({}, "must be a decimal string, not an object"),
        (b"1", "must be a decimal string, not bytes"),
        ("", "must be a decimal number, not ''"),
        (" 1", "must be a decimal number, not ' 1'"),
        ("1\n", "must be a decimal number, not '1\\n'"),
        ("+1", "must be a decimal number, not '+1'"),
        (".5", "must be a decimal number, not '.5'"),
        ("5.", "must be a decimal number, not '5.'"),
        ("1_000", "must be a decimal number, not '1_000'"),
        ("1,5", "must be a decimal number, not '1,5'"),
        ("0x10", "must be a decimal number, not '0x10'"),
        ("\u0661", "must be a decimal number, not '\u0661'"),
        ("NaN", "must be a decimal number, not 'NaN'"),
        ("-Infinity", "must be a decimal number, not '-Infinity'"),
        (Decimal("sNaN"), "must be a decimal number, not 'sNaN'"),
        (Decimal("inf"), "must be a decimal number, not 'Infinity'"),
        ("1e1000000", "must be a decimal number, not '1e1000000'"),
        ("1" * 39, "has 39 digits; at most 38 are allowed"),
        ("1" * 65, "has more than 38 digits"),
        (10**39, "has more than 38 digits"),
        pytest.param(10**5000, "has more than 38 digits", id="an int of 5001 digits"),
    ],
)
def test_what_is_no_plain_number_is_refused(raw: object, complaint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_decimal(raw, "tiers[1].up_to", code="invalid_price")
    assert caught.value.code == "invalid_price"
    assert caught.value.path == "tiers[1].up_to"
    assert caught.value.message == f"tiers[1].up_to {complaint}"


@pytest.mark.parametrize("raw", ["1e21", "1e-19", "0.0000000000000000001", "1e999", "1234567890123456789012"])
def test_range(raw: str) -> None:
    with pytest.raises(InvalidInput, match="out of range: at most 18 digits after the point and 21 before"):
        parse_decimal(raw, "quantity")


def test_no_digit_is_lost_in_silence() -> None:
    with exact():
        assert Decimal(1) / Decimal(8) == Decimal("0.125")
        assert Decimal(10**37 + 1) * Decimal(10**37 + 1) == Decimal((10**37 + 1) ** 2)
        with pytest.raises(Inexact):
            Decimal(1) / Decimal(3)
        with pytest.raises(DivisionByZero):
            Decimal(1) / Decimal(0)


@pytest.mark.parametrize(
    ("number", "kept", "cut"),
    [
        ("0.0000025", "0.0000025", "0.0000025"),
        ("47.6088950", "47.6088950", "47.608895"),
        ("1E+3", "1000", "1000"),
        ("1000", "1000", "1000"),
        ("12.00", "12.00", "12"),
        ("0.00", "0.00", "0"),
        ("-0", "0", "0"),
        ("-1.50", "-1.50", "-1.5"),
        ("1E-18", "0.000000000000000001", "0.000000000000000001"),
    ],
)
def test_numbers_are_written_without_an_exponent(number: str, kept: str, cut: str) -> None:
    assert plain(Decimal(number)) == kept
    assert trimmed(Decimal(number)) == cut


@given(st.integers(-(10**38) + 1, 10**38 - 1), st.integers(0, 18))
def test_what_is_written_reads_the_same(digits: int, places: int) -> None:
    number = Decimal(digits).scaleb(-places)
    if number.adjusted() <= 20:
        assert parse_decimal(plain(number), "x") == number
        assert parse_decimal(trimmed(number), "x") == number
