"""What stands in an event's `data`, exactly: the law of numbers and the law of text.

Numbers. A number taken from an event has at most 18 digits before and 12 after the point. It is a
JSON number, by its value (`1e3` is 1000, `1.50` is 1.5), or a JSON string that is spelt as plain
digits within those bounds (`"12.5"`; not `"1e3"`, `" 5"`, `"+5"`). Each side of a multiplication has
at most 12 digits before and 6 after the point, and what an expression comes to is a number under the
first bound again. Whatever lies beyond makes the event unusable for the meter; it is never rounded.

Text. Dimensions, distinct values and comparisons for equality read text: a string's content, a
number's digits as they are written (`1.10` is not `1.1`), `true`, `false`, and an object or a list as
JSON without white space. null and what is absent have no text.

Of equal keys in one object the first counts.
"""

import json
import re
from collections.abc import Mapping
from decimal import Context, Decimal, Inexact, InvalidOperation

from farthing.kernel.quantity import ZERO

NUMBER_DIGITS_BEFORE_POINT_MAX = 18
NUMBER_DIGITS_AFTER_POINT_MAX = 12
FACTOR_DIGITS_BEFORE_POINT_MAX = 12
FACTOR_DIGITS_AFTER_POINT_MAX = 6

# Quantizing in these contexts raises where a digit would be lost on either side of the point.
_NUMBER = Context(
    prec=NUMBER_DIGITS_BEFORE_POINT_MAX + NUMBER_DIGITS_AFTER_POINT_MAX, traps=[Inexact, InvalidOperation]
)
_FACTOR = Context(
    prec=FACTOR_DIGITS_BEFORE_POINT_MAX + FACTOR_DIGITS_AFTER_POINT_MAX, traps=[Inexact, InvalidOperation]
)
_NUMBER_STEP = Decimal(1).scaleb(-NUMBER_DIGITS_AFTER_POINT_MAX)
_FACTOR_STEP = Decimal(1).scaleb(-FACTOR_DIGITS_AFTER_POINT_MAX)

_PLAIN_DIGITS = re.compile(
    rf"-?[0-9]{{1,{NUMBER_DIGITS_BEFORE_POINT_MAX}}}(\.[0-9]{{1,{NUMBER_DIGITS_AFTER_POINT_MAX}}})?", re.ASCII
)


class Digits(str):
    """A JSON number as its digits; told apart from a JSON string by its type."""

    __slots__ = ()


def read_data(text: str) -> object:
    """JSON with every number as the digits it was written with, and the first of equal keys."""
    return _decoder.decode(text)


def _first_of_equal(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for key, value in pairs:
        members.setdefault(key, value)
    return members


_decoder = json.JSONDecoder(parse_float=Digits, parse_int=Digits, object_pairs_hook=_first_of_equal)


def at_path(data: object, path: str) -> object:
    """What stands at `data.a.b` of an event with this data, None where nothing does."""
    found = data
    for name in path.split(".")[1:]:
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def number_of(raw: object) -> Decimal | None:
    """The number that a value of an event is, None where it is none that can be used."""
    if isinstance(raw, bool) or not isinstance(raw, str | int | Decimal):
        return None
    if isinstance(raw, str) and not isinstance(raw, Digits) and not _PLAIN_DIGITS.fullmatch(raw):
        return None
    try:
        return exact_number(Decimal(raw))
    except InvalidOperation:  # an exponent of more than 18 digits
        return None


def exact_number(number: Decimal) -> Decimal | None:
    """The same number where it has at most 18 digits before and 12 after the point."""
    return _fitting(number, _NUMBER_STEP, _NUMBER)


def exact_factor(number: Decimal) -> Decimal | None:
    """The same number where it has at most 12 digits before and 6 after the point."""
    return _fitting(number, _FACTOR_STEP, _FACTOR)


def _fitting(number: Decimal, step: Decimal, bounds: Context) -> Decimal | None:
    try:
        fitting = number.quantize(step, context=bounds)
    except (Inexact, InvalidOperation):
        return None
    return fitting or ZERO if fitting.is_finite() else None


def text_of(raw: object) -> str | None:
    """The text that a value of an event (as `read_data` gives it) is told apart by, None where it has none."""
    match raw:
        case None:
            return None
        case str():
            return str(raw)
        case _:
            return _compact(raw)


def _compact(raw: object) -> str:
    """JSON without white space, numbers as they were written."""
    match raw:
        case Digits():
            return str(raw)
        case dict():
            return "{" + ",".join(f"{_quoted(key)}:{_compact(value)}" for key, value in raw.items()) + "}"
        case list():
            return "[" + ",".join(_compact(value) for value in raw) + "]"
        case _:
            return _quoted(raw)


def _quoted(raw: object) -> str:
    """A string, true, false or null as JSON."""
    return json.dumps(raw, ensure_ascii=False)
