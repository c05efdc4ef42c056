"""`farthing rate`: one line of JSON in, one line out.

    {"price": {...}, "quantity": "1500", "before": "0"}
    {"amount": "12.5", "charges": [
        {"quantity": "1000", "unit_price": "0.01", "amount": "10", "reason": "tier 1"}, ...]}

    {"price": {...}, "rows": [{"dimensions": {"model": "opus"}, "quantity": "5", "before": "0"}]}
    {"amount": ..., "charges": [...], "rows": [
        {"dimensions": {"model": "opus"}, "quantity": "5", "amount": ..., "charges": [...]}]}

What else a line may ask, and of which price, stands in `rating/questions.py`. `before` is 0 unless
given. `"final": false` says that the period goes on, so that no minimum and nothing for zero usage is
due yet.

`shortfall` stands in the answer where the net quantity is below zero; `unpriced` where no cell of a
matrix and no window of a time_of_use matched; `rows` also for a price by time, which owes a line for
each window; `in_unit` with each charge of a price that is written in a unit of its own. Numbers are
plain decimal strings without trailing zeros; the charges sum to the amount exactly.
"""

from collections.abc import Sequence
from decimal import Decimal

from farthing.kernel.errors import FarthingError, Fault, InvalidInput
from farthing.kernel.quantity import ZERO, exact, parse_decimal, trimmed
from farthing.kernel.reading import Faults, Fields
from farthing.rating.charge import Charge, RatedRow, UnitCharge
from farthing.rating.models import parse_price
from farthing.rating.needs import needs_of
from farthing.rating.price import Price
from farthing.rating.questions import INVALID_INPUT, USAGE_FIELDS, Question
from farthing.rating.rows import rate_rows
from farthing.rating.sheet import INVALID_PRICE, parse_flag


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
    if price is None:  # The rest is read as far as it does not depend on the price.
        fields.optional("quantity", parse_decimal, ZERO)
        fields.optional("before", parse_decimal, ZERO)
        for name in USAGE_FIELDS:
            fields.optional(name, lambda raw, path: raw, None)
        rows = []
    else:
        rows = Question(price, faults).rows(fields)
    fields.refuse_unknown()
    _refuse(price_faults, faults)
    assert price is not None
    lines = rate_rows(price, rows, final=final)
    with exact():
        amount = sum((line.amount for line in lines), ZERO)
        shortfall = sum((line.shortfall for line in lines), ZERO)
    charges = [charge for line in lines for charge in line.charges]
    answer = _amount_json(amount, charges, shortfall)
    if "rows" in fields or needs_of(price).clocks:
        answer["rows"] = [_line_json(line) for line in lines]
    return answer


def _read_price(raw: object) -> tuple[Price | None, Sequence[Fault]]:
    if raw is None:  # missing, which the line says
        return None, ()
    try:
        return parse_price(raw, ""), ()
    except InvalidInput as error:
        return None, error.faults


def _refuse(price_faults: Sequence[Fault], faults: Faults) -> None:
    """Raise everything that is wrong with the line, under one code."""
    found = list(price_faults)
    try:
        faults.refuse()
    except InvalidInput as error:
        found += error.faults
    if found:
        raise InvalidInput.of(INVALID_PRICE if price_faults else INVALID_INPUT, found)


def _line_json(line: RatedRow) -> dict[str, object]:
    answer: dict[str, object] = {
        "dimensions": dict(line.dimensions),
        "quantity": trimmed(line.quantity),
        **_amount_json(line.amount, line.charges, line.shortfall),
    }
    if line.quantities:
        answer["quantities"] = {meter: trimmed(number) for meter, number in line.quantities.items()}
    if line.unpriced:
        answer["unpriced"] = True
    return answer


def _amount_json(amount: Decimal, charges: Sequence[Charge], shortfall: Decimal) -> dict[str, object]:
    answer: dict[str, object] = {
        "amount": trimmed(amount),
        "charges": [_charge_json(charge) for charge in charges],
    }
    return {**answer, "shortfall": trimmed(shortfall)} if shortfall else answer


def _charge_json(charge: Charge) -> dict[str, object]:
    answer: dict[str, object] = {
        "quantity": trimmed(charge.quantity),
        "unit_price": trimmed(charge.unit_price),
        "amount": trimmed(charge.amount),
        "reason": charge.reason,
    }
    if isinstance(charge, UnitCharge):
        answer["in_unit"] = {
            "unit": charge.unit,
            "unit_price": trimmed(charge.unit_price_in_unit),
            "amount": trimmed(charge.amount_in_unit),
        }
    return answer
