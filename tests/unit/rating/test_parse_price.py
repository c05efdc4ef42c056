"""How a price is read: what it may hold, how large it may be, and how it is written back."""

from dataclasses import FrozenInstanceError
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from million import random_matrix
from random_prices import EVENT_MODELS, MODELS, random_meters_price, random_price

from farthing.kernel.errors import InvalidInput
from farthing.rating import dimensions_of, parse_price, price_json, rate
from farthing.rating.matrix import CELLS_MAX, DIMENSIONS_MAX, Matrix
from farthing.rating.sheet import DEPTH_MAX, FIELDS_MAX, PARTS_MAX
from farthing.rating.tiers import TIERS_MAX

PER_UNIT = {"model": "per_unit", "unit_price": "1"}


def faults_of(raw: object, path: str = "price") -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as caught:
        parse_price(raw, path)
    assert caught.value.code == "invalid_price"
    return [(fault.path, fault.message) for fault in caught.value.faults]


def ladder(count: int) -> list[dict[str, str]]:
    return [{"up_to": str(bound + 1), "unit_price": "1"} for bound in range(count - 1)] + [
        {"unit_price": "2"}
    ]


def matrix(cells: int, price: dict[str, Any] = PER_UNIT) -> dict[str, Any]:
    return {
        "model": "matrix",
        "dimensions": ["a"],
        "cells": [{"when": {"a": str(number)}, "price": price} for number in range(cells)],
    }


def nested(depth: int) -> dict[str, Any]:
    price: dict[str, Any] = PER_UNIT
    for _ in range(depth):
        price = matrix(1, price)
    return price


def test_paths_begin_where_the_caller_says() -> None:
    raw = {"model": "graduated", "tiers": [{"up_to": "2"}, {"unit_price": "1"}]}
    assert faults_of(raw, "rate_cards[2].price") == [
        ("rate_cards[2].price.tiers[0]", "needs a unit_price or a flat_fee")
    ]
    assert faults_of(raw, "") == [("tiers[0]", "needs a unit_price or a flat_fee")]


@pytest.mark.parametrize(
    ("raw", "said"), [(None, "null"), ("flat", "a string"), ([], "a list"), (5, "a number")]
)
def test_a_price_is_an_object(raw: object, said: str) -> None:
    assert faults_of(raw) == [("price", f"must be an object, not {said}")]
    assert faults_of(raw, "") == [("price", f"must be an object, not {said}")]


def test_numbers_are_text_int_or_decimal() -> None:
    for raw in ("0.5", Decimal("0.5"), "5e-1"):
        assert parse_price({"model": "flat", "amount": raw}) == parse_price(
            {"model": "flat", "amount": "0.50"}
        )
    assert parse_price({"model": "flat", "amount": 5}) == parse_price({"model": "flat", "amount": "5"})


def test_null_is_absent() -> None:
    raw = {
        "model": "graduated",
        "tiers": [{"up_to": None, "unit_price": "1", "flat_fee": None}],
        "minimum": None,
    }
    assert parse_price(raw) == parse_price({"model": "graduated", "tiers": [{"unit_price": "1"}]})


def test_prices_are_values() -> None:
    price = parse_price(PER_UNIT)
    assert price == parse_price(PER_UNIT)
    assert hash(price) == hash(parse_price(PER_UNIT))
    with pytest.raises(FrozenInstanceError):
        price.model = price.model  # type: ignore[misc]


def test_tiers_have_a_limit() -> None:
    assert (
        rate(parse_price({"model": "graduated", "tiers": ladder(TIERS_MAX)}), quantity=Decimal(2000)).amount
        == 3001
    )
    assert faults_of({"model": "graduated", "tiers": ladder(TIERS_MAX + 1)}) == [
        ("price.tiers", "has 1001 items; at most 1000 are allowed"),
    ]


def test_cells_have_a_limit() -> None:
    price = parse_price(matrix(CELLS_MAX))
    assert isinstance(price.model, Matrix)
    assert price.model.cell_for({"a": "9999"}) == 9999
    assert faults_of(matrix(CELLS_MAX + 1)) == [("price.cells", "has 10001 items; at most 10000 are allowed")]


def test_dimensions_have_a_limit() -> None:
    raw = {**matrix(1), "dimensions": ["a", *(f"d{number}" for number in range(DIMENSIONS_MAX))]}
    assert faults_of(raw) == [("price.dimensions", "has 11 items; at most 10 are allowed")]


def test_nesting_has_a_limit() -> None:
    assert rate(parse_price(nested(DEPTH_MAX)), quantity=Decimal(1)).charges[0].reason == "unpriced"
    assert faults_of(nested(DEPTH_MAX + 1)) == [
        ("price" + ".cells[0].price" * 5, f"is nested more than {DEPTH_MAX} prices deep")
    ]


def test_a_price_that_holds_itself_is_refused() -> None:
    raw = matrix(2)
    raw["cells"][0]["price"] = raw
    assert faults_of(raw)[0] == ("price" + ".cells[0].price" * 5, "is nested more than 4 prices deep")


