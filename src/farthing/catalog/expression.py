"""What a meter takes from each event: a path into `data`, or arithmetic over several.

    data.input_tokens + 4 * data.output_tokens

    sum    =  term { ("+" | "-") term }
    term   =  factor { "*" factor }
    factor =  "-" factor | "(" sum ")" | number | path
    path   =  "data" { "." name }          name: a letter or "_", then letters, digits, "_"

The text becomes a small frozen tree. Stores compile the tree to SQL with bound names; `evaluate`
here says what is right, under the law of numbers in `event_data.py`. There is no division: quotients
do not end, and a price can convert.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias, assert_never

from farthing.catalog.event_data import (
    FACTOR_DIGITS_AFTER_POINT_MAX,
    FACTOR_DIGITS_BEFORE_POINT_MAX,
    at_path,
    exact_factor,
    exact_number,
    number_of,
)
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.quantity import ZERO, exact, parse_decimal, trimmed
from farthing.kernel.reading import kind, shown

NODES_MAX = 100
DEPTH_MAX = 10
"""Parentheses and signs inside one another."""
PATH_LENGTH_MAX = 256
TEXT_LENGTH_MAX = 20_000
"""The longest text that 50 paths and all that stands between them can take."""

_BEYOND = (
    f"which has more than {FACTOR_DIGITS_BEFORE_POINT_MAX} digits before the point "
    f"or {FACTOR_DIGITS_AFTER_POINT_MAX} after it"
)
_NAMES = r"data(?:\.[A-Za-z_][A-Za-z0-9_]*)+"
_PATH = re.compile(_NAMES + r"\Z", re.ASCII)
_TOKEN = re.compile(rf"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<path>{_NAMES})|(?P<sign>[-+*()]))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Path:
    """A place in the event: `data.usage.input_tokens`."""

    path: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A number written in the expression."""

    number: Decimal


@dataclass(frozen=True, slots=True)
class Add:
    """left + right"""

    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Sub:
    """left - right; a minus sign before a path is 0 - path."""

    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Mul:
    """left * right"""

    left: "Expression"
    right: "Expression"


Expression: TypeAlias = Path | Literal | Add | Sub | Mul


def parse_path(raw: object, path: str) -> str:
    """A path into the event's data, `data.model`. Raises InvalidInput `invalid_path`."""
    if isinstance(raw, str) and len(raw) <= PATH_LENGTH_MAX and _PATH.match(raw):
        return raw
    complaint = f"{shown(raw)} is not a path like data.model (letters, digits and _ after each point)"
    raise InvalidInput.of("invalid_path", [Fault(path, complaint)])


def parse_expression(raw: object, path: str) -> Expression:
    """The tree of an expression. Raises InvalidInput `invalid_expression`, with the column that is wrong."""
    if not isinstance(raw, str):
        raise _refused(path, f"must be a path or an expression, not {kind(raw)}")
    if len(raw) > TEXT_LENGTH_MAX:
        raise _refused(path, f"is longer than {TEXT_LENGTH_MAX} characters")
    expression = _Parser(raw, path).whole()
    if not paths(expression):
        raise _refused(path, "names no path of the event, like data.tokens")
    return expression


def expression_text(expression: Expression) -> str:
    """The expression in its one canonical spelling; parsing it gives the same tree."""
    match expression:
        case Path():
            return expression.path
        case Literal():
            return trimmed(expression.number)
        case Add() | Sub():
            sign = "+" if isinstance(expression, Add) else "-"
            right = expression_text(expression.right)
            if isinstance(expression.right, Add | Sub):
                right = f"({right})"
            return f"{expression_text(expression.left)} {sign} {right}"
        case Mul():
            left, right = expression_text(expression.left), expression_text(expression.right)
            if isinstance(expression.left, Add | Sub):
                left = f"({left})"
            if isinstance(expression.right, Add | Sub | Mul):
                right = f"({right})"
            return f"{left} * {right}"
        case _:
            assert_never(expression)


def paths(expression: Expression) -> tuple[str, ...]:
    """Every path the expression reads, each once, in order of appearance."""
    return tuple(dict.fromkeys(_paths(expression)))


def evaluate(expression: Expression, data: object) -> Decimal | None:
    """The value for one event, exact, or None where the event is unusable (the law in `event_data.py`)."""
    if isinstance(expression, Path):  # Nothing is computed.
        return number_of(at_path(data, expression.path))
    with exact():
        value = _evaluate(expression, data)
        return None if value is None else exact_number(value)


