"""Two raters on very many random cases: `farthing.rating` against the naive one in fractions.

A price is tried with some amounts of usage as points; a case goes from one point to another. The oracle
states the total at each point once, so a case costs it one subtraction, and every case is rated afresh.
The cases depend on the seed alone, however many processes share them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from random import Random
from typing import Any

import oracle
from oracle import Used
from random_prices import (
    EVENT_MODELS,
    METERS,
    MODELS,
    random_meters_price,
    random_modifiers,
    random_price,
    random_quantity,
    random_value,
)

from farthing.kernel.quantity import ZERO, exact
from farthing.rating import Price, Rated, Row, Run, parse_price, rate, rate_rows

POINTS = 18
"""Amounts of usage that one price is tried with."""
ROW_EVENTS = 8
CLOCK = "time of use"

Case = tuple[int, int, bool]
"""From which point to which, and whether the period ends there."""


@dataclass
class Trial:
    """One price, the usage at each point, how a case is rated, and which cases there are."""

    raw: dict[str, Any]
    used: Sequence[Any]
    totals: Callable[[bool], list[Fraction]]
    rated: Callable[[int, int, bool], Rated]
    shortfalls: Sequence[Decimal] = ()
    ordered: bool = False

    def cases(self) -> Iterator[Case]:
        for start in range(len(self.used)):
            for end in range(start if self.ordered else 0, len(self.used)):
                yield start, end, True
                yield start, end, False


def compare(seed: int, cases: int) -> tuple[int, str]:
    """Compare at least so many cases: how many there were, and the first difference (empty if none)."""
    random = Random(seed)
    compared = 0
    while compared < cases:
        trial = random_trial(random)
        until = [[_decimal(total) for total in trial.totals(final)] for final in (False, True)]
        for start, end, final in trial.cases():
            rated = trial.rated(start, end, final)
            with exact():
                amount = sum((charge.amount for charge in rated.charges), ZERO)
                expected = until[final][end] - until[False][start]
            compared += 1
            as_short = not trial.shortfalls or rated.shortfall == trial.shortfalls[end]
            if not (rated.amount == amount == expected and as_short):
                told = f"from {trial.used[start]} to {trial.used[end]}, final {final}"
                return compared, f"seed {seed}: {trial.raw} {told}: {rated}, expected {expected}"
    return compared, ""


def random_trial(random: Random) -> Trial:
    kind = random.random()
    if kind < 0.55:
        return _quantity_trial(random)
    if kind < 0.75:
        return _events_trial(random)
    if kind < 0.85:
        return _meters_trial(random)
    return _matrix_trial(random) if kind < 0.95 else _time_trial(random)


def _quantity_trial(random: Random) -> Trial:
    raw = random_price(random, MODELS)
    price = parse_price(raw)
    points = [random_quantity(random) for _ in range(POINTS)]

    def rated(start: int, end: int, final: bool) -> Rated:
        return rate(price, quantity=_between(points[start], points[end]), before=points[start], final=final)

    def totals(final: bool) -> list[Fraction]:
        return [oracle.owes(raw, Used(Fraction(point)), final) for point in points]

    return Trial(raw, points, totals, rated, [max(-point, ZERO) for point in points])


def _events_trial(random: Random) -> Trial:
    raw = random_price(random, EVENT_MODELS)
    price = parse_price(raw)
    runs = [Run(random_value(random), random.choice((1, 1, 1, 2, 5))) for _ in range(POINTS)]
    values = [[Fraction(run.value)] * run.count for run in runs]
    told = list(accumulate(values, initial=[]))

    def rated(start: int, end: int, final: bool) -> Rated:
        return _one(price, [Row.of_runs({}, runs[start:end], runs[:start])], final)

    def totals(final: bool) -> list[Fraction]:
        return [oracle.owes(raw, Used(events=events), final) for events in told]

    return Trial(raw, told, totals, rated, ordered=True)


def _meters_trial(random: Random) -> Trial:
    raw = random_meters_price(random)
    price = parse_price(raw)
    points = [{meter: random_quantity(random) for meter in METERS} for _ in range(POINTS)]

    def rated(start: int, end: int, final: bool) -> Rated:
        more = {meter: _between(points[start][meter], points[end][meter]) for meter in METERS}
        return _one(price, [Row({}, quantities=more, quantities_before=points[start])], final)

    def totals(final: bool) -> list[Fraction]:
        return [oracle.owes(raw, Used(quantities=_fractions(point)), final) for point in points]

    return Trial(raw, points, totals, rated)


def _matrix_trial(random: Random) -> Trial:
    raw = random_matrix(random)
    kinds = [{"model": model, "region": region} for model in "abc" for region in "xy"]
    return _rows_trial(random, raw, raw, random.sample(kinds, random.randint(1, 4)))


def _time_trial(random: Random) -> Trial:
    """A price by time is to the oracle a matrix over the names of its windows."""
    windows = [
        {"name": name, "from": f"{hour:02}:00", "to": f"{hour + 8:02}:00", "price": random_cell_price(random)}
        for name, hour in (("night", 0), ("day", 8), ("evening", 16))[: random.randint(1, 3)]
    ]
    rest = matrix_modifiers(random)
    if random.random() < 0.6:
        rest["default"] = random_cell_price(random)
    drop_double_units(rest, [window["price"] for window in windows])
    raw = {"model": "time_of_use", "timezone": "Asia/Kathmandu", "windows": windows, **rest}
    cells = [{"when": {CLOCK: window["name"]}, "price": window["price"]} for window in windows]
    matrix = {"model": "matrix", "dimensions": [CLOCK], "cells": cells, **rest}
    kinds = [{CLOCK: name} for name in ("night", "day", "evening", "other times")]
    return _rows_trial(random, raw, matrix, random.sample(kinds, random.randint(1, 4)))


def _rows_trial(
    random: Random, raw: dict[str, Any], matrix: dict[str, Any], groups: Sequence[dict[str, str]]
) -> Trial:
    """Events of some groups, told one by one; every point is some more of each group's events."""
    price = parse_price(raw)
    runs = [
        [Run(abs(random_value(random)), random.choice((1, 1, 3))) for _ in range(ROW_EVENTS)] for _ in groups
    ]
    points = [(0,) * len(groups)]
    while len(points) < POINTS // 2:
        points.append(tuple(random.randint(place, ROW_EVENTS) for place in points[-1]))

    def rated(start: int, end: int, final: bool) -> Rated:
        rows = [
            Row.of_runs(dimensions, told[before:after], told[:before])
            for dimensions, told, before, after in zip(groups, runs, points[start], points[end], strict=True)
        ]
        return _one(price, rows, final)

    def used(point: Sequence[int]) -> list[tuple[dict[str, str], Used]]:
        rows = []
        for dimensions, told, place in zip(groups, runs, point, strict=True):
            values = [Fraction(run.value) for run in told[:place] for _ in range(run.count)]
            rows.append((dimensions, Used(sum(values, Fraction(0)), values)))
        return rows

    def totals(final: bool) -> list[Fraction]:
        return [oracle.matrix_owes(matrix, used(point), final) for point in points]

    return Trial(raw, points, totals, rated, ordered=True)


