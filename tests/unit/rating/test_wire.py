"""`farthing rate`: lines in, lines out, never an exception."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import farthing
from farthing.rating.questions import ROWS_MAX
from farthing.rating.wire import rate_line

GRADUATED = {
    "model": "graduated",
    "tiers": [{"up_to": "1000", "unit_price": "0.01", "flat_fee": "0"}, {"unit_price": "0.005"}],
}
PER_UNIT = {"model": "per_unit", "unit_price": "0.01"}
MATRIX = {
    "model": "matrix",
    "dimensions": ["model"],
    "cells": [{"when": {"model": "opus"}, "price": PER_UNIT}],
}


def line(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def error_of(raw: object) -> tuple[str, str]:
    answer = rate_line(raw)
    assert set(answer) == {"error"}
    error: Any = answer["error"]
    assert set(error) == {"code", "message"}
    return error["code"], error["message"]


def test_the_line_of_the_design() -> None:
    assert farthing.rate({"price": GRADUATED, "quantity": "1500", "before": "0"}) == {
        "amount": "12.5",
        "charges": [
            {"quantity": "1000", "unit_price": "0.01", "amount": "10", "reason": "tier 1"},
            {"quantity": "500", "unit_price": "0.005", "amount": "2.5", "reason": "tier 2"},
        ],
    }


def test_the_error_of_the_design() -> None:
    tiers = [{"up_to": "1000", "unit_price": "1"}, {"up_to": "500", "unit_price": "1"}, {"unit_price": "1"}]
    assert rate_line({"price": {"model": "graduated", "tiers": tiers}, "quantity": "1500"}) == {
        "error": {
            "code": "invalid_price",
            "message": "tiers[1].up_to must be greater than tiers[0].up_to",
        }
    }


def test_json_numbers_are_exact() -> None:
    answer = rate_line(line('{"price":{"model":"per_unit","unit_price":0.1},"quantity":3,"before":1.5}'))
    assert answer["amount"] == "0.3"


def test_no_exponent_and_no_trailing_zeros() -> None:
    price = {"model": "per_unit", "unit_price": "1e-15"}
    assert rate_line({"price": price, "quantity": "1e3"})["amount"] == "0.000000000001"
    assert rate_line({"price": price, "quantity": "1e15"})["amount"] == "1"
    assert rate_line({"price": price, "quantity": "1e20"})["amount"] == "100000"


def test_the_period_may_go_on() -> None:
    price = {**PER_UNIT, "minimum": "5"}
    assert rate_line({"price": price, "quantity": "100"})["amount"] == "5"
    assert rate_line({"price": price, "quantity": "100", "final": False})["amount"] == "1"


def test_a_shortfall_is_reported() -> None:
    answer = rate_line({"price": PER_UNIT, "quantity": "-5"})
    assert answer == {"amount": "0", "charges": [], "shortfall": "5"}


def test_rows() -> None:
    rows = [
        {"dimensions": {"model": "haiku"}, "quantity": "7"},
        {"dimensions": {"model": "opus"}, "quantity": "100", "before": "5"},
    ]
    opus = {"quantity": "100", "unit_price": "0.01", "amount": "1", "reason": "usage"}
    haiku = {"quantity": "7", "unit_price": "0", "amount": "0", "reason": "unpriced"}
    assert rate_line({"price": MATRIX, "rows": rows}) == {
        "amount": "1",
        "charges": [opus, haiku],
        "rows": [
            {"dimensions": {"model": "opus"}, "quantity": "100", "amount": "1", "charges": [opus]},
            {
                "dimensions": {"model": "haiku"},
                "quantity": "7",
                "amount": "0",
                "charges": [haiku],
                "unpriced": True,
            },
        ],
    }


def test_rows_of_a_price_that_is_no_matrix() -> None:
    answer: Any = rate_line({"price": GRADUATED, "rows": [{"quantity": "600"}, {"quantity": "600"}]})
    assert answer["amount"] == "11"
    assert [row["dimensions"] for row in answer["rows"]] == [{}]


PERCENTAGE = {"model": "percentage", "rate": "1", "fixed_fee": "0.5"}
TIMED = {"model": "timed", "steps": [{"price": "0.6", "per": "60"}]}
BY_TIME = {
    "model": "time_of_use",
    "timezone": "UTC",
    "windows": [{"name": "day", "from": "08:00", "to": "18:00", "price": PER_UNIT}],
}
CAPACITY = {"model": "capacity", "tiers": [{"limits": {"seats": "5", "projects": "5"}, "price": "1"}]}
NOON = "2026-11-27T12:00:00Z"


def test_lines_of_a_price_by_time_are_told() -> None:
    answer = rate_line({"price": BY_TIME, "start": "2026-11-27T17:00:00Z", "end": "2026-11-27T19:00:00Z"})
    assert answer["rows"] == [
        {
            "dimensions": {"time of use": "day"},
            "quantity": "3600",
            "amount": "36",
            "charges": [{"quantity": "3600", "unit_price": "0.01", "amount": "36", "reason": "usage"}],
        },
        {
            "dimensions": {"time of use": "other times"},
            "quantity": "3600",
            "amount": "0",
            "charges": [{"quantity": "3600", "unit_price": "0", "amount": "0", "reason": "unpriced"}],
            "unpriced": True,
        },
    ]


def test_a_charge_in_a_unit_is_told_in_both() -> None:
    price = {"model": "per_unit", "unit_price": "5", "unit": {"name": "credits", "rate": "0.01"}}
    assert rate_line({"price": price, "quantity": "150"}) == {
        "amount": "7.5",
        "charges": [
            {
                "quantity": "150",
                "unit_price": "0.05",
                "amount": "7.5",
                "reason": "usage",
                "in_unit": {"unit": "credits", "unit_price": "5", "amount": "750"},
            }
        ],
    }


def test_rows_of_every_kind() -> None:
    """Each cell of a matrix is asked in its own way."""
    cells = [
        {"when": {"kind": name}, "price": price}
        for name, price in (("card", PERCENTAGE), ("call", TIMED), ("power", BY_TIME), ("token", PER_UNIT))
    ]
    rows = [
        {"dimensions": {"kind": "card"}, "events": [{"amount": "10", "count": 2}]},
        {"dimensions": {"kind": "call"}, "seconds": "90"},
        {"dimensions": {"kind": "power"}, "start": NOON, "quantity": "100"},
        {"dimensions": {"kind": "token"}, "quantity": "100"},
        {"dimensions": {"kind": "call"}, "events": [{"start": NOON, "end": "2026-11-27T12:01:00Z"}]},
    ]
    price = {"model": "matrix", "dimensions": ["kind"], "cells": cells}
    answer: Any = rate_line({"price": price, "rows": rows})
    assert [(row["dimensions"], row["amount"]) for row in answer["rows"]] == [
        ({"kind": "card"}, "1.2"),
        ({"kind": "call"}, "1.5"),
        ({"kind": "power", "time of use": "day"}, "1"),
        ({"kind": "token"}, "1"),
    ]


def test_rows_of_several_meters() -> None:
    row = {"quantities": {"seats": "6"}, "quantities_before": {"projects": "1"}}
    answer: Any = rate_line({"price": CAPACITY, "rows": [row]})
    assert answer["rows"][0]["quantities"] == {"projects": "0", "seats": "6"}
    assert answer["amount"] == "0"


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (
            {"price": PERCENTAGE, "seconds": "5"},
            "seconds is not what this price is rated on: give quantity or events or rows; quantity is missing",
        ),
        ({"price": PERCENTAGE, "events": {}}, "events must be a list, not an object"),
        (
            {"price": PERCENTAGE, "events": [{"amount": "1", "count": "1.5"}, {"seconds": "1"}, 5]},
            (
                "events[0].count must be a whole number from 0 to 1000000000000000; events[1].seconds is not a "
                "known field; events[1] needs amount or quantity, and only one of them; events[2] must be an "
                "object, not a number"
            ),
        ),
        (
            {"price": PERCENTAGE, "quantity": "1", "events": []},
            "events cannot stand beside quantity: give one of them",
        ),
        (
            {"price": TIMED, "quantities": {"a": "1"}},
            (
                "quantities is not what this price is rated on: give quantity or events or seconds or start or "
                "rows; quantity is missing"
            ),
        ),
        ({"price": TIMED, "start": NOON}, "quantity is missing"),
        ({"price": TIMED, "end": NOON}, "start is missing"),
        (
            {"price": TIMED, "start": "noon", "end": NOON},
            "start 'noon' is not an RFC 3339 time with an offset, like 2024-01-31T18:30:00Z",
        ),
        ({"price": TIMED, "events": [{"end": NOON}]}, "events[0].start is missing"),
        (
            {"price": TIMED, "events": [{"start": NOON, "end": "2026-11-27T11:00:00Z"}]},
            "events[0].end must not be before start",
        ),
        ({"price": BY_TIME, "quantity": "5"}, "start is missing: the price depends on the time"),
        (
            {"price": BY_TIME, "events": [{"quantity": "5"}]},
            "start is missing: the price depends on the time",
        ),
        (
            {"price": BY_TIME, "time": NOON, "start": NOON, "quantity": "5"},
            "time cannot stand beside start: give one of them",
        ),
        ({"price": CAPACITY}, "quantities is missing"),
        (
            {"price": CAPACITY, "quantity": "5"},
            "quantity is not what this price is rated on: give quantities or rows; quantities is missing",
        ),
        (
            {"price": CAPACITY, "quantities": []},
            "quantities must be an object of meters and quantities, not a list",
        ),
        (
            {"price": CAPACITY, "quantities": {"seats": "x"}},
            "quantities.seats must be a decimal number, not 'x'",
        ),
        (
            {"price": CAPACITY, "rows": [], "quantities": {}},
            "rows have quantities of their own: leave out quantities",
        ),
    ],
)
def test_what_does_not_fit_the_price(question: dict[str, Any], message: str) -> None:
    assert error_of(question) == ("invalid_input", message)


def test_a_flat_price_needs_no_quantity() -> None:
    assert rate_line({"price": {"model": "flat", "amount": "10"}})["amount"] == "10"
    assert error_of({"price": PER_UNIT}) == ("invalid_input", "quantity is missing")


@pytest.mark.parametrize(
    ("raw", "code", "message"),
    [
        (None, "invalid_input", "must be an object, not null"),
        ([], "invalid_input", "must be an object, not a list"),
        ("{}", "invalid_input", "must be an object, not a string"),
        ({}, "invalid_input", "price is missing"),
        ({"quantity": "1"}, "invalid_input", "price is missing"),
        ({"price": 5, "quantity": "1"}, "invalid_price", "price must be an object, not a number"),
        (
            {"price": PER_UNIT, "quantity": 0.5},
            "invalid_input",
            "quantity must be a decimal string, not a binary float",
        ),
        (
            {"price": PER_UNIT, "quantity": "NaN"},
            "invalid_input",
            "quantity must be a decimal number, not 'NaN'",
        ),
        ({"price": PER_UNIT, "quantity": "1", "colour": 1}, "invalid_input", "colour is not a known field"),
        (
            {"price": PER_UNIT, "events": [{"amount": "10"}]},
            "invalid_input",
            "events is not what this price is rated on: give quantity or rows; quantity is missing",
        ),
        (
            {"price": PER_UNIT, "quantity": "1", "seconds": "10"},
            "invalid_input",
            "seconds is not what this price is rated on: give quantity or rows",
        ),
        (
            {"price": PER_UNIT, "quantities": {"seats": "12"}},
            "invalid_input",
            "quantities is not what this price is rated on: give quantity or rows; quantity is missing",
        ),
        (
            {"price": MATRIX, "rows": [], "quantity": "1"},
            "invalid_input",
            "rows have quantities of their own: leave out quantity and before",
        ),
        ({"price": MATRIX, "rows": {}}, "invalid_input", "rows must be a list, not an object"),
        (
            {"price": MATRIX, "rows": [{"dimensions": {"model": 5}, "quantity": "x", "size": 1}, 7]},
            "invalid_input",
            (
                "rows[0].dimensions.model must be a string, not a number; rows[0].quantity must be a decimal "
                "number, not 'x'; rows[0].size is not a known field; rows[1] must be an object, not a number"
            ),
        ),
        (
            {"price": PER_UNIT, "quantity": "1", "final": 1},
            "invalid_input",
            "final must be true or false, not a number",
        ),
        (
            {"price": {"model": "flat"}, "quantity": "x"},
            "invalid_price",
            "amount is missing; quantity must be a decimal number, not 'x'",
        ),
    ],
)
def test_what_is_refused(raw: object, code: str, message: str) -> None:
    assert error_of(raw) == (code, message)


def test_rows_have_a_limit() -> None:
    rows = [{"dimensions": {"model": "opus"}, "quantity": "1"}] * (ROWS_MAX + 1)
    assert error_of({"price": MATRIX, "rows": rows}) == (
        "invalid_input",
        "rows has 10001 items; at most 10000 are allowed",
    )
    many = {f"d{number}": "x" for number in range(51)}
    assert error_of({"price": MATRIX, "rows": [{"dimensions": many, "quantity": "1"}]}) == (
        "invalid_input",
        "rows[0].dimensions has 51 dimensions; at most 50 are allowed",
    )


def test_too_many_digits_is_an_answer_too() -> None:
    fine = "12345678901234567890.123456789012345678"
    price: dict[str, object] = {"model": "per_unit", "unit_price": fine}
    for _ in range(4):
        price = {
            "model": "matrix",
            "dimensions": ["a"],
            "cells": [{"when": {"a": "1"}, "price": price}],
            "convert": {"operation": "multiply", "factor": fine},
        }
    code, _ = error_of({"price": price, "rows": [{"dimensions": {"a": "1"}, "quantity": fine}]})
    assert code == "too_many_digits"


names = st.sampled_from(
    [
        "price",
        "quantity",
        "before",
        "final",
        "rows",
        "model",
        "amount",
        "unit_price",
        "tiers",
        "up_to",
        "flat_fee",
        "package_price",
        "package_size",
        "round",
        "dimensions",
        "cells",
        "when",
        "default",
        "convert",
        "operation",
        "factor",
        "scale",
        "minimum",
        "maximum",
        "free_units",
        "discount_percent",
        "rate",
        "free_events",
        "free_amount",
        "event_min",
        "event_max",
        "steps",
        "per",
        "increment",
        "from",
        "to",
        "days",
        "windows",
        "timezone",
        "limits",
        "sizes",
        "block_size",
        "max_blocks",
        "policy",
        "unit",
        "name",
        "events",
        "events_before",
        "seconds",
        "time",
        "start",
        "end",
        "quantities",
        "quantities_before",
        "count",
    ]
)
words = st.sampled_from(
    [
        "flat",
        "per_unit",
        "package",
        "graduated",
        "volume",
        "matrix",
        "stair_step",
        "percentage",
        "graduated_percentage",
        "block",
        "capacity",
        "dynamic",
        "time_of_use",
        "timed",
        "UTC",
        "08:00",
        "2026-11-27T12:00:00Z",
        "shared",
        "top_tier",
        "up",
        "down",
        "exact",
        "divide",
        "multiply",
        "none",
        "0",
        "1",
        "-1",
        "0.5",
        "1e400",
        "NaN",
        "eu",
    ]
)
leaves = st.one_of(
    words, st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.text(max_size=5)
)
documents = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(names, st.text(max_size=3)), inner, max_size=6)
    ),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(price=documents, rest=st.dictionaries(names, documents, max_size=4))
def test_any_line_has_an_answer(price: object, rest: dict[str, object]) -> None:
    answer = rate_line({**rest, "price": price})
    assert set(answer) == {"error"} or {"amount", "charges"} <= set(answer)
    json.dumps(answer)


@settings(max_examples=300, deadline=None)
@given(
    changed=st.sampled_from(
        [
            "amount",
            "unit_price",
            "tiers",
            "package_size",
            "cells",
            "dimensions",
            "round",
            "convert",
            "rate",
            "steps",
            "windows",
            "timezone",
            "event_min",
            "free_events",
            "unit",
            "default",
        ]
    ),
    value=documents,
    price=st.sampled_from(
        [
            GRADUATED,
            MATRIX,
            {"model": "flat", "amount": "1"},
            {"model": "package", "package_price": "5", "package_size": "10"},
            PERCENTAGE,
            TIMED,
            BY_TIME,
            CAPACITY,
            {"model": "block", "tiers": [{"block_size": "10", "block_price": "1"}]},
        ]
    ),
    quantity=documents,
)
def test_a_line_with_one_thing_changed_has_an_answer(
    changed: str, value: object, price: dict[str, object], quantity: object
) -> None:
    for answer in (
        rate_line({"price": {**price, changed: value}, "quantity": "15"}),
        rate_line({"price": price, "quantity": quantity}),
        rate_line({"price": price, "rows": value}),
        rate_line({"price": price, "events": value, "start": quantity}),
        rate_line({"price": price, "quantities": value, "end": quantity}),
    ):
        assert set(answer) == {"error"} or {"amount", "charges"} <= set(answer)
