"""Rating at the edges of what numbers can be."""

from decimal import Decimal
from time import perf_counter

import pytest

from farthing.kernel.errors import LimitExceeded
from farthing.kernel.quantity import exact
from farthing.rating import Row, parse_price, rate, rate_rows
from farthing.rating.matrix import CELLS_MAX
from farthing.rating.tiers import TIERS_MAX

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
    began = perf_counter()
    assert rate(ladder, quantity=LARGE).amount == LARGE + TIERS_MAX - 1
    assert len(rate_rows(wide, rows)) == CELLS_MAX
    assert perf_counter() - began < 5


def test_a_row_is_found_among_many_cells_without_reading_them_all() -> None:
    cells = [{"when": {"a": str(n)}, "price": {"model": "flat", "amount": str(n)}} for n in range(CELLS_MAX)]
    price = parse_price({"model": "matrix", "dimensions": ["a"], "cells": cells})
    began = perf_counter()
    for n in range(0, CELLS_MAX, 5):
        (line,) = rate_rows(price, [Row({"a": str(n)}, Decimal(1))])
        assert line.amount == n
    assert perf_counter() - began < 5