def test_a_price_that_repeats_itself_cannot_grow_without_bound() -> None:
    """YAML aliases make a small file a large price: 100 cells of 100 cells of 100 cells share one object."""
    faults = faults_of(matrix(100, matrix(100, matrix(100))))
    assert (f"makes more than {PARTS_MAX} tiers and cells in one price") in {message for _, message in faults}
    assert len(faults) <= 101


def test_objects_have_a_limit() -> None:
    raw = {**PER_UNIT, **{f"f{number}": 1 for number in range(FIELDS_MAX)}}
    assert faults_of(raw)[0] == ("price", "has 34 fields; at most 32 are allowed")


def test_texts_have_a_limit() -> None:
    long = "x" * 257
    assert faults_of({**matrix(1), "dimensions": [long]}) == [
        ("price.dimensions[0]", "must have 1 to 256 characters"),
    ]
    raw = matrix(1)
    raw["cells"][0]["when"]["a"] = long
    assert faults_of(raw) == [("price.cells[0].when.a", "must have 1 to 256 characters")]
    assert faults_of({"model": "x" * 10_000_000})[0][1].endswith(f"not '{'x' * 40}'")
    assert len(faults_of({**PER_UNIT, "y" * 1000: 1})[0][0]) < 200


def test_a_thousand_faults_are_told_in_a_hundred() -> None:
    faults = faults_of({"model": "graduated", "tiers": [{"unit_price": "-1"}] * 1000})
    assert len(faults) == 101
    assert faults[-1] == ("", "and 1899 more faults")


def test_what_stands_at_its_default_is_not_written() -> None:
    raw = {
        "model": "graduated",
        "tiers": [{"up_to": "1e3", "unit_price": "0.0100", "flat_fee": "0"}, {"flat_fee": 5}],
        "bill_flat_on_zero": False,
        "free_units": "0",
        "minimum": 0,
        "maximum": "10.00",
        "convert": {"operation": "divide", "factor": "1000.0", "round": "none", "scale": 0},
    }
    assert price_json(parse_price(raw)) == {
        "model": "graduated",
        "tiers": [{"up_to": "1000", "unit_price": "0.01"}, {"unit_price": "0", "flat_fee": "5"}],
        "convert": {"operation": "divide", "factor": "1000"},
        "maximum": "10",
    }


def test_a_matrix_is_written_back() -> None:
    raw = {
        "model": "matrix",
        "dimensions": ["model", "region"],
        "cells": [{"when": {"region": "eu", "model": "opus"}, "price": PER_UNIT}],
        "default": {"model": "package", "package_price": "5", "package_size": "10", "round": "exact"},
        "minimum": "3",
    }
    assert price_json(parse_price(raw)) == raw


def test_what_is_written_reads_the_same() -> None:
    random = Random(5)
    for _ in range(500):
        for raw in (
            random_price(random, (*MODELS, *EVENT_MODELS)),
            random_meters_price(random),
            random_matrix(random),
            random_by_time(random),
        ):
            price = parse_price(raw)
            assert parse_price(price_json(price)) == price
            assert price_json(parse_price(price_json(price))) == price_json(price)


def random_by_time(random: Random) -> dict[str, Any]:
    windows = [
        {
            "days": random.sample(range(1, 8), random.randint(1, 7)),
            "from": random.choice(("00:00", "07:30:15")),
            "to": random.choice(("24:00", "06:00")),
            "price": random_price(random),
        }
        for _ in range(random.randint(1, 3))
    ]
    return {"model": "time_of_use", "timezone": "Asia/Kolkata", "windows": windows}


def test_a_price_by_time_is_written_as_it_is_read() -> None:
    raw = {
        "model": "time_of_use",
        "timezone": "Europe/Berlin",
        "windows": [
            {"price": PER_UNIT, "days": [1, 2], "from": "08:00", "to": "18:00", "name": "peak"},
            {
                "price": {
                    "model": "timed",
                    "steps": [{"from": "0", "price": "1"}, {"from": "60", "price": "2"}],
                }
            },
        ],
        "default": {**PER_UNIT, "unit": {"name": "credits", "rate": "0.01"}},
    }
    assert price_json(parse_price(raw)) == raw


def test_the_dimensions_of_a_price() -> None:
    inner = {**matrix(1), "dimensions": ["region", "a"]}
    outer = {**matrix(1, inner), "default": {**matrix(1), "dimensions": ["tier", "a"]}}
    assert dimensions_of(parse_price(outer)) == ("a", "region", "tier")
    assert dimensions_of(parse_price(PER_UNIT)) == ()


@pytest.mark.parametrize("scale", ["0", 18, Decimal(2), "2.0"])
def test_a_scale_is_a_whole_number(scale: object) -> None:
    convert = {"operation": "divide", "factor": "3", "round": "up", "scale": scale}
    parse_price({**PER_UNIT, "convert": convert})


@pytest.mark.parametrize("scale", ["19", "-1", "0.5", True, "1e20"])
def test_a_scale_has_bounds(scale: object) -> None:
    convert = {"operation": "divide", "factor": "3", "round": "up", "scale": scale}
    assert [path for path, _ in faults_of({**PER_UNIT, "convert": convert})] == ["price.convert.scale"]
