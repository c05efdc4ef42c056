"""`farthing rate`: one line of JSON in, one line out.

    {"price": {...}, "quantity": "1500", "before": "0"}
    {"amount": "12.5", "charges": [
        {"quantity": "1000", "unit_price": "0.01", "amount": "10", "reason": "tier 1"}, ...]}

    {"price": {...}, "rows": [{"dimensions": {"model": "opus"}, "quantity": "5", "before": "0"}]}
    {"amount": ..., "charges": [...], "rows": [
        {"dimensions": {"model": "opus"}, "quantity": "5", "amount": ..., "charges": [...]}]}

`before` is 0 unless given. `"final": false` says that the period goes on, so that no minimum and
nothing for zero usage is due yet. `shortfall` stands in the answer where the net quantity is below
zero, `unpriced` where no cell of a matrix matched. Numbers are plain decimal strings without trailing
zeros; the charges sum to the amount exactly.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from farthing.kernel.errors import FarthingError, Fault, InvalidInput
from farthing.kernel.quantity import ZERO, exact, parse_decimal, trimmed
from farthing.kernel.reading import Faults, Fields, parse_list, parse_text
from farthing.rating.charge import Charge, RatedRow, Row
from farthing.rating.flat import Flat
from farthing.rating.models import parse_price
from farthing.rating.price import Price
from farthing.rating.rows import rate, rate_rows
from farthing.rating.sheet import INVALID_PRICE, parse_flag

INVALID_INPUT: Final = "invalid_input"
ROWS_MAX = 10_000
ROW_DIMENSIONS_MAX = 50

_OTHER_INPUTS = ("events", "seconds", "start", "end", "quantities")
"""What other kinds of price are rated on."""


def rate_line(raw: object) -> dict[str, object]:
    """Rate one question, or say what is wrong with it: `{"error": {"code": ..., "message": ...}}`.

    Codes: invalid_price, if the price has a fault (its paths are relative to the price);
    invalid_input, if only the rest of the line has; too_many_digits.
    """
    try:
        return _answer(raw)
    except FarthingError as error:
        return {"error": {"code": error.code, "message": error.message}}


def _answer(raw: object) -> dict[str, object]:
    faults = Faults(INVALID_INPUT)
    fields = Fields(raw, "", faults)
    price, price_faults = _read_price(fields.required("price", lambda raw, path: raw))
    final = fields.optional("final", parse_flag, True)
    quantity = fields.optional("quantity", parse_decimal, ZERO)
    before = fields.optional("before", parse_decimal, ZERO)
    rows = fields.optional("rows", lambda raw, path: _parse_rows(raw, path, faults), None)
    for name in _OTHER_INPUTS:
        if fields.optional(name, lambda raw, path: raw, None) is not None:
            faults.add(name, "is not what this price is rated on: give quantity or rows")
    fields.refuse_unknown()
    if "rows" in fields and ("quantity" in fields or "before" in fields):
        faults.add("rows", "have quantities of their own: leave out quantity and before")
    if not ("rows" in fields or "quantity" in fields or _needs_no_quantity(price)) and fields.is_object:
        faults.add("quantity", "is missing")
    _refuse(price_faults, faults)
    assert price is not None
    if rows is not None:
        return _rows_answer(rate_rows(price, rows, final=final))
    rated = rate(price, quantity=quantity, before=before, final=final)
    return _amount_json(rated.amount, rated.charges, rated.shortfall)


def _read_price(raw: object) -> tuple[Price | None, Sequence[Fault]]:
    if raw is None:  # missing, which the line says
        return None, ()
    try:
        return parse_price(raw, ""), ()
    except InvalidInput as error:
        return None, error.faults


def _needs_no_quantity(price: Price | None) -> bool:
    return price is None or isinstance(price.model, Flat)


def _refuse(price_faults: Sequence[Fault], faults: Faults) -> None:
    """Raise everything that is wrong with the line, under one code."""
    found = list(price_faults)
    try:
        faults.refuse()
    except InvalidInput as error:
        found += error.faults
    if found:
        raise InvalidInput.of(INVALID_PRICE if price_faults else INVALID_INPUT, found)


def _parse_rows(raw: object, path: str, faults: Faults) -> list[Row]:
    return parse_list(
        raw, path, lambda raw, path: _parse_row(raw, path, faults), most=ROWS_MAX, faults=faults
    )


def _parse_row(raw: object, path: str, faults: Faults) -> Row:
    fields = Fields(raw, path, faults)
    row = Row(
        fields.optional("dimensions", lambda raw, path: _parse_dimensions(raw, path, faults), {}),
        fields.required("quantity", parse_decimal),
        fields.optional("before", parse_decimal, ZERO),
    )
    fields.refuse_unknown()
    return row


def _parse_dimensions(raw: object, path: str, faults: Faults) -> dict[str, str]:
    fields = Fields(raw, path, faults)
    if not isinstance(raw, dict):
        return {}
    if len(raw) > ROW_DIMENSIONS_MAX:
        faults.add(path, f"has {len(raw)} dimensions; at most {ROW_DIMENSIONS_MAX} are allowed")
        return {}
    return {name: fields.required(name, parse_text) for name in raw if isinstance(name, str)}


def _rows_answer(lines: Sequence[RatedRow]) -> dict[str, object]:
    with exact():
        amount = sum((line.amount for line in lines), ZERO)
        shortfall = sum((line.shortfall for line in lines), ZERO)
    charges = [charge for line in lines for charge in line.charges]
    return {**_amount_json(amount, charges, shortfall), "rows": [_line_json(line) for line in lines]}


def _line_json(line: RatedRow) -> dict[str, object]:
    answer: dict[str, object] = {
        "dimensions": dict(line.dimensions),
        "quantity": trimmed(line.quantity),
        **_amount_json(line.amount, line.charges, line.shortfall),
    }
    return {**answer, "unpriced": True} if line.unpriced else answer


def _amount_json(amount: Decimal, charges: Sequence[Charge], shortfall: Decimal) -> dict[str, object]:
    answer: dict[str, object] = {
        "amount": trimmed(amount),
        "charges": [
            {
                "quantity": trimmed(charge.quantity),
                "unit_price": trimmed(charge.unit_price),
                "amount": trimmed(charge.amount),
                "reason": charge.reason,
            }
            for charge in charges
        ],
    }
    return {**answer, "shortfall": trimmed(shortfall)} if shortfall else answer
