"""Law 6: the parts of a period sum to the whole, wherever the period is split."""

from decimal import Decimal
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from random_prices import random_modifiers, random_price, random_quantity

from farthing.kernel.quantity import ZERO, exact
from farthing.rating import Price, Row, parse_price, rate, rate_rows

quantities = st.one_of(
    st.integers(0, 5000).map(Decimal),
    st.integers(0, 10**12).map(Decimal),
    st.decimals(0, 3000, places=6),
    st.integers(-3000, 3000).map(lambda half: Decimal(half) / 2),
    st.integers(1, 999).map(lambda number: Decimal(number).scaleb(-18)),
)
prices = st.integers(0, 2**32).map(lambda seed: random_price(Random(seed)))


@settings(max_examples=400, deadline=None)
@given(raw=prices, parts=st.lists(quantities, min_size=1, max_size=6))
def test_parts_sum_to_the_whole(raw: dict[str, object], parts: list[Decimal]) -> None:
    price = parse_price(raw)
    with exact():
        assert amount_in_parts(price, parts) == rate(price, quantity=sum(parts, ZERO)).amount


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_parts_of_a_matrix_sum_to_the_whole(seed: int) -> None:
    """Rows of every combination that the period has seen, with modifiers of the matrix itself."""
    random = Random(seed)
    raw = {
        "model": "matrix",
        "dimensions": ["model"],
        "cells": [{"when": {"model": name}, "price": random_price(random)} for name in "ab"],
        "default": random_price(random),
        **random_modifiers(random),
    }
    price = parse_price(raw)
    before = dict.fromkeys("abcd", ZERO)
    parts = [{name: abs(random_quantity(random)) for name in before} for _ in range(3)]
    total = ZERO
    with exact():
        for index, part in enumerate(parts):
            final = index == len(parts) - 1
            rows = [Row({"model": name}, quantity, before[name]) for name, quantity in part.items()]
            total += sum((line.amount for line in rate_rows(price, rows, final=final)), ZERO)
            before = {name: before[name] + quantity for name, quantity in part.items()}
        whole = rate_rows(price, [Row({"model": name}, quantity) for name, quantity in before.items()])
        assert total == sum((line.amount for line in whole), ZERO)


@settings(max_examples=200, deadline=None)
@given(raw=prices, quantity=quantities, before=quantities)
def test_charges_are_quantity_times_unit_price(
    raw: dict[str, object], quantity: Decimal, before: Decimal
) -> None:
    """Except where the price divides: there the amount is the exact share, within the last digit."""
    divides = raw.get("round") == "exact" or "divide" in str(raw.get("convert"))
    price = parse_price(raw)
    for charge in rate(price, quantity=quantity, before=before).charges:
        with exact():
            error = abs(charge.amount - charge.quantity * charge.unit_price)
            allowed = (abs(charge.unit_price) + 2).scaleb(-18) if divides else ZERO
            assert error <= allowed


def test_a_minimum_is_owed_by_the_last_part_only() -> None:
    price = parse_price({"model": "per_unit", "unit_price": "1", "minimum": "5"})
    assert amount_in_parts(price, [Decimal(1), Decimal(1), Decimal(1)]) == 5
    first = rate(price, quantity=Decimal(1), final=False)
    assert [charge.reason for charge in first.charges] == ["usage"]


def test_an_empty_first_part_changes_nothing() -> None:
    for model in (
        {"model": "flat", "amount": "10"},
        {"model": "per_unit", "unit_price": "1", "minimum": "10"},
    ):
        price = parse_price(model)
        assert amount_in_parts(price, [ZERO, ZERO, Decimal(4)]) == 10


def amount_in_parts(price: Price, parts: list[Decimal]) -> Decimal:
    """The parts rated one after the other, the last one final."""
    before = total = ZERO
    with exact():
        for index, part in enumerate(parts):
            total += rate(price, quantity=part, before=before, final=index == len(parts) - 1).amount
            before += part
    return total
