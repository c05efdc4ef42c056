"""The catalog file as values: exact, with the place of every mistake, and bounded."""

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.customers.catalog_file import DEPTH_MAX, FILE_BYTES_MAX, read_catalog_file
from farthing.kernel.errors import FarthingError, InvalidInput, LimitExceeded


def read(text: str, name: str = "catalog.yaml") -> object:
    return read_catalog_file(text.encode(), name)


def test_scalars_are_what_they_look_like_and_never_float() -> None:
    text = """
    price: 0.0000025
    total: 1.10
    exponent: 1e3
    point: .5
    count: 1000
    negative: -4
    text: '1.10'
    norway: no
    date: 2024-01-31
    instant: 2023-11-01T00:00:00Z
    flag: true
    empty:
    tilde: ~
    hexadecimal: 0x1F
    infinite: .inf
    """
    found = read(text)
    assert found == {
        "price": Decimal("0.0000025"),
        "total": Decimal("1.10"),
        "exponent": Decimal(1000),
        "point": Decimal("0.5"),
        "count": 1000,
        "negative": -4,
        "text": "1.10",
        "norway": "no",
        "date": "2024-01-31",
        "instant": "2023-11-01T00:00:00Z",
        "flag": True,
        "empty": None,
        "tilde": None,
        "hexadecimal": "0x1F",
        "infinite": ".inf",
    }
    assert isinstance(found, dict)
    assert str(found["total"]) == "1.10"


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("a: 1\na: 2", "duplicate_key", "line 2 column 1: 'a' stands twice in this object"),
        ("x: {b: 1, b: 2}", "duplicate_key", "line 1 column 11: 'b' stands twice in this object"),
        ("'a': 1\n\"a\": 2", "duplicate_key", "line 2 column 1: 'a' stands twice in this object"),
        (
            "a:\n\tb: 1",
            "malformed_yaml",
            "line 2 column 1: found character '\\t' that cannot start any token",
        ),
        ("a:\n  - b\n - c", "malformed_yaml", "line 3 column 2: expected <block end>"),
        ("a: [1, 2", "malformed_yaml", "line 1 column 9: expected ',' or ']'"),
        ("a: b: c", "malformed_yaml", "line 1 column 5: mapping values are not allowed here"),
        ("a: 'x", "malformed_yaml", "line 1 column 6: found unexpected end of stream"),
        ("a: !!str 5", "malformed_yaml", "line 1 column 4: tags are not supported"),
        (
            "a: !!python/object/apply:os.system [ls]",
            "malformed_yaml",
            "line 1 column 4: tags are not supported",
        ),
        ("a: 1\n---\nb: 2", "malformed_yaml", "line 2 column 1: a second document begins"),
        ("? [a]\n: b", "malformed_yaml", "line 1 column 3: a key must be a text"),
        ('a: 1\nb: "\\0"', "malformed_yaml", "line 2 column 4: the text holds a NUL character"),
        ('"\\ud800": 1', "malformed_yaml", "line 1 column 1: the text holds"),
        ("a: 1\nb: x\x01", "malformed_yaml", "line 2 column 5: the character U+0001 is not allowed"),
        ("b: *a", "malformed_yaml", "line 1 column 4: *a refers to nothing that is complete before it"),
        ("a: &a [*a]", "malformed_yaml", "line 1 column 8: *a refers to nothing that is complete before it"),
        ("[" * (DEPTH_MAX + 1), "too_deep", f"line 1 column {DEPTH_MAX + 1}: the file nests deeper than"),
    ],
)
def test_mistakes_in_yaml_have_a_place(text: str, code: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(text)
    assert refused.value.code == code
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ('{"a": 1,\n "b" 2}', "malformed_json", "line 2 column 6: Expecting ':' delimiter"),
        ('{"a": NaN}', "malformed_json", "NaN is not a JSON number"),
        ('{"key": "acme", "key": "beta"}', "duplicate_key", "'key' stands twice in the object"),
        ('{"a": "\\u0000"}', "malformed_json", "the text '\\x00' holds a NUL character"),
        ('{"a": ["\\ud800"]}', "malformed_json", "the text '\\ud800' holds"),
        ("[" * 100_000, "too_deep", "the file nests deeper than"),
    ],
)
def test_mistakes_in_json(text: str, code: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(text, "Catalog.JSON")
    assert refused.value.code == code
    assert refused.value.message.startswith(message)


def test_json_is_exact_too() -> None:
    found = read('{"a": 0.10, "b": 5, "c": 1e-7, "d": "😀 \\ud83d\\ude00"}', "c.json")
    assert found == {"a": Decimal("0.10"), "b": 5, "c": Decimal("1e-7"), "d": "😀 😀"}


def test_an_alias_shares_and_cannot_explode() -> None:
    assert read("a: &tier {up_to: 5}\nb: [*tier, *tier]") == {
        "a": {"up_to": 5},
        "b": [{"up_to": 5}, {"up_to": 5}],
    }
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
    )
    with pytest.raises(LimitExceeded) as refused:
        read(bomb)
    assert refused.value.code == "too_many_values"


def test_a_long_number_costs_no_time() -> None:
    for name in ("c.yaml", "c.json"):
        assert isinstance(read('{"a": ' + "9" * 100_000 + "}", name), dict)


def test_bytes() -> None:
    assert read_catalog_file(b"\xef\xbb\xbfa: 1", "c.yaml") == {"a": 1}
    assert read_catalog_file(b"", "c.yaml") is None
    with pytest.raises(InvalidInput) as refused:
        read_catalog_file(b"a: 1\nb: \xff", "c.yaml")
    assert refused.value.message == "line 2 column 4: not UTF-8"
    with pytest.raises(LimitExceeded) as limit:
        read_catalog_file(b" " * (FILE_BYTES_MAX + 1), "c.yaml")
    assert limit.value.code == "file_too_large"


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc-: #", max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_json_reads_the_same_as_yaml(value: object) -> None:
    text = json.dumps(value)
    assert read(text, "c.json") == value
    assert read(text, "c.yaml") == value


@given(st.text(max_size=60) | st.text("ab: -[]{}&*!|>'\"%@#,\n\t?", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    for name in ("c.yaml", "c.json"):
        with suppress(FarthingError):
            read_catalog_file(text.encode("utf-8", "surrogatepass"), name)
