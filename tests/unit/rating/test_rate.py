"""Rating at the edges of what numbers can be."""

from decimal import Decimal
from time import process_time

import pytest

from farthing.kernel.errors import LimitExceeded
from farthing.kernel.quantity import exact
from farthing.kernel.rounding import quotient
from farthing.rating import Row, Run, parse_price, rate, rate_rows
from farthing.rating.matrix import CELLS_MAX
from farthing.rating.tiers import TIERS_MAX
from farthing.rating.time_of_use import WINDOWS_MAX
from farthing.rating.wire import rate_line

LARGE = Decimal(10**21 - 1)
"""21 digits before the point."""
FINE = "12345678901234567890.123456789012345678"
"""38 digits, 18 after the point."""


def test_every_digit_fits_where_all_multiply() -> None:
    price = parse_price(
        {
            "model": "package",
            "package_price": FINE,
            "package_size": FINE,
            "round": "exact",
            "convert": {"operation": "multiply", "factor": FINE},
            "discount_percent": "12.345678901234567891",
            "discount_amount": FINE,
            "minimum": FINE,
        }
    )
    rated = rate(price, quantity=Decimal(FINE), before=Decimal(FINE))
    with exact():
        fine = Decimal(FINE)
        # quantity times factor is 1/size times as many packages, so size and factor cancel out.
        assert rated.charges[0].quantity == fine
        assert rated.charges[0].amount == fine * fine
        assert rated.amount == fine * fine * (100 - Decimal("12.345678901234567891")) / 100


def test_what_cannot_be_computed_exactly_is_refused() -> None:
    raw: dict[str, object] = {"model": "per_unit", "unit_price": FINE}
    for _ in range(4):
        convert = {"operation": "multiply", "factor": FINE}
        raw = {
            "model": "matrix",
            "dimensions": ["a"],
            "cells": [{"when": {"a": "1"}, "price": raw}],
            "convert": convert,
        }
    row = Row({"a": "1"}, Decimal(FINE))
    with pytest.raises(LimitExceeded) as caught:
        rate_rows(parse_price(raw), [row])
    assert caught.value.code == "too_many_digits"


def test_the_context_of_the_caller_does_not_matter() -> None:
    price = parse_price({"model": "per_unit", "unit_price": "0.000000000000000001"})
    assert rate(price, quantity=LARGE).amount == Decimal("999.999999999999999999")


def test_a_negative_zero_is_zero() -> None:
    price = parse_price({"model": "per_unit", "unit_price": "1", "discount_percent": "10"})
    rated = rate(price, quantity=Decimal("-0"))
    assert (rated.amount, rated.charges, rated.shortfall) == (0, (), 0)


def test_no_price_takes_long() -> None:
    tiers = [{"up_to": str(n + 1), "unit_price": "1", "flat_fee": "1"} for n in range(TIERS_MAX - 1)]
    ladder = parse_price({"model": "graduated", "tiers": [*tiers, {"unit_price": "1"}]})
    cells = [
        {"when": {"a": str(n)}, "price": {"model": "per_unit", "unit_price": "1"}} for n in range(CELLS_MAX)
    ]
    wide = parse_price({"model": "matrix", "dimensions": ["a"], "cells": cells, "minimum": "5"})
    rows = [Row({"a": str(n)}, Decimal(1)) for n in range(CELLS_MAX)]
    began = process_time()
    assert rate(ladder, quantity=LARGE).amount == LARGE + TIERS_MAX - 1
    assert len(rate_rows(wide, rows)) == CELLS_MAX
    assert process_time() - began < 5


def test_no_usage_takes_long() -> None:
    """Arithmetic, not loops: over blocks, equal events, increments and years."""
    blocks = [{"block_size": "0.000001", "block_price": "1", "max_blocks": "1"}] * (TIERS_MAX - 1)
    block = parse_price(
        {"model": "block", "tiers": [*blocks, {"block_size": "0.000001", "block_price": "1"}]}
    )
    fine = parse_price({"model": "timed", "steps": [{"price": "1", "per": "7", "increment": "0.000001"}]})
    card = parse_price(
        {"model": "percentage", "rate": "1", "free_events": 10**15, "free_amount": "1e20", "event_max": "1"}
    )
    unit = {"model": "per_unit", "unit_price": "1"}
    windows = [
        {"name": str(n), "from": f"{n // 2:02}:00:{n % 2}1", "price": unit} for n in range(WINDOWS_MAX)
    ]
    times = {"model": "time_of_use", "timezone": "Europe/Berlin", "windows": windows, "default": unit}
    century = {"start": "1926-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}
    began = process_time()
    assert rate(block, quantity=Decimal(10**12)).amount == 10**18
    calls = Row.of_runs({}, [Run(Decimal(10**15), 10**15)] * 1000)
    assert rate_rows(fine, [calls])[0].amount == quotient(Decimal(10**33), Decimal(7))
    cards = Row.of_runs({}, [Run(Decimal("0.01"), 10**12)] * 1000)
    assert rate_rows(card, [cards])[0].amount == 0
    assert rate_line({"price": times, "rows": [century] * 100})["amount"] == str(36525 * 86400 * 100)
    assert process_time() - began < 5


def test_a_row_is_found_among_many_cells_without_reading_them_all() -> None:
    cells = [{"when": {"a": str(n)}, "price": {"model": "flat", "amount": str(n)}} for n in range(CELLS_MAX)]
    price = parse_price({"model": "matrix", "dimensions": ["a"], "cells": cells})
    began = process_time()
    for n in range(0, CELLS_MAX, 5):
        (line,) = rate_rows(price, [Row({"a": str(n)}, Decimal(1))])
        assert line.amount == n
    assert process_time() - began < 5