def _evaluate(expression: Expression, data: object) -> Decimal | None:
    if isinstance(expression, Literal):
        return expression.number
    if isinstance(expression, Path):
        return number_of(at_path(data, expression.path))
    left, right = _evaluate(expression.left, data), _evaluate(expression.right, data)
    if left is None or right is None:
        return None
    match expression:
        case Add():
            return left + right
        case Sub():
            return left - right
        case Mul():
            left, right = exact_factor(left), exact_factor(right)
            return None if left is None or right is None else left * right
        case _:
            assert_never(expression)


def _paths(expression: Expression) -> Iterator[str]:
    if isinstance(expression, Path):
        yield expression.path
    elif not isinstance(expression, Literal):
        yield from _paths(expression.left)
        yield from _paths(expression.right)


def _refused(path: str, complaint: str) -> InvalidInput:
    return InvalidInput.of("invalid_expression", [Fault(path, complaint)])


class _Parser:
    """Recursive descent, one symbol ahead, with the nodes and the depth counted."""

    def __init__(self, text: str, path: str) -> None:
        self._text = text
        self._path = path
        self._position = 0
        self._nodes = 0
        self._depth = 0
        self._kind = self._symbol = ""
        self._advance()

    def whole(self) -> Expression:
        expression = self._sum()
        if self._kind:
            raise self._unexpected("an operator")
        return expression

    def _sum(self) -> Expression:
        left = self._term()
        while self._symbol in ("+", "-"):
            operator = Add if self._symbol == "+" else Sub
            self._advance()
            left = self._node(operator(left, self._term()))
        return left

    def _term(self) -> Expression:
        left = self._factor()
        while self._symbol == "*":
            self._advance()
            left = self._node(Mul(left, self._factor()))
        return left

    def _factor(self) -> Expression:
        found_kind, symbol = self._kind, self._symbol
        if found_kind == "number":
            number = parse_decimal(symbol, self._path, code="invalid_expression")
            if exact_factor(number) is None:
                raise _refused(self._path, f"has the number {symbol}, {_BEYOND}")
            self._advance()
            return self._node(Literal(number))
        if found_kind == "path":
            if len(symbol) > PATH_LENGTH_MAX:
                raise _refused(self._path, f"has a path of more than {PATH_LENGTH_MAX} characters")
            self._advance()
            return self._node(Path(symbol))
        if symbol in ("-", "("):
            return self._inside(symbol)
        raise self._unexpected("a path, a number or an opening parenthesis")

    def _inside(self, symbol: str) -> Expression:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _refused(self._path, f"nests deeper than {DEPTH_MAX} levels")
        self._advance()
        if symbol == "-":
            inner = self._negated(self._factor())
        else:
            inner = self._sum()
            if self._symbol != ")":
                raise self._unexpected("a closing parenthesis")
            self._advance()
        self._depth -= 1
        return inner

    def _negated(self, inner: Expression) -> Expression:
        if isinstance(inner, Literal):
            return Literal(-inner.number if inner.number else ZERO)
        return self._node(Sub(self._node(Literal(ZERO)), inner))

    def _node(self, node: Expression) -> Expression:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise _refused(self._path, f"has more than {NODES_MAX} parts")
        return node

    def _advance(self) -> None:
        matched = _TOKEN.match(self._text, self._position)
        if matched is None:
            rest = self._text[self._position :].strip()
            if rest:
                column = len(self._text) - len(self._text[self._position :].lstrip()) + 1
                raise _refused(self._path, f"has {rest[:20]!r} at column {column}, which is {_stray(rest)}")
            self._kind = self._symbol = ""
            self._position = len(self._text) + 1
            return
        self._kind = str(matched.lastgroup)
        self._symbol = matched[self._kind]
        self._position = matched.end()

    def _unexpected(self, wanted: str) -> InvalidInput:
        if not self._kind:
            return _refused(self._path, f"ends where {wanted} should stand")
        place = f"{self._symbol[:20]!r} at column {self._position - len(self._symbol) + 1}"
        return _refused(self._path, f"has {place} where {wanted} should stand")


def _stray(rest: str) -> str:
    if rest[0] in "/%^":
        return "not supported: use + - * (a price can divide, with convert)"
    if rest[0].isalpha() or rest[0] == "_":
        return "not a path: paths begin with data., like data.tokens"
    return "not part of an expression"
