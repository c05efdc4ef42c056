"""A price in proportion costs the quantity times what one costs, to the last digit."""

from decimal import Decimal

import pytest
from hypothesis import given, strategies

from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.rating import Row, in_proportion, parse_price, rate_rows

UNIT_PRICES = strategies.decimals(0, 10, allow_nan=False, places=9).map(str)
QUANTITIES = strategies.decimals(0, 10**9, allow_nan=False, places=6)
PER_UNIT = strategies.fixed_dictionaries(
    {"model": strategies.just("per_unit"), "unit_price": UNIT_PRICES},
    optional={
        "discount_percent": strategies.decimals(0, 100, allow_nan=False, places=2).map(str),
        "convert": strategies.just({"operation": "multiply", "factor": "1.5"}),
    },
)
MATRIX = strategies.builds(
    lambda cell, default: {
        "model": "matrix",
        "dimensions": ["model"],
        "cells": [{"when": {"model": "opus"}, "price": cell}],
        "default": default,
    },
    PER_UNIT,
    PER_UNIT,
)


@given(raw=PER_UNIT | MATRIX, quantity=QUANTITIES, model=strategies.sampled_from(["opus", "haiku"]))
def test_a_quantity_costs_so_many_times_what_one_costs(raw: dict, quantity: Decimal, model: str) -> None:
    price = parse_price(raw, "price")
    assert in_proportion(price)

    def cost(units: Decimal, before: Decimal = ZERO) -> Decimal:
        with exact():
            rows = rate_rows(price, [Row({"model": model}, units, before)], final=False)
            return sum((row.amount for row in rows), ZERO)

    with exact():
        assert cost(quantity) == quantity * cost(ONE)
    assert cost(quantity, Decimal(12345)) == cost(quantity), "whatever came before"


@pytest.mark.parametrize(
    "raw",
    [
        {"model": "graduated", "tiers": [{"up_to": "10", "unit_price": "1"}, {"unit_price": "0.5"}]},
        {"model": "package", "package_price": "5", "package_size": "3", "round": "exact"},
        {"model": "per_unit", "unit_price": "1", "free_units": "5"},
        {"model": "per_unit", "unit_price": "1", "minimum": "5"},
        {"model": "per_unit", "unit_price": "1", "maximum": "5"},
        {"model": "per_unit", "unit_price": "1", "convert": {"operation": "divide", "factor": "3"}},
        {"model": "flat", "amount": "10"},
        {"model": "percentage", "rate": "2"},
        {
            "model": "matrix",
            "dimensions": ["model"],
            "cells": [{"when": {"model": "opus"}, "price": {"model": "per_unit", "unit_price": "1"}}],
            "default": {"model": "per_unit", "unit_price": "1", "free_units": "5"},
        },
    ],
    ids=str,
)
def test_what_depends_on_what_came_before_is_not_in_proportion(raw: dict) -> None:
    assert not in_proportion(parse_price(raw, "price"))
