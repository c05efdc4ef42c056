"""Currencies: every one of ISO 4217 that an invoice can be in, with its minor unit."""

from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from farthing.kernel.errors import InvalidInput
from farthing.kernel.money import MINOR_UNITS, Money, amount_text, parse_currency
from farthing.kernel.rounding import Rounding

ISO_4217 = Path(__file__).parents[4] / "shared" / "data" / "iso4217" / "iso-4217-list-one.xml"


@pytest.mark.skipif(
    not ISO_4217.exists(), reason="the ISO 4217 table lies beside the repository: ../shared/data"
)
def test_the_table_is_the_standard() -> None:
    published = {
        entry.findtext("Ccy"): int(entry.findtext("CcyMnrUnts", ""))
        for entry in ElementTree.parse(ISO_4217).iter("CcyNtry")
        if entry.findtext("CcyMnrUnts", "N.A.").isdigit()
    }
    assert published == MINOR_UNITS


@pytest.mark.parametrize(("code", "digits"), [("USD", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("ISK", 0)])
def test_minor_units(code: str, digits: int) -> None:
    assert MINOR_UNITS[code] == digits


def test_a_currency_is_read() -> None:
    assert parse_currency("EUR", "currency") == "EUR"


@pytest.mark.parametrize("raw", ["eur", "", "EURO", "XAU", "XXX", "XTS", None, 978, ["EUR"], "E" * 1000])
def test_what_is_no_currency_is_refused(raw: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_currency(raw, "plans[0].currency")
    assert caught.value.code == "invalid_currency"
    assert caught.value.path == "plans[0].currency"
    assert caught.value.message == f"plans[0].currency {repr(raw)[:40]} is not an ISO 4217 currency code"


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("47.608895", "USD", "47.61"),
        ("47.5", "JPY", "48"),
        ("1.2345", "KWD", "1.235"),
        ("1.23455", "CLF", "1.2346"),
    ],
)
def test_money_is_rounded_at_its_currency(amount: str, currency: str, rounded: str) -> None:
    assert str(Money(Decimal(amount), currency).rounded().amount) == rounded


def test_half_even_is_available() -> None:
    assert Money(Decimal("0.125"), "EUR").rounded(Rounding.HALF_EVEN) == Money(Decimal("0.12"), "EUR")


def test_money_adds_within_one_currency() -> None:
    assert Money(Decimal("1.10"), "EUR") + Money(Decimal("2.20"), "EUR") == Money(Decimal("3.30"), "EUR")
    with pytest.raises(AssertionError, match="cannot add USD to EUR"):
        Money(Decimal(1), "EUR") + Money(Decimal(1), "USD")


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("30", "EUR", "30.00"),
        ("0E+2", "EUR", "0.00"),
        ("-0", "USD", "0.00"),
        ("-2.5", "USD", "-2.50"),
        ("12.005", "USD", "12.005"),
        ("151.000", "JPY", "151"),
        ("151.428", "JPY", "151.428"),
        ("1", "KWD", "1.000"),
    ],
)
def test_an_amount_shows_the_digits_of_its_currency_and_loses_none(
    amount: str, currency: str, text: str
) -> None:
    assert amount_text(Decimal(amount), currency) == text
