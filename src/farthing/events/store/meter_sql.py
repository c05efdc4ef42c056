"""A meter's filter and value as DuckDB expressions over the typed columns of a segment.

Values from a definition are bound as parameters; names become quoted identifiers.
"""

from decimal import Decimal
from typing import assert_never

from farthing.catalog.expression import Add, Expression, Literal, Mul, Path, Sub
from farthing.catalog.model import Condition, Meter, Operator
from farthing.events.sealing.typed_columns import number_column, text_column

EXACT_NUMBER = "DECIMAL(38,12)"
WHOLE_NUMBER = "DECIMAL(18,0)"
_VALUE = "DECIMAL(30,12)"
"""18 digits before and 12 after the point: the sum of a hundred million of them is still exact."""
_FACTOR = "DECIMAL(18,6)"
"""Each side of a multiplication has at most 12 digits before and 6 after the point, so that the
product is exact in 38 digits. A value beyond that is unusable, never rounded."""
_WIDE_FACTOR = "DECIMAL(38,6)"
"""DuckDB multiplies two numbers of 18 digits in 18 digits: one of them has to be wide."""

# A number that fits ends in six zeros of its twelve digits after the point.
_ENDING_IN_ZEROS = f"regexp_extract(x::{EXACT_NUMBER}::VARCHAR, '^(.*)000000$', 1)"
MACROS = (
    # A cast that lost a digit gives NULL instead.
    f"CREATE MACRO exact_factor(x) AS CASE WHEN TRY_CAST(x AS {_FACTOR}) = x THEN TRY_CAST(x AS {_FACTOR}) END",
    # The same with `x` written once: a macro repeats what it is given, so products of products of products
    # would grow without end.
    f"CREATE MACRO exact_factor_once(x) AS TRY_CAST({_ENDING_IN_ZEROS} AS {_FACTOR})",
)
"""Made on every connection that runs these expressions."""


class Bound:
    """Parameters of a statement under construction, numbered, so that their order in the text is free."""

    def __init__(self) -> None:
        self.values: list[object] = []

    def bind(self, value: object) -> str:
        """Remember a value and give its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"


def identifier(name: str) -> str:
    """A quoted name."""
    return '"' + name.replace('"', '""') + '"'


def value_sql(expression: Expression, bound: Bound) -> str:
    """The value of an event, exact, NULL where it cannot be computed."""
    if isinstance(expression, Path):
        return _part_sql(expression, bound)
    return f"TRY_CAST({_part_sql(expression, bound)} AS {_VALUE})"


def _part_sql(expression: Expression, bound: Bound) -> str:
    match expression:
        case Path():
            return f"{identifier(number_column(expression.path))}::{EXACT_NUMBER}"
        case Literal():
            return f"{bound.bind(expression.number)}::{EXACT_NUMBER}"
        case Add():
            return f"({_part_sql(expression.left, bound)} + {_part_sql(expression.right, bound)})"
        case Sub():
            return f"({_part_sql(expression.left, bound)} - {_part_sql(expression.right, bound)})"
        case Mul():
            left, right = _factor_sql(expression.left, bound), _factor_sql(expression.right, bound)
            return f"({left}::{_WIDE_FACTOR} * {right})::{EXACT_NUMBER}"
        case _:
            assert_never(expression)


def _factor_sql(expression: Expression, bound: Bound) -> str:
    match expression:
        case Literal():  # The catalog lets no other literals in.
            return f"{bound.bind(expression.number)}::{_FACTOR}"
        case Path():
            return f"exact_factor({_part_sql(expression, bound)})"
        case _:
            return f"exact_factor_once({_part_sql(expression, bound)})"


def filter_sql(meter: Meter, bound: Bound) -> str:
    """Whether an event counts for the meter at all; never NULL."""
    if not meter.filter:
        return "TRUE"
    return " AND ".join(f"coalesce({_condition_sql(condition, bound)}, FALSE)" for condition in meter.filter)


def _condition_sql(condition: Condition, bound: Bound) -> str:
    text = identifier(text_column(condition.field))
    number = identifier(number_column(condition.field))
    match condition.op:
        case Operator.EXISTS:
            return f"({text} IS NOT NULL) = {bound.bind(condition.value)}"
        case Operator.EQ:
            return f"{text} = {bound.bind(condition.value)}"
        case Operator.NE:
            return f"{text} IS DISTINCT FROM {bound.bind(condition.value)}"
        case Operator.IN:
            return f"list_contains({bound.bind(_texts(condition.value))}, {text})"
        case Operator.NOT_IN:
            return f"NOT coalesce(list_contains({bound.bind(_texts(condition.value))}, {text}), FALSE)"
        case Operator.GT:
            return f"{number} > {bound.bind(_number(condition.value))}"
        case Operator.GTE:
            return f"{number} >= {bound.bind(_number(condition.value))}"
        case Operator.LT:
            return f"{number} < {bound.bind(_number(condition.value))}"
        case Operator.LTE:
            return f"{number} <= {bound.bind(_number(condition.value))}"
        case _:
            assert_never(condition.op)


def _texts(value: object) -> list[str]:
    assert isinstance(value, tuple)
    return list(value)


def _number(value: object) -> Decimal:
    assert isinstance(value, Decimal)
    return value
