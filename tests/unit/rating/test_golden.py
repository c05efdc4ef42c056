"""The golden cases of `tests/golden/rating`: prices, quantities and charges that an accountant can check."""

import tomllib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.kernel.errors import InvalidInput
from farthing.kernel.quantity import exact, parse_decimal, trimmed
from farthing.rating import Charge, Price, RatedRow, Row, parse_price, price_json, rate, rate_rows

GOLDEN = Path(__file__).parents[2] / "golden" / "rating"
CASES_LEAST = 200
CASE_FIELDS = {
    "it", "price", "before", "quantity", "final", "amount", "charges", "shortfall", "rows", "lines", "error",
}  # fmt: skip


def golden_cases() -> Iterator[Any]:
    for path in sorted(GOLDEN.glob("*.toml")):
        document = tomllib.loads(path.read_text("utf-8"))
        prices = document.get("prices", {})
        for case in document["case"]:
            assert set(case) <= CASE_FIELDS, case
            if isinstance(case["price"], str):
                case["price"] = prices[case["price"]]
            yield pytest.param(case, id=f"{path.stem}: {case['it']}")


CASES = list(golden_cases())


@pytest.mark.parametrize("case", CASES)
def test_golden(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(InvalidInput) as caught:
            parse_price(case["price"], "")
        assert caught.value.code == "invalid_price"
        assert caught.value.message == case["error"]
        return
    price = parse_price(case["price"])
    assert parse_price(price_json(price)) == price
    if "rows" in case:
        check_lines(case, price)
        return
    rated = rate(
        price, quantity=number(case, "quantity"), before=number(case, "before"), final=is_final(case)
    )
    assert [charge_text(charge) for charge in rated.charges] == case["charges"]
    assert rated.amount == Decimal(case["amount"])
    assert rated.shortfall == number(case, "shortfall")
    assert_charges_sum(rated.charges, rated.amount)


def check_lines(case: dict[str, Any], price: Price) -> None:
    rows = [
        Row(row.get("dimensions", {}), number(row, "quantity"), number(row, "before")) for row in case["rows"]
    ]
    lines = rate_rows(price, rows, final=is_final(case))
    assert [line_fields(line) for line in lines] == [
        {"shortfall": "0", "unpriced": False, **line} for line in case["lines"]
    ]
    for line in lines:
        assert_charges_sum(line.charges, line.amount)
    assert rate_rows(price, rows[::-1], final=is_final(case)) == lines


def line_fields(line: RatedRow) -> dict[str, object]:
    return {
        "dimensions": dict(line.dimensions),
        "quantity": trimmed(line.quantity),
        "amount": trimmed(line.amount),
        "charges": [charge_text(charge) for charge in line.charges],
        "shortfall": trimmed(line.shortfall),
        "unpriced": line.unpriced,
    }


def charge_text(charge: Charge) -> str:
    """`1000 x 0.01 = 10, tier 1`"""
    quantity, unit_price = trimmed(charge.quantity), trimmed(charge.unit_price)
    return f"{quantity} x {unit_price} = {trimmed(charge.amount)}, {charge.reason}"


def assert_charges_sum(charges: Iterable[Charge], amount: Decimal) -> None:
    with exact():
        assert sum((charge.amount for charge in charges), Decimal(0)) == amount


def number(fields: dict[str, Any], name: str) -> Decimal:
    return parse_decimal(fields.get(name, "0"), name)


def is_final(case: dict[str, Any]) -> bool:
    return bool(case.get("final", True))


def test_there_are_enough_cases_and_no_two_alike() -> None:
    names = [case.id for case in CASES]
    assert len(names) >= CASES_LEAST
    assert len(set(names)) == len(names)
