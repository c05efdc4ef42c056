"""The catalog file as plain values: YAML, or JSON where the name says so.

Read by hand from the parser's events, because a catalog is money: numbers stay exact (never float), a
key that stands twice is an error with its place, `no` and `2024-01-31` are the texts they look like
(YAML 1.2), and an alias (`*name`) shares what it names without growing the file beyond a bound.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from farthing.kernel.errors import InvalidInput, LimitExceeded

FILE_BYTES_MAX = 16 * 1024 * 1024
DEPTH_MAX = 32
VALUES_MAX = 4_000_000
"""Values of all kinds in one file, those that an alias stands for counted again."""

_INT_DIGITS_MAX = 40
_NULL = ("", "~", "null", "Null", "NULL")
_FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+\Z", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?\Z", re.ASCII)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSTORABLE_COMPLAINT = "holds a NUL character or half a surrogate pair"
_ESCAPED = re.compile(r"\\u(0000|[dD][89a-fA-F])")
"""How these stand in JSON; only a file with one of them is looked through."""


def read_catalog_file(content: bytes, name: str) -> object:
    """The values of a file; `name` ending in `.json` means JSON, anything else YAML (of which JSON is a part).

    Raises:
        InvalidInput: `malformed_yaml` or `malformed_json` with line and column, `duplicate_key`,
            `invalid_utf8`, `too_deep`.
        LimitExceeded: `file_too_large`, `too_many_values`.
    """
    if len(content) > FILE_BYTES_MAX:
        raise LimitExceeded("file_too_large", f"the catalog file is larger than {FILE_BYTES_MAX} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _place(content[: error.start].decode("utf-8-sig", "replace"))
        raise InvalidInput("invalid_utf8", f"line {line} column {column}: not UTF-8") from None
    return _read_json(text) if name.lower().endswith(".json") else _read_yaml(text)


def _place(before: str) -> tuple[int, int]:
    """Line and column of what comes after this text, from one."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


# ---- JSON


def _read_json(text: str) -> object:
    try:
        value = json.loads(
            text,
            parse_float=Decimal,
            parse_int=_integer,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise InvalidInput("malformed_json", f"{place}: {error.msg}") from None
    except RecursionError:
        raise InvalidInput("too_deep", f"the file nests deeper than {DEPTH_MAX} levels") from None
    if _ESCAPED.search(text):
        _check_texts(value)
    return value


def _check_texts(value: object) -> None:
    if isinstance(value, dict):
        for key, member in value.items():
            _check_texts(key)
            _check_texts(member)
    elif isinstance(value, list):
        for member in value:
            _check_texts(member)
    elif isinstance(value, str) and _UNSTORABLE.search(value):
        raise InvalidInput("malformed_json", f"the text {value[:40]!a} {_UNSTORABLE_COMPLAINT}")


def _integer(text: str) -> int | Decimal:
    # A longer one is refused by its digits later; as Decimal it is read in linear time.
    return int(text) if len(text) <= _INT_DIGITS_MAX else Decimal(text)


def _refuse_constant(name: str) -> object:
    raise InvalidInput("malformed_json", f"{name} is not a JSON number")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                shown = json.dumps(dict(pairs), default=str)[:80]
                raise InvalidInput("duplicate_key", f"{key[:80]!r} stands twice in the object {shown}")
            seen.add(key)
    return found


# ---- YAML


def _read_yaml(text: str) -> object:
    try:
        # The parser in Python, also where one in C is installed: that one reads YAML 1.1 and refuses
        # some good files. A large catalog is read a hundred times faster as JSON.
        return _Builder(YAML(typ="safe", pure=True).parse(StringIO(text))).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1} column {mark.column + 1}: " if mark else ""
        problem = " ".join(str(part) for part in (error.problem, error.context) if part)
        raise InvalidInput("malformed_yaml", f"{where}{problem}") from None
    except ReaderError as error:
        line, column = _place(text[: error.position])
        complaint = f"line {line} column {column}: the character U+{error.character:04X} is not allowed"
        raise InvalidInput("malformed_yaml", complaint) from None


@dataclass(frozen=True, slots=True)
class _Anchored:
    """What `&name` named, and how many values it holds."""

    value: object
    size: int


class _Builder:
    """From events to values, every event once."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._anchored: dict[str, _Anchored] = {}
        self._size = 0

    def document(self) -> object:
        value: object = None
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _refused(event, "a second document begins; a catalog file holds one")
            elif isinstance(event, NodeEvent):
                value = self._node(event, 1)
        return value

    def _node(self, event: Event, depth: int) -> object:
        if isinstance(event, AliasEvent):
            return self._shared(event)
        if getattr(event, "tag", None) not in (None, "!"):
            raise _refused(event, "tags are not supported")
        if depth > DEPTH_MAX:
            raise InvalidInput("too_deep", f"{_at(event)}: the file nests deeper than {DEPTH_MAX} levels")
        before = self._size
        self._count(1)
        value: object
        if isinstance(event, ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, SequenceStartEvent):
            value = self._sequence(depth)
        else:
            assert isinstance(event, MappingStartEvent)
            value = self._mapping(depth)
        if event.anchor is not None:
            # Known only now that it is complete, so that nothing can contain itself.
            self._anchored[event.anchor] = _Anchored(value, self._size - before)
        return value

    def _sequence(self, depth: int) -> list[object]:
        items: list[object] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise _refused(event, "a key must be a text")
            key = _text(event)
            if key in found:
                raise InvalidInput("duplicate_key", f"{_at(event)}: {key[:80]!r} stands twice in this object")
            found[key] = self._node(next(self._events), depth + 1)
        return found

    def _shared(self, event: AliasEvent) -> object:
        anchored = self._anchored.get(event.anchor)
        if anchored is None:
            raise _refused(event, f"*{event.anchor} refers to nothing that is complete before it")
        self._count(anchored.size)
        return anchored.value

    def _count(self, values: int) -> None:
        self._size += values
        if self._size > VALUES_MAX:
            raise LimitExceeded("too_many_values", f"the catalog file holds more than {VALUES_MAX} values")


def _text(event: ScalarEvent) -> str:
    text: str = event.value
    if _UNSTORABLE.search(text):
        # JSON writes one character as a pair of escapes, which YAML reads as two halves.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if "\x00" in text or "\ufffd" in text:
            raise _refused(event, f"the text {_UNSTORABLE_COMPLAINT}")
    return text


def _scalar(event: ScalarEvent) -> object:
    text = _text(event)
    if event.style is not None or event.tag == "!":  # quoted, or a block of text
        return text
    if text in _NULL:
        return None
    if text in _FLAGS:
        return _FLAGS[text]
    if _INTEGER.match(text):
        return _integer(text)
    if _DECIMAL.match(text):
        return Decimal(text)
    return text


def _refused(event: Event, complaint: str) -> InvalidInput:
    return InvalidInput("malformed_yaml", f"{_at(event)}: {complaint}")


def _at(event: Event) -> str:
    return f"line {event.start_mark.line + 1} column {event.start_mark.column + 1}"
