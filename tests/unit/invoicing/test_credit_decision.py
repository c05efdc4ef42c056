"""What credit notes give back: examples, and any sequence of them against sums that know nothing of how."""

from collections import Counter
from decimal import Decimal as D
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.invoicing.credit_notes.content import parse_credit
from farthing.invoicing.credit_notes.creditable import creditable_of
from farthing.invoicing.credit_notes.decide import credit_of
from farthing.invoicing.credit_notes.model import Credit
from farthing.kernel.errors import Conflict, FarthingError, InvalidInput
from farthing.kernel.rounding import Rounding, apportion
from farthing.tax.amounts import tax_amounts
from farthing.tax.model import Duty, TaxedPart, Treatment, TreatmentKind

CENT = D("0.01")


def invoice(
    amounts: list[str], percents: list[tuple[str, ...]], *, inclusive: bool = False, off: str | None = None
) -> dict[str, Any]:
    """Lines of a quantity of 100 each at these percentages; `off`: a coupon over the first two lines."""
    lines = [
        {
            "line": place, "kind": "usage", "rate_card": f"c{place}", "description": f"Card {place}",
            "dimensions": {}, "quantity": "100", "amount": amount, "amount_exact": amount, "charges": [],
            "service_period": {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
        }
        for place, amount in enumerate(amounts, start=1)
    ]  # fmt: skip
    parts = [D(amount) for amount in amounts]
    treated = list(percents)
    if off is not None:
        share = D(off) / 2
        lines.append(
            lines[0] | {
                "line": len(lines) + 1, "kind": "coupon", "rate_card": None, "amount": f"-{off}", "quantity": "1",
                "amount_exact": f"-{off}", "charges": [{"unit_price": f"-{off}"}],
                "adjustment": {"key": "k", "of": [{"line": 1, "amount": str(-share)},
                                                  {"line": 2, "amount": str(-share)}]},
            }
        )  # fmt: skip
        parts.append(-D(off))
        treated.append(percents[0])
    treatments = [
        Treatment(TreatmentKind.TAXED, "DE", "+".join(some), tuple(Duty("VAT", D(one)) for one in some))
        for some in treated
    ]
    found = tax_amounts(
        [TaxedPart(part, treatment) for part, treatment in zip(parts, treatments, strict=True)],
        inclusive=inclusive, by_line=False, minor_units=2, mode=Rounding.HALF_UP,
    )  # fmt: skip
    for line, of in zip(lines, found.of_parts, strict=True):
        line["taxes"] = [
            {"tax": one.tax_line + 1, "of": line["amount"], "amount": str(one.amount)} for one in of
        ]
    subtotal = sum(parts, D("0.00"))
    total = subtotal if inclusive else subtotal + found.tax
    return {
        "currency": "EUR", "lines": lines, "prices_include_tax": inclusive, "subtotal": str(subtotal),
        "tax": str(found.tax), "total": str(total),
        "taxes": [{"amount": str(line.amount), "net": str(line.net)} for line in found.lines],
    }  # fmt: skip


class Given:
    """What was given back so far, as the database keeps it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.parts: Counter[tuple[str, int]] = Counter()
        self.total = D(0)

    def credit(self, **wanted: Any) -> Credit:
        asked = parse_credit({"key": "k", "invoice": "INV-1", "reason": "r"} | wanted)
        credit = credit_of(asked, creditable_of(self.document, self.parts, self.total))
        for line in credit.lines:
            self.parts["line", line.line.number] += line.amount
        for tax in credit.taxes:
            self.parts["tax", tax.place + 1] += tax.amount
        self.total += credit.total
        return credit


def said(credit: Credit) -> tuple[dict[int, str], list[tuple[str, str]], str]:
    lines = {line.line.number: str(line.amount) for line in credit.lines}
    return lines, [(str(tax.net), str(tax.amount)) for tax in credit.taxes], str(credit.total)


TWO_RATES = invoice(["100.00", "50.00"], [("19",), ("7",)])


def test_all_of_it() -> None:
    assert said(Given(TWO_RATES).credit()) == (
        {1: "100.00", 2: "50.00"},
        [("100.00", "19.00"), ("50.00", "3.50")],
        "172.50",
    )


def test_a_line_and_a_quantity_of_one() -> None:
    given_ = Given(TWO_RATES)
    assert said(given_.credit(lines=[{"line": 1, "quantity": "25"}])) == (
        {1: "25.00"},
        [("25.00", "4.75")],
        "29.75",
    )
    assert said(given_.credit(lines=[{"line": 1}, {"line": 2, "amount": "10"}])) == (
        {1: "75.00", 2: "10.00"},
        [("75.00", "14.25"), ("10.00", "0.70")],
        "99.95",
    )
    assert said(given_.credit()) == ({2: "40.00"}, [("40.00", "2.80")], "42.80")
    with pytest.raises(Conflict) as refused:
        given_.credit()
    assert refused.value.code == "nothing_to_credit"


def test_an_amount_with_tax_is_of_all_lines_alike() -> None:
    """119.00 and 53.50: of 17.25 they have 11.90 and 5.35, with 1.90 and 0.35 of tax."""
    assert said(Given(TWO_RATES).credit(amount="17.25")) == (
        {1: "10.00", 2: "5.00"},
        [("10.00", "1.90"), ("5.00", "0.35")],
        "17.25",
    )


def test_prices_that_include_tax() -> None:
    given_ = Given(invoice(["119.00"], [("19",)], inclusive=True))
    assert said(given_.credit(amount="11.90")) == ({1: "11.90"}, [("10.00", "1.90")], "11.90")
    assert said(given_.credit()) == ({1: "107.10"}, [("90.00", "17.10")], "107.10")


def test_what_a_coupon_took_off_is_not_given_back() -> None:
    """100 and 100, 40 off both: 80 was owed for each."""
    given_ = Given(invoice(["100.00", "100.00"], [("19",), ("19",)], off="40"))
    assert said(given_.credit(lines=[{"line": 1}])) == ({1: "80.00"}, [("80.00", "15.20")], "95.20")
    with pytest.raises(InvalidInput, match="is no line that can be given back"):
        given_.credit(lines=[{"line": 3}])


@pytest.mark.parametrize(
    ("wanted", "code", "path"),
    [
        ({"amount": "172.51"}, "credit_over_invoice", "amount"),
        ({"amount": "0.001"}, "invalid_amount", "amount"),
        ({"amount": "0"}, "invalid_amount", "amount"),
        ({"amount": "-1"}, "invalid_amount", "amount"),
        ({"lines": [{"line": 1, "amount": "100.01"}]}, "credit_over_invoice", "lines[0]"),
        ({"lines": [{"line": 1, "amount": "-1"}]}, "credit_over_invoice", "lines[0]"),
        ({"lines": [{"line": 1, "amount": "0.001"}]}, "invalid_amount", "lines[0].amount"),
        ({"lines": [{"line": 1, "quantity": "100.5"}]}, "invalid_quantity", "lines[0].quantity"),
        ({"lines": [{"line": 9}]}, "unknown_line", "lines[0].line"),
        ({"lines": [{"line": 1}, {"line": 1}]}, "invalid_credit_note", "lines[1].line"),
        ({"lines": []}, "invalid_credit_note", "lines"),
        ({"lines": [{"line": 1}], "amount": "1"}, "invalid_credit_note", "lines"),
        ({"lines": [{"line": 1, "quantity": "1", "amount": "1"}]}, "invalid_credit_note", "lines[0].amount"),
        ({"lines": [{"line": 0}]}, "invalid_credit_note", "lines[0].line"),
        ({"refund": "yes"}, "invalid_credit_note", "refund"),
        ({"reason": " "}, "invalid_text", "reason"),
        ({"why": "x"}, "invalid_credit_note", "why"),
    ],
)
def test_what_is_refused(wanted: dict[str, Any], code: str, path: str) -> None:
    with pytest.raises(FarthingError) as refused:
        Given(TWO_RATES).credit(**wanted)
    assert (refused.value.code, refused.value.path) == (code, path)


cents = st.integers(0, 100_000).map(lambda number: str(D(number).scaleb(-2)))
rates = st.sampled_from([("19",), ("7",), ("5", "9.975"), ("0",)])
steps = st.one_of(
    st.fixed_dictionaries({"amount": st.integers(1, 60_000).map(lambda number: str(D(number).scaleb(-2)))}),
    st.fixed_dictionaries(
        {
            "lines": st.lists(
                st.one_of(
                    st.fixed_dictionaries({"line": st.integers(1, 4)}),
                    st.fixed_dictionaries({"line": st.integers(1, 4), "quantity": st.integers(1, 60).map(str)}),
                    st.fixed_dictionaries({"line": st.integers(1, 4), "amount": cents}),
                ),
                min_size=1, max_size=3, unique_by=lambda one: one["line"],
            )
        }
    ),
)  # fmt: skip


@given(
    st.lists(st.tuples(cents, rates), min_size=2, max_size=4), st.booleans(),
    st.none() | st.integers(1, 2000), st.lists(steps, max_size=6),
)  # fmt: skip
def test_any_sequence_gives_back_no_more_than_was_billed_and_all_of_it_at_the_end(
    lines: list[tuple[str, tuple[str, ...]]], inclusive: bool, off: int | None, asked: list[dict[str, Any]]
) -> None:
    rates_of_lines = [rate for _, rate in lines]
    if off is not None:
        rates_of_lines[1] = rates_of_lines[0]
        if min(D(lines[0][0]), D(lines[1][0])) * 200 < off:
            off = None
    document = invoice(
        [amount for amount, _ in lines], rates_of_lines, inclusive=inclusive,
        off=None if off is None else str(D(off).scaleb(-2)),
    )  # fmt: skip
    given_, total = Given(document), D(document["total"])
    refused: list[str] = []
    for one in asked:
        before = given_.total
        try:
            credit = given_.credit(**one)
        except FarthingError as error:
            refused.append(error.code)
            continue
        assert CENT <= credit.total == given_.total - before
        assert given_.total <= total
        if "amount" in one:
            assert credit.total == D(one["amount"])
        assert credit.subtotal == sum(line.amount for line in credit.lines)
        assert credit.tax == sum(tax.amount for tax in credit.taxes)
        assert sum(line.tax for line in credit.lines) == credit.tax or not credit.lines
        for tax in credit.taxes:
            billed = document["taxes"][tax.place]
            assert 0 <= given_.parts["tax", tax.place + 1] <= D(billed["amount"])
            if D(billed["net"]):
                # Its own rate, but for the cents that roundings before it left over.
                rate = Fraction(billed["amount"]) / Fraction(billed["net"])
                assert abs(Fraction(tax.amount) - Fraction(tax.net) * rate) <= Fraction(2 + len(asked), 100)
    assert set(refused) <= {
        "credit_over_invoice", "nothing_to_credit", "invalid_quantity", "unknown_line", "invalid_amount"
    }  # fmt: skip
    if given_.total < total:
        given_.credit()
        assert given_.total == total
        assert sum(amount for (kind, _), amount in given_.parts.items() if kind == "tax") == D(
            document["tax"]
        )
        assert sum(amount for (kind, _), amount in given_.parts.items() if kind == "line") == D(
            document["subtotal"]
        )


@given(st.integers(0, 10**9), st.lists(st.decimals(0, 10**6, places=4), min_size=1, max_size=20))
def test_apportioning_shares_out_everything_fairly(units: int, weights: list[D]) -> None:
    if not any(weights):
        units = 0
    total = D(units).scaleb(-2)
    parts = apportion(total, weights, 2)
    assert sum(parts) == total
    whole = sum(map(Fraction, weights))
    for part, weight in zip(parts, weights, strict=True):
        assert whole == 0 or abs(Fraction(part) - Fraction(total) * Fraction(weight) / whole) < Fraction(
            1, 100
        )
