"""How much tax there is: examples, and the law against fractions that round nothing."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.kernel.rounding import Rounding
from farthing.tax.amounts import tax_amounts
from farthing.tax.model import Duty, TaxAmounts, TaxedPart, Treatment, TreatmentKind

D = Decimal


def treatment(*percents: str, category: str = "standard") -> Treatment:
    duties = tuple(Duty(f"tax {place}", D(percent)) for place, percent in enumerate(percents))
    return Treatment(TreatmentKind.TAXED, "DE", category, duties)


VAT, REDUCED, QUEBEC = treatment("19"), treatment("7", category="reduced"), treatment("5", "9.975")


def computed(
    *parts: tuple[str, Treatment], inclusive: bool = False, by_line: bool = False, digits: int = 2,
    mode: Rounding = Rounding.HALF_UP,
) -> TaxAmounts:  # fmt: skip
    taxed = [TaxedPart(D(amount), treatment) for amount, treatment in parts]
    return tax_amounts(taxed, inclusive=inclusive, by_line=by_line, minor_units=digits, mode=mode)


def said(amounts: TaxAmounts) -> tuple[list[tuple[str, str]], list[list[str]], str]:
    lines = [(str(line.net), str(line.amount)) for line in amounts.lines]
    return lines, [[str(tax.amount) for tax in of] for of in amounts.of_parts], str(amounts.tax)


def test_the_tax_of_a_rate_is_rounded_once_and_shared_out() -> None:
    """Three times 0.19 of 0.33 are 0.1881: 0.19 in all, 0.06 each would be 0.18."""
    assert said(computed(("0.33", VAT), ("0.33", VAT), ("0.33", VAT))) == (
        [("0.99", "0.19")],
        [["0.07"], ["0.06"], ["0.06"]],
        "0.19",
    )


def test_or_by_line() -> None:
    assert said(computed(("0.33", VAT), ("0.33", VAT), ("0.33", VAT), by_line=True)) == (
        [("0.99", "0.18")],
        [["0.06"], ["0.06"], ["0.06"]],
        "0.18",
    )


def test_rates_are_taxed_apart() -> None:
    assert said(computed(("100.00", VAT), ("50.00", REDUCED), ("-20.00", VAT))) == (
        [("80.00", "15.20"), ("50.00", "3.50")],
        [["19.00"], ["3.50"], ["-3.80"]],
        "18.70",
    )


def test_several_taxes_on_the_same_net() -> None:
    assert said(computed(("100.00", QUEBEC))) == (
        [("100.00", "5.00"), ("100.00", "9.98")],
        [["5.00", "9.98"]],
        "14.98",
    )


def test_a_price_that_includes_it() -> None:
    assert said(computed(("100.00", VAT), inclusive=True)) == ([("84.03", "15.97")], [["15.97"]], "15.97")
    assert said(computed(("114.98", QUEBEC), inclusive=True)) == (
        [("100.00", "5.00"), ("100.00", "9.98")],
        [["5.00", "9.98"]],
        "14.98",
    )


@pytest.mark.parametrize(
    ("amount", "digits", "mode", "tax"),
    [
        ("0.50", 2, Rounding.HALF_UP, "0.10"),
        ("-0.50", 2, Rounding.HALF_UP, "-0.10"),
        ("2.50", 2, Rounding.HALF_EVEN, "0.48"),
        ("150", 0, Rounding.HALF_UP, "29"),
        ("10.000", 3, Rounding.HALF_UP, "1.900"),
        ("0.00", 2, Rounding.HALF_UP, "0.00"),
    ],
)
def test_digits_and_modes(amount: str, digits: int, mode: Rounding, tax: str) -> None:
    assert str(computed((amount, VAT), digits=digits, mode=mode).tax) == tax


def test_no_line_no_tax() -> None:
    assert said(computed()) == ([], [], "0.00")


percents = st.decimals(0, 60, places=3).map(str)
treatments = st.builds(lambda some: treatment(*some), st.lists(percents, min_size=1, max_size=3))
parts = st.lists(
    st.tuples(st.integers(-(10**12), 10**12), st.integers(0, 3)),
    max_size=12,
)


def rounded(exact: Fraction, mode: Rounding) -> int:
    """To a whole number of minor units."""
    floor = exact.numerator // exact.denominator
    rest = exact - floor
    if rest == Fraction(1, 2):
        up = exact > 0 if mode is Rounding.HALF_UP else floor % 2 == 1
    else:
        up = rest > Fraction(1, 2)
    return floor + up


@given(
    parts, st.lists(treatments, min_size=4, max_size=4), st.booleans(), st.booleans(),
    st.sampled_from([0, 2, 3]), st.sampled_from(Rounding),
)  # fmt: skip
def test_tax_is_what_fractions_say_and_adds_up(
    parts: list[tuple[int, int]], some: list[Treatment], inclusive: bool, by_line: bool, digits: int,
    mode: Rounding,
) -> None:  # fmt: skip
    unit = 10**digits
    found = tax_amounts(
        [TaxedPart(D(amount).scaleb(-digits), some[which]) for amount, which in parts],
        inclusive=inclusive, by_line=by_line, minor_units=digits, mode=mode,
    )  # fmt: skip
    groups: dict[Treatment, list[int]] = {}
    for amount, which in parts:
        groups.setdefault(some[which], []).append(amount)
    expected = []
    for treatment_, amounts in groups.items():
        whole = (
            100 + sum(Fraction(duty.percent) for duty in treatment_.duties) if inclusive else Fraction(100)
        )
        taxes = []
        for duty in treatment_.duties:
            exact = [amount * Fraction(duty.percent) / whole for amount in amounts]
            taxes.append(sum(rounded(one, mode) for one in exact) if by_line else rounded(sum(exact), mode))
        net = sum(amounts) - (sum(taxes) if inclusive else 0)
        expected += [(net, tax) for tax in taxes]
    assert [(int(line.net * unit), int(line.amount * unit)) for line in found.lines] == expected
    assert found.tax == sum(line.amount for line in found.lines)
    for place, line in enumerate(found.lines):
        assert sum(tax.amount for of in found.of_parts for tax in of if tax.tax_line == place) == line.amount
    for (amount, which), of in zip(parts, found.of_parts, strict=True):
        whole = (
            100 + sum(Fraction(duty.percent) for duty in some[which].duties) if inclusive else Fraction(100)
        )
        for duty, tax in zip(some[which].duties, of, strict=True):
            assert abs(Fraction(tax.amount) * unit - amount * Fraction(duty.percent) / whole) < 1
