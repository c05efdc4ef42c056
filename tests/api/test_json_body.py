"""The JSON body reader: exact, bounded, and precise about what is wrong where."""

import contextlib
import json
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.api.json_body import JSON_BYTES_MAX, JSON_DEPTH_MAX, check_media_type, read_json
from farthing.kernel.errors import FarthingError, InvalidInput


def refused(body: bytes) -> FarthingError:
    with pytest.raises(FarthingError) as caught:
        read_json(body)
    return caught.value


def test_numbers_keep_every_digit():
    assert read_json(b'{"a": 0.1, "b": 1.10, "c": 7, "d": 1e2}') == {
        "a": Decimal("0.1"),
        "b": Decimal("1.10"),
        "c": 7,
        "d": Decimal("1E+2"),
    }
    assert str(read_json(b"1.10")) == "1.10"
    assert read_json(b"12345678901234567890123456789012345678") == 12345678901234567890123456789012345678


def test_a_huge_exponent_and_a_long_integer_cost_nothing():
    started = time.perf_counter()
    assert read_json(b"1e1000000") == Decimal("1e1000000")
    digits = b"9" * 1_000_000
    assert isinstance(read_json(digits), Decimal)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("body", "code", "place"),
    [
        (b"", "malformed_json", "line 1 column 1"),
        (b'{"a":1', "malformed_json", "line 1 column 7"),
        (b'{"a":1}x', "malformed_json", "line 1 column 8"),
        (b'{"a":\n01}', "malformed_json", "line 2 column 2"),
        (b"{'a':1}", "malformed_json", "line 1 column 2"),
        (b"\xef\xbb\xbf{}", "malformed_json", "line 1 column 1"),
        (b'{"a":"\xff"}', "invalid_utf8", "byte 6"),
        (b'{"a":"\xed\xa0\x80"}', "invalid_utf8", "byte 6"),
        (b'{"a":NaN}', "invalid_value", "a is NaN"),
        (b'{"a":[1,-Infinity]}', "invalid_value", "a[1] is -Infinity"),
        (b'{"a":{"b":"\\u0000"}}', "invalid_value", "a.b holds a NUL"),
        (b'["\\ud800"]', "invalid_value", "[0] holds"),
        (b'{"\\ud800":1}', "invalid_value", "surrogate"),
        (b'{"a":1,"b":{"c":1,"c":2}}', "duplicate_key", "b.c stands twice"),
        (b"[" * 1000 + b"]" * 1000, "too_deep", "byte 32"),
        (b"[" * 100_000, "too_deep", "byte 32"),
        (b'{"a":' * 1000 + b"1" + b"}" * 1000, "too_deep", "byte 160"),
        (b" " * (JSON_BYTES_MAX + 1), "body_too_large", "1048576"),
        (b"[" + b"0," * 60_000 + b"0]", "too_many_values", "50000"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(body, code, place):
    error = refused(body)
    assert error.code == code
    assert place in error.message


def test_all_bad_values_are_named_at_once():
    error = refused(b'{"a":NaN,"b":[Infinity],"c":1}')
    assert [fault.path for fault in error.faults] == ["a", "b[0]"]


def test_brackets_inside_strings_are_not_depth():
    text = json.dumps({"a": "[" * 1000 + '\\"' + "{" * 1000})
    assert read_json(text.encode()) == json.loads(text)


def test_depth_up_to_the_limit_is_read():
    assert read_json(b"[" * JSON_DEPTH_MAX + b"]" * JSON_DEPTH_MAX) is not None
    assert refused(b"[" * (JSON_DEPTH_MAX + 1) + b"]" * (JSON_DEPTH_MAX + 1)).code == "too_deep"


@pytest.mark.parametrize("body", [b'"' + b'\\"' * 400_000, b'"' + b'\\"' * 400_000 + b"\\", b'"\\' * 300_000])
def test_strings_that_never_close_are_scanned_in_linear_time(body):
    started = time.perf_counter()
    refused(body)
    assert time.perf_counter() - started < 2


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="ascii", exclude_characters="\x00")), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_JSON)
def test_every_json_value_comes_through_unchanged(value):
    found = read_json(json.dumps(value).encode())
    assert found == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_code(body):
    with contextlib.suppress(FarthingError):
        read_json(body)


@pytest.mark.parametrize(
    "header",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/merge-patch+json",
    ],
)
def test_json_media_types(header):
    check_media_type(header)


@pytest.mark.parametrize(
    "header", ["", "text/plain", "application/xml", "application/jsonx", "application/json; charset=utf-16"]
)
def test_other_media_types_are_refused(header):
    with pytest.raises(InvalidInput) as caught:
        check_media_type(header)
    assert caught.value.code == "unsupported_media_type"
