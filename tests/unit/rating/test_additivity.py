"""Law 6: the parts of a period sum to the whole, wherever the period is split."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from million import drop_double_units
from random_prices import (
    EVENT_MODELS,
    METERS,
    random_meters_price,
    random_modifiers,
    random_price,
    random_quantity,
    random_value,
)

from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import ZERO, exact
from farthing.rating import Price, Row, Run, parse_price, rate, rate_rows
from farthing.rating.wire import rate_line

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
    drop_double_units(raw, [cell["price"] for cell in raw["cells"]])
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


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_parts_of_events_sum_to_the_whole(seed: int) -> None:
    """Wherever the row of events is cut, also within a run of equal ones."""
    random = Random(seed)
    price = parse_price(random_price(random, EVENT_MODELS))
    runs = [Run(random_value(random), random.choice((1, 2, 7, 10**9))) for _ in range(random.randint(0, 12))]
    cut: list[Run] = []
    for run in runs:
        first = random.randint(0, run.count)
        cut += [Run(run.value, count) for count in (first, run.count - first) if count]
    parts = chopped(random, cut)
    before: list[Run] = []
    rows = []
    for part in parts:
        rows.append(Row.of_runs({}, part, list(before)))
        before += part
    assert amount_of_rows(price, rows) == amount_of_rows(price, [Row.of_runs({}, runs)])


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_parts_of_several_meters_sum_to_the_whole(seed: int) -> None:
    random = Random(seed)
    price = parse_price(random_meters_price(random))
    before = dict.fromkeys(METERS, ZERO)
    rows = []
    for _ in range(random.randint(1, 6)):
        more = {meter: random_quantity(random) for meter in METERS}
        rows.append(Row({}, quantities=more, quantities_before=before))
        with exact():
            before = {meter: before[meter] + more[meter] for meter in METERS}
    assert amount_of_rows(price, rows) == amount_of_rows(price, [Row({}, quantities=before)])


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_parts_of_a_time_that_is_priced_by_windows_sum_to_the_whole(seed: int) -> None:
    """A stretch of time cut at any instants, each part asked about as it stands, the ones before told."""
    random = Random(seed)
    price = {
        "model": "time_of_use",
        "timezone": random.choice(("Europe/Berlin", "Australia/Lord_Howe", "UTC")),
        "windows": [
            {"days": [6, 7], "price": random_price(random)},
            {"from": "22:00", "to": "06:00", "price": random_price(random)},
        ],
        "default": random_price(random),
    }
    start = datetime(2026, 10, 1, tzinfo=UTC)
    cuts = sorted({0, *(random.randint(0, 10**12) for _ in range(4))})
    edges = [format_instant(start + timedelta(microseconds=cut * 4)) for cut in cuts]
    told: list[dict[str, object]] = []
    total = ZERO
    for index, (first, last) in enumerate(pairwise(edges)):
        event = {"start": first, "end": last}
        question = {"price": price, "events": [event], "events_before": list(told)}
        answer: Any = rate_line({**question, "final": index == len(edges) - 2})
        with exact():
            total += Decimal(answer["amount"])
        told.append(event)
    whole: Any = rate_line({"price": price, "start": edges[0], "end": edges[-1]})
    assert total == Decimal(whole["amount"])


def chopped(random: Random, runs: list[Run]) -> list[list[Run]]:
    """The runs in parts, some of them empty."""
    cuts = sorted(random.randint(0, len(runs)) for _ in range(random.randint(0, 5)))
    return [runs[first:last] for first, last in pairwise([0, *cuts, len(runs)])]


def amount_of_rows(price: Price, rows: list[Row]) -> Decimal:
    """The rows rated one after the other, the last one final."""
    total = ZERO
    with exact():
        for index, row in enumerate(rows):
            lines = rate_rows(price, [row], final=index == len(rows) - 1)
            total += sum((line.amount for line in lines), ZERO)
    return total


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
