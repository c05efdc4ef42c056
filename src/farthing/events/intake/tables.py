"""Tables whose columns are named like an event's attributes, as event lines: Arrow and Parquet.

    id, source, type, subject, time, specversion      text (id may be whole numbers); time may be a timestamp
    data                                              JSON text or a struct, or in its place
    data.model, data.tokens, anything_else            one column for each member of `data`

An empty (NULL) cell leaves its field out. Text stays text, whole numbers, decimals and booleans become
those of JSON, digit for digit; binary floats are refused, because they are not exact. Everything is done
in columns; the lines then go through the same checks as lines that came as NDJSON (`formats.py`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from farthing.events.model import DATA_DEPTH_MAX
from farthing.kernel.errors import Fault, InvalidInput, LimitExceeded

COLUMNS_MAX = 256
"""Columns of a table, members of structs included."""
COLUMN_NAME_LENGTH_MAX = 256

Piece: TypeAlias = "str | pa.Array"
"""A part of every line: the same text in each, or a text for each row (NULL where there is none)."""

_ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "time")
_NO_JSON = "!"
"""Stands in a line where JSON text was none, so that the line is refused."""
_NEEDS_ESCAPE = r'["\\\x00-\x1f]'
_raw_decoder = msgspec.json.Decoder(msgspec.Raw)


def check_columns_of_events(schema: pa.Schema, *, source_needed: bool) -> None:
    """Refuse a table that cannot be events, with everything that is wrong with its columns at once.

    Raises:
        InvalidInput: `float_column`, `unsupported_column`, `invalid_map`, `missing_column`.
        LimitExceeded: `too_many_columns`.
    """
    if _count(schema) > COLUMNS_MAX:
        raise LimitExceeded("too_many_columns", f"the table has more than {COLUMNS_MAX} columns")
    faults = [fault for field in schema for fault in _faults(field, field.name, 1)]
    if any(fault.message.startswith("binary floats") for fault in faults):
        raise InvalidInput.of("float_column", faults)
    if faults:
        raise InvalidInput.of("unsupported_column", faults)
    names = _paths(schema)
    faults = [
        Fault(name, "is there twice") for name in sorted({one for one in names if names.count(one) > 1})
    ]
    faults += [
        Fault(one, f"cannot hold {other}") for one in names for other in names if other.startswith(one + ".")
    ]
    if faults:
        raise InvalidInput.of("invalid_map", faults)
    needed = ("id", "source", "type") if source_needed else ("id", "type")
    if missing := [Fault(name, "is missing") for name in needed if name not in schema.names]:
        raise InvalidInput.of("missing_column", missing)


def lines_of_table(batch: pa.RecordBatch, bytes_max: int, source: str | None = None) -> bytes:
    """One NDJSON line for each row, in order, for `parse_lines` to judge. The columns have been checked.

    source: of the events where the table has no such column.

    Raises LimitExceeded `body_too_large` where the lines would be longer than `bytes_max` in all.
    """
    rows = _Rows(batch.num_rows, bytes_max)
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    # What every line has comes first, so that whatever follows has a comma before it.
    pieces: list[Piece] = ['{"specversion":', *rows.specversion(columns.pop("specversion", None))]
    if source is not None and "source" not in columns:
        pieces.append(f',"source":{json.dumps(source)}')
    members: dict[str, Any] = {}
    for name, column in columns.items():
        if name in _ATTRIBUTES:
            pieces += rows.optional(f',"{name}":', rows.attribute(column), column)
        elif name == "data":
            as_json = rows.value(column) if pa.types.is_struct(column.type) else rows.json_text(column)
            pieces += rows.optional(',"data":', as_json, column)
        else:
            *outer, last = name.removeprefix("data.").split(".")
            place = members
            for one in outer:
                place = place.setdefault(one, {})
            place[last] = column
    if members:
        pieces += [',"data":', *rows.tree(members)]
    return rows.joined([*pieces, "}\n"])


def _count(fields: Any) -> int:
    return sum(1 + (_count(field.type.fields) if pa.types.is_struct(field.type) else 0) for field in fields)


def _paths(schema: pa.Schema) -> list[str]:
    """Where each column stands in the event."""
    return [
        name if name in _ATTRIBUTES or name == "data" or name.startswith("data.") else f"data.{name}"
        for name in schema.names
    ]


def _faults(field: pa.Field, path: str, depth: int) -> list[Fault]:
    kind = field.type
    if depth > DATA_DEPTH_MAX:
        return [Fault(path, f"nests deeper than {DATA_DEPTH_MAX} levels")]
    if len(field.name) > COLUMN_NAME_LENGTH_MAX:
        return [Fault(path[:40], f"has a name of more than {COLUMN_NAME_LENGTH_MAX} characters")]
    if pa.types.is_struct(kind):
        faults = [
            fault for member in kind.fields for fault in _faults(member, f"{path}.{member.name}", depth + 1)
        ]
        names = [member.name for member in kind.fields]
        faults += [Fault(f"{path}.{name}", "is there twice") for name in set(names) if names.count(name) > 1]
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        faults = _faults(kind.value_field, f"{path}[]", depth + 1)
    elif pa.types.is_floating(kind):
        faults = [Fault(path, "binary floats are not exact; store the column as decimal, int or text")]
    elif not _is_plain(kind):
        faults = [Fault(path, f"has the type {kind}, which cannot stand in an event")]
    else:
        faults = []
    if path in _ATTRIBUTES and not faults and not _suits(path, kind):
        faults = [Fault(path, f"has the type {kind} and must be text")]
    if path == "data" and not faults and not (pa.types.is_struct(kind) or _is_text(kind)):
        faults = [Fault(path, f"has the type {kind} and must be JSON text or a struct")]
    return faults


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type) and not pa.types.is_dictionary(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_plain(kind: pa.DataType) -> bool:
    checks = (pa.types.is_integer, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)
    moments = (pa.types.is_timestamp, pa.types.is_date32)
    return _is_text(kind) or any(check(kind) for check in (*checks, *moments))


def _suits(attribute: str, kind: pa.DataType) -> bool:
    more = {"time": pa.types.is_timestamp, "id": pa.types.is_integer}.get(attribute, pa.types.is_null)
    return _is_text(kind) or bool(more(kind)) or bool(pa.types.is_null(kind))


@dataclass(slots=True)
class _Rows:
    """The rows of a table, on their way to text."""

    count: int
    bytes_max: int

    def specversion(self, column: pa.Array | None) -> list[Piece]:
        if column is None:
            return ['"1.0"']
        return [pc.fill_null(self.array(self.value(column)), '"1.0"')]

    def attribute(self, column: pa.Array) -> list[Piece]:
        if pa.types.is_integer(column.type):
            return ['"', column.cast(pa.string()), '"']
        return self.value(column)

    def tree(self, members: dict[str, Any]) -> list[Piece]:
        """An object that every row has."""
        pieces: list[Piece] = []
        for name, what in members.items():
            key = ("," if pieces else "") + json.dumps(name) + ":"
            if isinstance(what, dict):
                pieces += [key, *self.tree(what)]
            elif pieces or not what.null_count:
                pieces += self.optional(key, self.value(what), what)
            else:
                # Nothing stands for sure before the next member, so its comma is taken off again.
                rest = {one: members[one] for one in [*members][[*members].index(name) :]}
                return ["{", self._without_first(self._listed(rest)), "}"]
        return ["{", *pieces, "}"]

    def _listed(self, members: dict[str, Any]) -> list[Piece]:
        """`,"name":value` for each member that a row has."""
        pieces: list[Piece] = []
        for name, what in members.items():
            key = f",{json.dumps(name)}:"
            pieces += (
                [key, *self.tree(what)]
                if isinstance(what, dict)
                else self.optional(key, self.value(what), what)
            )
        return pieces

    def _without_first(self, pieces: Sequence[Piece]) -> pa.Array:
        return pc.replace_substring(self.array(pieces), ",", "", max_replacements=1)

    def optional(self, key: str, value: list[Piece], column: pa.Array) -> list[Piece]:
        """Key and value, or nothing in the rows where the column has nothing."""
        if not column.null_count:
            return [key, *value]
        return [pc.fill_null(self.array([key, *value]), "")]

    def value(self, column: pa.Array) -> list[Piece]:
        """The column as JSON."""
        kind = column.type
        if _is_text(kind):
            return ['"', _escaped(self._text(column)), '"']
        if pa.types.is_struct(kind):
            members = dict(zip((field.name for field in kind.fields), column.flatten(), strict=True))
            there = pc.if_else(column.is_valid(), "", pa.scalar(None, pa.string()))
            return [there, *self.tree(members)] if members else [there, "{}"]
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            return self._list(column)
        if pa.types.is_null(kind):
            return [pa.nulls(self.count, pa.string())]
        if pa.types.is_decimal(kind):
            return [_decimals(column)]
        if pa.types.is_timestamp(kind):  # Digits beyond microseconds are dropped.
            moments = column.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.string())
            return ['"', pc.replace_substring(moments, " ", "T"), '"']
        text = column.cast(pa.string())
        return ['"', text, '"'] if pa.types.is_date32(kind) else [text]

    def _list(self, column: pa.Array) -> list[Piece]:
        values = column.values
        inner = _Rows(len(values), self.bytes_max)
        each = pc.fill_null(inner.array(inner.value(values)), "null")
        made = pa.LargeListArray if pa.types.is_large_list(column.type) else pa.ListArray
        there = pc.if_else(column.is_valid(), "[", pa.scalar(None, pa.string()))
        # What a list that is not there points at does not matter: its row has nothing.
        return [there, pc.binary_join(made.from_arrays(column.offsets, each), ","), "]"]

    def json_text(self, column: pa.Array) -> list[Piece]:
        """JSON text as it is; where it is none, something that lets the line be refused."""
        texts = self._text(column)
        for space in ("\n", "\r"):  # Outside of strings they are white space, inside they must not be.
            texts = pc.replace_substring(texts, space, " ")
        present = texts.drop_null() if texts.null_count else texts
        joined = self._concatenated([present, "\n"], len(present))
        try:
            # One text could hold two values and still look like one member of the line.
            if len(_raw_decoder.decode_lines(joined)) == len(present):
                return [texts]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        bad = pa.array([text is not None and not _is_json(text) for text in texts.to_pylist()])
        return [pc.if_else(bad, _NO_JSON, texts)]

    def _text(self, column: pa.Array) -> pa.Array:
        """Text of any kind as plain text. Dictionaries and views may say one long text many times: not for us."""
        if pa.types.is_dictionary(column.type):
            lengths = pc.take(pc.binary_length(column.dictionary.cast(pa.large_string())), column.indices)
            self._check(pc.sum(lengths).as_py() or 0)
            column = column.dictionary_decode()
        elif pa.types.is_string_view(column.type):
            self._check(sum(len(one) for one in column.cast(pa.binary_view()).to_pylist() if one is not None))
        return column.cast(pa.string())

    def array(self, pieces: Sequence[Piece]) -> pa.Array:
        """The pieces of each row put together; NULL where one of them is."""
        size = 0
        for piece in pieces:
            size += len(piece) * self.count if isinstance(piece, str) else _size(piece)
        self._check(size)
        if all(isinstance(piece, str) for piece in pieces):
            return pa.repeat("".join(piece for piece in pieces if isinstance(piece, str)), self.count)
        return pc.binary_join_element_wise(*pieces, "")

    def joined(self, pieces: Sequence[Piece]) -> bytes:
        """All rows behind one another."""
        return self._concatenated(pieces, self.count)

    def _concatenated(self, pieces: Sequence[Piece], count: int) -> bytes:
        if not count:
            return b""
        array = _Rows(count, self.bytes_max).array(pieces)
        _, offsets, text = array.buffers()
        first, last = array.offset, array.offset + len(array)
        width = memoryview(offsets).cast("i")
        return bytes(memoryview(text)[width[first] : width[last]]) if text is not None else b""

    def _check(self, size: int) -> None:
        if size > self.bytes_max:
            raise LimitExceeded(
                "body_too_large", f"the events are larger than {self.bytes_max} bytes as lines of JSON"
            )


def _size(texts: pa.Array) -> int:
    return int(pc.sum(pc.binary_length(texts)).as_py() or 0)


def _escaped(texts: pa.Array) -> pa.Array:
    """As they stand between quotation marks in JSON."""
    if not pc.any(pc.match_substring_regex(texts, _NEEDS_ESCAPE)).as_py():
        return texts
    texts = pc.replace_substring(pc.replace_substring(texts, "\\", "\\\\"), '"', '\\"')
    for code in range(0x20):
        if pc.any(pc.match_substring(texts, chr(code))).as_py():
            texts = pc.replace_substring(texts, chr(code), json.dumps(chr(code))[1:-1])
    return texts


def _decimals(column: pa.Array) -> pa.Array:
    texts = column.cast(pa.string())
    small = pc.match_substring(texts, "E")  # Arrow writes small ones with an exponent.
    if not pc.any(small).as_py():
        return texts
    spelt = [None if number is None else f"{number:f}" for number in column.to_pylist()]
    return pa.array(spelt, pa.string())


def _is_json(text: str) -> bool:
    try:
        _raw_decoder.decode(text)
    except RecursionError:
        return True  # The line will be found too deep.
    except (msgspec.DecodeError, UnicodeError):
        return False
    return True
