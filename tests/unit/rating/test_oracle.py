"""Two raters, one answer: `farthing.rating` against the naive one in fractions, on random prices."""

import os
from decimal import Decimal
from fractions import Fraction
from random import Random

import oracle
import pytest
from random_prices import random_modifiers, random_price, random_quantity

from farthing.kernel.quantity import ZERO, exact
from farthing.rating import Row, parse_price, rate, rate_rows
from farthing.rating.between import owed

SEED = int(os.environ.get("FARTHING_SEED", "20261123"))
PRICES = 2_500
QUANTITIES_PER_PRICE = 42
MATRICES = 500
ROW_SETS_PER_MATRIX = 8


def test_rating_agrees_with_the_oracle() -> None:
    print(f"seed {SEED}")
    random = Random(SEED)
    cases = 0
    for _ in range(PRICES):
        raw = random_price(random)
        price = parse_price(raw)
        for _ in range(QUANTITIES_PER_PRICE):
            before, quantity = random_quantity(random), random_quantity(random)
            final = random.random() < 0.6
            rated = rate(price, quantity=quantity, before=before, final=final)
            expected = oracle.owed(raw, Fraction(before), Fraction(quantity), final)
            with exact():
                agreed = (
                    rated.amount == expected
                    and owed(rated.charges) == rated.amount
                    and rated.shortfall == max(-(before + quantity), ZERO)
                )
            assert agreed, f"seed {SEED}: {raw} before {before} quantity {quantity} final {final}: {rated}"
            cases += 1
    assert cases >= 100_000


def test_matrices_agree_with_the_oracle() -> None:
    print(f"seed {SEED}")
    random = Random(SEED)
    for _ in range(MATRICES):
        raw = random_matrix(random)
        price = parse_price(raw)
        for _ in range(ROW_SETS_PER_MATRIX):
            rows = [random_row(random) for _ in range(random.randint(0, 6))]
            final = random.random() < 0.6
            lines = rate_rows(price, rows, final=final)
            spans = [(row.dimensions, Fraction(row.before), Fraction(row.quantity)) for row in rows]
            amount = sum(Fraction(line.amount) for line in lines)
            assert amount == oracle.matrix_owed(raw, spans, final), f"seed {SEED}: {raw} {rows} final {final}"
            assert sum(Fraction(charge.amount) for line in lines for charge in line.charges) == amount


def random_matrix(random: Random) -> dict[str, object]:
    matrix: dict[str, object] = {
        "model": "matrix",
        "dimensions": ["model", "region"],
        "cells": [
            {"when": random_when(random), "price": random_cell_price(random)}
            for _ in range(random.randint(1, 5))
        ],
        **random_modifiers(random, of_quantity=False),
    }
    if random.random() < 0.6:
        matrix["default"] = random_cell_price(random)
    return matrix


def random_cell_price(random: Random) -> dict[str, object]:
    """A price whose parts need not be divided: what is rated row by row is then what is rated at once."""
    price = random_price(random)
    price.pop("convert", None)
    if price.get("round") == "exact":
        price["round"] = "up"
    return price


def random_when(random: Random) -> dict[str, str]:
    when = {"model": random.choice("ab"), "region": random.choice("xy")}
    if random.random() < 0.6:
        when.pop(random.choice(("model", "region")))
    return when


def random_row(random: Random) -> Row:
    dimensions = {"model": random.choice("abc"), "region": random.choice("xyz")}
    return Row(dimensions, abs(random_quantity(random)), abs(random_quantity(random)))


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (Fraction(1, 3), Fraction(333333333333333333, 10**18)),
        (Fraction(2, 3), Fraction(666666666666666667, 10**18)),
        (Fraction(1, 10**40), Fraction(1, 10**40)),
    ],
)
def test_the_oracle_settles(amount: Fraction, expected: Fraction) -> None:
    assert oracle.settled(amount) == expected


def test_the_oracle_knows_the_textbook() -> None:
    raw = {"model": "graduated", "tiers": [{"up_to": "1000", "unit_price": "0.01"}, {"unit_price": "0.005"}]}
    assert oracle.owed(raw, Fraction(0), Fraction(1500), True) == Fraction("12.5")
    assert oracle.owed({**raw, "model": "volume"}, Fraction(0), Fraction(1001), True) == Fraction("5.005")
    assert Fraction(Decimal("12.50")) == Fraction("12.5")
