"""Reading a JSON request body: bounded, strict, exact.

The standard library's parser is used because it lets us keep every digit (numbers with a fraction
become Decimal), refuse a key that stands twice, and say where the text is broken. The rooms' own
parsers then decide what the values mean.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from farthing.kernel.errors import Fault, InvalidInput, LimitExceeded

JSON_BYTES_MAX = 1024 * 1024
JSON_DEPTH_MAX = 32
JSON_VALUES_MAX = 50_000
"""Values of all kinds in one body."""
FAULTS_MAX = 100

_INT_DIGITS_MAX = 40
"""A longer integer becomes a Decimal, which is read in linear time; `parse_decimal` refuses it."""

# A string that never closes runs to the end of the text, so that the scan stays linear.
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_JSON_MEDIA_TYPE = re.compile(r"application/(json|[a-z0-9.+-]+\+json)\Z")


@lru_cache(256)
def check_media_type(content_type: str) -> None:
    """Raises `unsupported_media_type` unless the header names JSON (in UTF-8)."""
    media_type, _, parameters = content_type.partition(";")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters, re.IGNORECASE)
    if not _JSON_MEDIA_TYPE.match(media_type.strip().lower()):
        raise InvalidInput("unsupported_media_type", "the content-type must be application/json")
    if charset and charset[1].lower() not in ("utf-8", "us-ascii"):
        raise InvalidInput("unsupported_media_type", "JSON is read as UTF-8")


def read_json(body: bytes) -> object:
    """The value that a JSON text stands for; numbers with a fraction are Decimal, never float.

    Raises:
        InvalidInput: `malformed_json`, `invalid_utf8`, `too_deep`, `duplicate_key`, `invalid_value`.
        LimitExceeded: `body_too_large`, `too_many_values`.
    """
    if len(body) > JSON_BYTES_MAX:
        raise LimitExceeded("body_too_large", f"the body is larger than {JSON_BYTES_MAX} bytes")
    _check_depth(body)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput("invalid_utf8", f"the body is not UTF-8 at byte {error.start}") from None
    try:
        value = json.loads(
            text,
            parse_float=Decimal,
            parse_int=_integer,
            parse_constant=_NotANumber,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as error:
        raise InvalidInput(
            "malformed_json",
            f"the body is not valid JSON: {error.msg} at line {error.lineno} column {error.colno}",
        ) from None
    _check_values(value)
    return value


@dataclass(frozen=True, slots=True)
class _NotANumber:
    """NaN or Infinity, which the parser reads although JSON has no such thing."""

    name: str


class _Repeating(dict[str, object]):
    """An object in whose text a key stands twice; `again` names it."""

    again: str


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= _INT_DIGITS_MAX else Decimal(text)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    repeating = _Repeating(found)
    repeating.again = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return repeating


def _check_depth(body: bytes) -> None:
    """Refuse deep nesting before any parser recurses into it."""
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(body):
        first = token[0][:1]
        if first in b"[{":
            depth += 1
            if depth > JSON_DEPTH_MAX:
                raise InvalidInput(
                    "too_deep", f"the body nests deeper than {JSON_DEPTH_MAX} levels at byte {token.start()}"
                )
        elif first in b"]}":
            depth -= 1


def _check_values(value: object) -> None:
    """All values that JSON's grammar lets through and that no room can hold, each with its path."""
    faults: list[Fault] = []
    doubled: list[Fault] = []
    for count, (path, found) in enumerate(_walk(value, ""), start=1):
        if count > JSON_VALUES_MAX:
            raise LimitExceeded("too_many_values", f"the body holds more than {JSON_VALUES_MAX} values")
        if isinstance(found, _NotANumber):
            faults.append(Fault(path, f"is {found.name}, which is not a JSON number"))
        elif isinstance(found, str) and _UNSTORABLE.search(found):
            faults.append(Fault(path, "holds a NUL character or half a surrogate pair"))
        elif isinstance(found, _Repeating):
            doubled.append(Fault(_join(path, found.again), "stands twice in the same object"))
        if len(faults) + len(doubled) >= FAULTS_MAX:
            break
    if doubled:
        raise InvalidInput.of("duplicate_key", doubled)
    if faults:
        raise InvalidInput.of("invalid_value", faults)


def _walk(value: object, path: str) -> Iterator[tuple[str, object]]:
    yield path, value
    if isinstance(value, dict):
        for key, member in value.items():
            if _UNSTORABLE.search(key):
                yield path, key
            else:
                yield from _walk(member, _join(path, key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _walk(member, f"{path}[{index}]")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
