"""The law of numbers and the law of text: what an event's data says, to the last digit."""

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.event_data import (
    Digits,
    at_path,
    exact_factor,
    exact_number,
    number_of,
    read_data,
    text_of,
)

LARGEST = "999999999999999999.999999999999"


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("7", "7"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("1.5E+2", "150"),
        ("25e-1", "2.5"),
        ("1e-12", "0.000000000001"),
        ("0e999999999999999999", "0"),
        (LARGEST, LARGEST),
        ("-" + LARGEST, "-" + LARGEST),
        ("1.0000000000000000000000000000000000000000", "1"),
        ("0.30000000000000004", None),
        ("1e-13", None),
        ("1e18", None),
        ("999999999999999999.9999999999999", None),
        ("1e400", None),
        ("1e-400", None),
        ("1e1000000000", None),
        ("1e99999999999999999999999", None),
        ("1e-99999999999999999999999", None),
    ],
)
def test_json_numbers_count_by_value(written: str, number: str | None) -> None:
    data = read_data(f'{{"n": {written}}}')
    assert number_of(at_path(data, "data.n")) == (None if number is None else Decimal(number))


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("12.5", "12.5"),
        ("-12.5", "-12.5"),
        ("007", "7"),
        (LARGEST, LARGEST),
        ("1.500000000000", "1.5"),
        ("1.5000000000000", None),
        ("0000000000000000001", None),
        ("1e3", None),
        ("+5", None),
        (" 5", None),
        ("5\n", None),
        ("5.", None),
        (".5", None),
        ("1_000", None),
        ("1,000", None),
        ("NaN", None),
        ("Infinity", None),
        ("٣", None),
        ("", None),
        ("-", None),
    ],
)
def test_strings_count_by_their_spelling(written: str, number: str | None) -> None:
    assert number_of(written) == (None if number is None else Decimal(number))


def test_what_is_no_number() -> None:
    for raw in (
        None,
        True,
        False,
        [],
        [1],
        {},
        {"n": 1},
        1.5,
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
    ):
        assert number_of(raw) is None


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_number_is_taken_whole_or_not_at_all(number: Decimal) -> None:
    for taken, before, after in ((exact_number(number), 18, 12), (exact_factor(number), 12, 6)):
        scaled = Fraction(number) * 10**after
        fits = abs(number) < Decimal(10) ** before and scaled.denominator == 1
        assert taken == (number if fits else None)


def test_text() -> None:
    data = read_data(
        r"""{"s": "x\u0000\"é", "price": 1.10, "whole": 1.0, "power": 1E2, "zero": -0, "yes": true, "no": false,
             "null": null, "list": [ 1.50, "a b", null, {"k" : 1e2} ], "object": { "b": 1, "a": [ ] }}"""
    )
    texts = {name: text_of(at_path(data, f"data.{name}")) for name in [*dict(data), "absent"]}
    assert texts == {
        "s": 'x\0"é',
        "price": "1.10",
        "whole": "1.0",
        "power": "1E2",
        "zero": "-0",
        "yes": "true",
        "no": "false",
        "null": None,
        "list": '[1.50,"a b",null,{"k":1e2}]',
        "object": '{"b":1,"a":[]}',
        "absent": None,
    }


def test_of_equal_keys_the_first_counts() -> None:
    data = read_data(r'{"a": 1, "b": 2, "a": 3, "\u0061": 4, "c": {"d": 5, "d": 6}}')
    assert [at_path(data, path) for path in ("data.a", "data.b", "data.c.d")] == ["1", "2", "5"]
    assert text_of(data) == '{"a":1,"b":2,"c":{"d":5}}'


def test_paths_end_where_objects_end() -> None:
    data = {"a": {"b": [{"c": Digits("1")}]}, "s": "text"}
    assert at_path(data, "data.a.b") == [{"c": "1"}]
    for path in ("data.a.b.c", "data.s.t", "data.x", "data.x.y", "data.A"):
        assert at_path(data, path) is None
    for nothing in (None, "text", [], Digits("5")):
        assert at_path(nothing, "data.a") is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_nested_text_is_json_without_white_space(value: object) -> None:
    for indent in (None, 2):
        text = text_of(read_data(json.dumps([value], indent=indent)))
        assert text == json.dumps([value], ensure_ascii=False, separators=(",", ":"))