def random_matrix(random: Random) -> dict[str, Any]:
    """Cells with tiers of their own or on one ladder; with the modifiers that a matrix may have itself."""
    matrix: dict[str, Any] = {
        "model": "matrix",
        "dimensions": ["model", "region"],
        **matrix_modifiers(random),
    }
    if random.random() < 0.3:
        matrix["tiers"] = "shared"
    shared = "tiers" in matrix
    cells = [
        {"when": random_when(random), "price": random_cell_price(random, shared)}
        for _ in range(random.randint(1, 5))
    ]
    matrix["cells"] = cells
    if random.random() < 0.6:
        matrix["default"] = random_cell_price(random, shared)
    drop_double_units(matrix, [cell["price"] for cell in cells])
    return matrix


def matrix_modifiers(random: Random) -> dict[str, Any]:
    modifiers = random_modifiers(random)
    convert = modifiers.get("convert", {})
    if convert.get("operation") == "divide" and convert["round"] == "none":
        convert["round"] = "up"  # A line is divided by itself; see `random_cell_price`.
    return modifiers


def drop_double_units(around: dict[str, Any], inner: Sequence[dict[str, Any]]) -> None:
    """A price is written in one unit at most."""
    if any("unit" in price for price in (*inner, around.get("default", {}))):
        around.pop("unit", None)


def random_cell_price(random: Random, shared: bool = False) -> dict[str, Any]:
    """A price whose parts need not be divided: what is rated row by row is then what is rated at once."""
    if shared:
        price = random_price(random, ("graduated", "graduated_percentage", "per_unit"))
        return {name: price[name] for name in ("model", "tiers", "unit_price") if name in price}
    price = random_price(random, (*MODELS, *EVENT_MODELS))
    price.pop("convert", None)
    if price.get("round") == "exact":
        price["round"] = "up"
    return price


def random_when(random: Random) -> dict[str, str]:
    when = {"model": random.choice("ab"), "region": random.choice("xy")}
    if random.random() < 0.6:
        when.pop(random.choice(("model", "region")))
    return when


def _one(price: Price, rows: Sequence[Row], final: bool) -> Rated:
    lines = rate_rows(price, rows, final=final)
    with exact():
        amount = sum((line.amount for line in lines), ZERO)
    return Rated(amount, tuple(charge for line in lines for charge in line.charges))


def _between(start: Decimal, end: Decimal) -> Decimal:
    with exact():
        return end - start


def _fractions(numbers: dict[str, Decimal]) -> dict[str, Fraction]:
    return {name: Fraction(value) for name, value in numbers.items()}


def _decimal(amount: Fraction) -> Decimal:
    """An amount whose digits end, as they are."""
    with exact():
        return Decimal(amount.numerator) / Decimal(amount.denominator)
