"""The golden cases of `tests/golden/rating`: prices, quantities and charges that an accountant can check."""

import tomllib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.kernel.errors import InvalidInput
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import exact, parse_decimal, plain, trimmed
from farthing.kernel.rounding import Rounding, round_money
from farthing.rating import Charge, Price, RatedRow, Row, parse_price, price_json, rate, rate_rows
from farthing.rating.charge import UnitCharge
from farthing.rating.wire import rate_line

GOLDEN = Path(__file__).parents[2] / "golden" / "rating"
CASES_LEAST = 400
ASKED = {
    "events", "events_before", "seconds", "start", "end", "quantities", "quantities_before", "dimensions",
    "before_by_meter", "refused",
}  # fmt: skip
"""What only a line of `farthing rate` can ask: such a case is rated as that line."""
CASE_FIELDS = ASKED | {
    "it", "price", "before", "quantity", "final", "amount", "charges", "shortfall", "rows", "lines", "error",
    "rounded",
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
    if ASKED & set(case):
        check_line(case)
        return
    rated = rate(
        price, quantity=number(case, "quantity"), before=number(case, "before"), final=is_final(case)
    )
    assert [charge_text(charge) for charge in rated.charges] == case["charges"]
    assert rated.amount == Decimal(case["amount"])
    assert rated.shortfall == number(case, "shortfall")
    assert_charges_sum(rated.charges, rated.amount)
    check_rounded(case, rated.amount)


def check_line(case: dict[str, Any]) -> None:
    """A case as a line of `farthing rate`; an error of the line stands where that of a price does."""
    if "before_by_meter" in case:
        case = case | {"before": case["before_by_meter"]}
    told = {"price", "before", "quantity", "final", "rows"} | ASKED - {"refused", "before_by_meter"}
    answer: Any = rate_line({name: case[name] for name in told if name in case})
    if "refused" in case:
        assert answer["error"]["message"] == case["refused"]
        return
    assert "error" not in answer, answer
    assert [json_charge_text(charge) for charge in answer["charges"]] == case["charges"]
    assert answer["amount"] == case["amount"]
    assert answer.get("shortfall", "0") == case.get("shortfall", "0")
    if "lines" in case:
        lines = [{**line, "charges": list(map(json_charge_text, line["charges"]))} for line in answer["rows"]]
        assert lines == case["lines"]
    check_rounded(case, Decimal(answer["amount"]))


def check_rounded(case: dict[str, Any], amount: Decimal) -> None:
    """What the amount is in a currency, where the case says so: half up, unless it says half_even."""
    if rounded := case.get("rounded"):
        mode = Rounding(rounded.get("mode", "half_up"))
        money = round_money(amount, MINOR_UNITS[rounded["currency"]], mode)
        assert plain(money) == rounded["amount"]


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
    text = f"{quantity} x {unit_price} = {trimmed(charge.amount)}, {charge.reason}"
    if isinstance(charge, UnitCharge):
        return f"{text} ({trimmed(charge.amount_in_unit)} {charge.unit})"
    return text


def json_charge_text(charge: dict[str, Any]) -> str:
    text = f"{charge['quantity']} x {charge['unit_price']} = {charge['amount']}, {charge['reason']}"
    unit = charge.get("in_unit")
    return f"{text} ({unit['amount']} {unit['unit']})" if unit else text


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
