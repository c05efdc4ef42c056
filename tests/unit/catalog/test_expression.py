"""Meter expressions: what is let in, what it means, and that its canonical spelling means the same."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.event_data import Digits
from farthing.catalog.expression import (
    Add,
    Expression,
    Literal,
    Mul,
    Path,
    Sub,
    evaluate,
    expression_text,
    parse_expression,
    parse_path,
    paths,
)
from farthing.kernel.errors import InvalidInput

BEYOND = "which has more than 12 digits before the point or 6 after it"
A, B, C = Path("data.a"), Path("data.b"), Path("data.c")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("data.a", A),
        ("data.usage.input_tokens", Path("data.usage.input_tokens")),
        (" data.a+4*data.b ", Add(A, Mul(Literal(Decimal(4)), B))),
        ("data.a - data.b - data.c", Sub(Sub(A, B), C)),
        ("data.a - (data.b - data.c)", Sub(A, Sub(B, C))),
        ("(data.a + data.b) * 0.5", Mul(Add(A, B), Literal(Decimal("0.5")))),
        ("-data.a", Sub(Literal(Decimal(0)), A)),
        ("-data.a * data.b", Mul(Sub(Literal(Decimal(0)), A), B)),
        ("data.a * -2", Mul(A, Literal(Decimal(-2)))),
        ("data.a - -2", Sub(A, Literal(Decimal(-2)))),
        ("((((data.a))))", A),
    ],
)
def test_trees(text: str, tree: Expression) -> None:
    assert parse_expression(text, "value") == tree


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "ends where a path, a number or an opening parenthesis should stand"),
        ("data", "has 'data' at column 1, which is not a path: paths begin with data., like data.tokens"),
        ("tokens * 2", "has 'tokens * 2' at column 1, which is not a path: paths begin with data., like data.tokens"),
        ("data.a / 2", "has '/ 2' at column 8, which is not supported: use + - * (a price can divide, with convert)"),
        ("data.a +", "ends where a path, a number or an opening parenthesis should stand"),
        ("data.a data.b", "has 'data.b' at column 8 where an operator should stand"),
        ("data.a + * data.b", "has '*' at column 10 where a path, a number or an opening parenthesis should stand"),
        ("(data.a", "ends where a closing parenthesis should stand"),
        ("data.a)", "has ')' at column 7 where an operator should stand"),
        ("data.a; DROP TABLE x", "has '; DROP TABLE x' at column 7, which is not part of an expression"),
        ("data.a['b']", "has \"['b']\" at column 7, which is not part of an expression"),
        ("data.1a", "has 'data.1a' at column 1, which is not a path: paths begin with data., like data.tokens"),
        ("1e5", "has 'e5' at column 2, which is not a path: paths begin with data., like data.tokens"),
        ("5", "names no path of the event, like data.tokens"),
        ("data.a + " + "9" * 39, "has 39 digits; at most 38 are allowed"),
        ("data.a + " + "9" * 13, f"has the number {'9' * 13}, {BEYOND}"),
        ("data.a * 0.0000001", f"has the number 0.0000001, {BEYOND}"),
        ("data." + "a" * 300, "has a path of more than 256 characters"),
    ],
)  # fmt: skip
def test_faults_say_where(text: str, complaint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_expression(text, "value")
    assert refused.value.code == "invalid_expression"
    assert refused.value.message == f"value {complaint}"


def test_size_is_bounded() -> None:
    assert len(paths(parse_expression(" + ".join(f"data.p{i}" for i in range(50)), "value"))) == 50
    parse_expression("(" * 10 + "data.a" + ")" * 10, "value")
    for text in (
        " + ".join(["data.a"] * 51),
        "(" * 11 + "data.a" + ")" * 11,
        "-" * 11 + "data.a",
        "(" * 100_000,
        "-" * 15_000 + "data.a",
        "data.a" + " " * 20_000,
    ):
        with pytest.raises(InvalidInput):
            parse_expression(text, "value")
    for raw in (5, None, ["data.a"], {"path": "data.a"}):
        with pytest.raises(InvalidInput):
            parse_expression(raw, "value")


def test_paths_in_order_each_once() -> None:
    assert paths(parse_expression("data.b * data.a + data.b", "value")) == ("data.b", "data.a")


@pytest.mark.parametrize(
    "raw", ["data", "data.", "data.a b", "a.b", "data.a-b", "data.a\n", "data.ä", 5, None]
)
def test_what_is_no_path(raw: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_path(raw, "dimensions.model")
    assert refused.value.code == "invalid_path"


def test_evaluation() -> None:
    expression = parse_expression("data.input + 4 * data.usage.output - 0.5", "value")
    assert evaluate(expression, {"input": 10, "usage": {"output": "2.25"}}) == Decimal("18.5")
    for data in (
        {"input": 10},
        {"input": 10, "usage": 5},
        {"input": 10, "usage": {"output": None}},
        {"input": True, "usage": {"output": 1}},
        {"input": "ten", "usage": {"output": 1}},
        {"input": Decimal("NaN"), "usage": {"output": 1}},
        {"input": 1.5, "usage": {"output": 1}},
    ):
        assert evaluate(expression, data) is None


def test_a_factor_has_at_most_12_digits_before_and_6_after_the_point() -> None:
    square = parse_expression("data.a * data.a", "value")
    assert evaluate(square, {"a": "123456.654321"}) == Decimal("123456.654321") ** 2
    assert evaluate(square, {"a": 999_999_999}) == 999_999_999**2
    assert evaluate(square, {"a": "0.000001"}) == Decimal("0.000000000001")
    assert evaluate(square, {"a": "0.0000001"}) is None
    zero = parse_expression("data.a * 0", "value")
    assert evaluate(zero, {"a": "-999999999999.999999"}) == 0
    for beyond in ("1000000000000", "-1000000000000", "0.0000001", "999999999999.9999999"):
        assert evaluate(zero, {"a": beyond}) is None


def test_what_an_expression_comes_to_is_a_number_again() -> None:
    square = parse_expression("data.a * data.a", "value")
    assert evaluate(square, {"a": 10**9}) is None
    double = parse_expression("data.a + data.a", "value")
    assert evaluate(double, {"a": "499999999999999999.999999999999"}) == Decimal(
        "999999999999999999.999999999998"
    )
    assert evaluate(double, {"a": "500000000000000000"}) is None
    there_and_back = parse_expression("data.a + data.a - data.a", "value")
    assert evaluate(there_and_back, {"a": "999999999999999999.999999999999"}) is not None
    many = parse_expression("*".join(["data.a"] * 50), "value")
    assert evaluate(many, {"a": "9" * 12}) is None
    assert evaluate(many, {"a": 1}) == 1


numbers = st.decimals(
    min_value=-(10**6), max_value=10**6, allow_nan=False, allow_infinity=False, places=3
).map(lambda number: number or Decimal(0))
leaves = st.one_of(st.sampled_from([A, B, C]), st.builds(Literal, numbers))
trees: st.SearchStrategy[Expression] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Add, inner, inner), st.builds(Sub, inner, inner), st.builds(Mul, inner, inner)
    ),
    max_leaves=9,
).filter(lambda tree: bool(paths(tree)))


@given(trees)
def test_the_canonical_spelling_reads_as_the_same_tree(tree: Expression) -> None:
    assert parse_expression(expression_text(tree), "value") == tree


@given(trees, numbers, numbers, numbers)
def test_evaluation_agrees_with_fractions(tree: Expression, a: Decimal, b: Decimal, c: Decimal) -> None:
    values = {"data.a": Fraction(a), "data.b": Fraction(b), "data.c": Fraction(c)}

    def exactly(part: Expression) -> Fraction:
        match part:
            case Path():
                return values[part.path]
            case Literal():
                return Fraction(part.number)
            case Add():
                return exactly(part.left) + exactly(part.right)
            case Sub():
                return exactly(part.left) - exactly(part.right)
            case Mul():
                return exactly(part.left) * exactly(part.right)

    found = evaluate(tree, {"a": a, "b": format(b, "f"), "c": Digits(c)})
    if found is not None:
        assert Fraction(found) == exactly(tree)
    else:
        assert not fits(exactly(tree), 18, 12) or not all(
            fits(exactly(part), 12, 6) for part in factors(tree)
        )


def fits(number: Fraction, before: int, after: int) -> bool:
    return abs(number) < 10**before and (number * 10**after).denominator == 1


def factors(tree: Expression) -> list[Expression]:
    match tree:
        case Mul():
            return [tree.left, tree.right, *factors(tree.left), *factors(tree.right)]
        case Add() | Sub():
            return [*factors(tree.left), *factors(tree.right)]
        case _:
            return []
