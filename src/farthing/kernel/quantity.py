"""Exact decimal numbers: how they are read, computed with and written.

Every number on a path to money is a `decimal.Decimal` that came in through `parse_decimal` and is
computed with inside `exact()`, where a result that would lose a digit raises instead of rounding.
(The interpreter's default context keeps 28 digits and drops the rest in silence.)
"""

import re
from decimal import (
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    getcontext,
    setcontext,
)

from farthing.kernel.errors import Fault, InvalidInput

DIGITS_MAX = 38
"""Most significant digits a number may have; one NUMERIC or DECIMAL(38) column holds it."""

TEXT_LENGTH_MAX = 64
EXPONENT_MIN = -18
EXPONENT_MAX = 20

ZERO = Decimal(0)
ONE = Decimal(1)

# 200 digits hold any product of five 38-digit numbers, so Inexact is only ever raised by a
# division that does not end, and those belong in kernel.rounding.
_EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?\Z", re.ASCII)


class exact:
    """Arithmetic in which losing a digit is an error, for the length of a `with` block.

    It is `localcontext(_EXACT)` without the copy: nothing changes the context, and rating enters it for
    every quantity.
    """

    __slots__ = ("_outer",)

    def __enter__(self) -> None:
        self._outer = getcontext()
        setcontext(_EXACT)

    def __exit__(self, *raised: object) -> None:
        setcontext(self._outer)


def parse_decimal(raw: object, path: str, *, code: str = "invalid_number") -> Decimal:
    """Read a decimal string, an int or a Decimal; refuse what is not a plain finite number.

    JSON numbers must reach this function as text or Decimal, never as float.

    Raises:
        InvalidInput: with `code` and `path`, for anything but a number of at most 38 digits whose
            exponent lies within -18..+20: floats, booleans, NaN, Infinity, 1e1000000, "1_000", "".
    """
    number, complaint = _read(raw)
    if complaint:
        raise InvalidInput.of(code, [Fault(path, complaint)])
    return number


def _read(raw: object) -> tuple[Decimal, str]:
    if isinstance(raw, bool) or not isinstance(raw, str | int | Decimal):
        return ZERO, f"must be a decimal string, not {_kind(raw)}"
    if isinstance(raw, int) and raw.bit_length() > 128:
        return ZERO, f"has more than {DIGITS_MAX} digits"
    text = str(raw)
    if len(text) > TEXT_LENGTH_MAX:
        return ZERO, f"has more than {DIGITS_MAX} digits"
    if not _NUMBER.match(text):
        return ZERO, f"must be a decimal number, not {text[:40]!r}"
    number = Decimal(text)
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int), "the pattern admits finite numbers only"
    if len(digits) > DIGITS_MAX:
        return ZERO, f"has {len(digits)} digits; at most {DIGITS_MAX} are allowed"
    if number and not (exponent >= EXPONENT_MIN and number.adjusted() <= EXPONENT_MAX):
        return ZERO, (
            f"is out of range: at most {-EXPONENT_MIN} digits after the point "
            f"and {EXPONENT_MAX + 1} before it are allowed"
        )
    if not number:
        return ZERO, ""
    return number, ""


def _kind(raw: object) -> str:
    if raw is None:
        return "null"
    return {bool: "a boolean", float: "a binary float", list: "a list", dict: "an object"}.get(
        type(raw), type(raw).__name__
    )


def plain(number: Decimal) -> str:
    """The number as text without an exponent, every digit kept: `0.0000025`, `47.6088950`, `1000`."""
    number = number or abs(number)
    text = str(number)
    return format(number, "f") if "E" in text else text


def trimmed(number: Decimal) -> str:
    """Like `plain`, without trailing zeros after the point: `47.608895`, `12.5`, `1000`."""
    text = plain(number)
    return text.rstrip("0").rstrip(".") if text[-1] == "0" and "." in text else text
