"""How rows of a table become events: `farthing ingest --map`.

    id=#,type='llm.completion',subject='acme',time=TIMESTAMP,data.input_tokens=ContextTokens

`field=column` takes a column, `field='text'` a constant, `id=#` the file's name and the row's number.
A cell that is spelt like a plain decimal becomes a JSON number, any other a JSON string; an empty
cell leaves its field out.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from farthing.events.store.meter_sql import Bound, identifier
from farthing.kernel.errors import Fault, InvalidInput

FIELDS_MAX = 100
SPEC_LENGTH_MAX = 10_000

_ATTRIBUTES = ("id", "source", "type", "subject", "time")
_PAIR = re.compile(
    r"\s*(?P<field>id|source|type|subject|time|data(?:\.[A-Za-z_][A-Za-z0-9_]*)+)\s*="
    r"\s*(?:'(?P<constant>(?:[^']|'')*)'|(?P<number>\#)|(?P<column>[^,'#\s][^,']*?))\s*(?:,|\Z)"
)
_PLAIN_DECIMAL = r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,12})?"


@dataclass(frozen=True, slots=True)
class Taken:
    """Where one field of the event comes from: a column, a constant, or (neither) the row's number."""

    column: str | None = None
    constant: str | None = None


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which field of the event comes from where."""

    fields: dict[str, Taken]

    def source(self, file_name: str) -> str:
        """The source of events that name none: the file, and what the map fixes about whom and what they are about.

        Row 7 of one file mapped to two subjects is two events; mapped twice to one subject it is one.
        """
        fixed = [
            f";{field}={taken.constant}"
            for field in ("type", "subject")
            if (taken := self.fields.get(field)) is not None and taken.constant is not None
        ]
        return "file:" + file_name + "".join(fixed)


def parse_mapping(spec: str) -> Mapping:
    """Read a map. Raises InvalidInput `invalid_map` that quotes the place."""
    fields: dict[str, Taken] = {}
    position = 0
    if len(spec) > SPEC_LENGTH_MAX:
        raise InvalidInput.of("invalid_map", [Fault("map", f"is longer than {SPEC_LENGTH_MAX} characters")])
    while position < len(spec):
        pair = _PAIR.match(spec, position)
        if pair is None:
            raise InvalidInput.of(
                "invalid_map",
                [
                    Fault(
                        "map",
                        f"is not field=column, field='text' or id=# at {spec[position : position + 40]!r}",
                    )
                ],
            )
        field = pair["field"]
        if field in fields:
            raise InvalidInput.of("invalid_map", [Fault("map", f"names {field} twice")])
        if pair["number"] and field != "id":
            raise InvalidInput.of(
                "invalid_map", [Fault("map", f"gives # to {field}; only id can be a row's number")]
            )
        constant = pair["constant"]
        fields[field] = Taken(
            column=pair["column"], constant=None if constant is None else constant.replace("''", "'")
        )
        position = pair.end()
    missing = [field for field in ("id", "type") if field not in fields]
    faults = [Fault("map", f"does not say where {field} comes from") for field in missing]
    if len(fields) > FIELDS_MAX:
        faults.append(Fault("map", f"has more than {FIELDS_MAX} fields"))
    faults += [
        Fault("map", f"gives both {field} and {other}")
        for field in fields
        for other in fields
        if other.startswith(field + ".")
    ]
    if faults:
        raise InvalidInput.of("invalid_map", faults)
    return Mapping(fields)


def check_columns(mapping: Mapping, columns: Collection[str]) -> None:
    """Refuse a map that names columns which the file does not have."""
    faults = [
        Fault(
            "map",
            f"takes {field} from {taken.column!r}, but the columns are {', '.join(sorted(columns))[:500]}",
        )
        for field, taken in mapping.fields.items()
        if taken.column is not None and taken.column not in columns
    ]
    if faults:
        raise InvalidInput.of("unknown_column", faults)


def lines_sql(mapping: Mapping, file_name: str, source: str, bound: Bound) -> str:
    """One NDJSON event line, newline included, from a row of `cells` (text columns and `row_number`)."""
    parts: list[str] = []
    for attribute in _ATTRIBUTES:
        taken = mapping.fields.get(attribute)
        if attribute == "source" and taken is None:
            taken = Taken(constant=source)
        if taken is not None:
            parts.append(
                _member_sql(attribute, _attribute_sql(attribute, taken, file_name, bound), bound, bool(parts))
            )
    tree: dict[str, object] = {}
    for field, taken in mapping.fields.items():
        if field.startswith("data."):
            *outer, last = field.split(".")[1:]
            place = tree
            for name in outer:
                place = place.setdefault(name, {})  # type: ignore[assignment]
            place[last] = taken
    parts.append(bound.bind(',"data":') + " || " + _object_sql(tree, bound))
    return f"'{{' || {' || '.join(parts)} || '}}' || chr(10)"


def _attribute_sql(attribute: str, taken: Taken, file_name: str, bound: Bound) -> str:
    if taken.constant is not None:
        return f"to_json({bound.bind(taken.constant)}::VARCHAR)"
    if taken.column is None:
        return f"to_json({bound.bind(file_name)} || '#' || row_number)"
    column = identifier(taken.column)
    if attribute != "time":
        return f"to_json(nullif({column}, ''))"
    # Times without an offset are UTC. What is no time at all is passed on as it is, for the door to name.
    moment = f"TRY_CAST({column} AS TIMESTAMPTZ)"
    return f"to_json(coalesce(strftime({moment}, '%Y-%m-%dT%H:%M:%S.%fZ'), nullif({column}, '')))"


def _member_sql(name: str, value: str, bound: Bound, follows: bool) -> str:
    """`"name":value`, or nothing where the value is NULL."""
    key = bound.bind(("," if follows else "") + json.dumps(name) + ":")
    return f"coalesce({key} || {value}, '')"


def _object_sql(tree: dict[str, object], bound: Bound) -> str:
    members = []
    for name, what in tree.items():
        key = bound.bind(json.dumps(name) + ":")
        if isinstance(what, dict):
            members.append(f"{key} || {_object_sql(what, bound)}")
        else:
            assert isinstance(what, Taken)
            members.append(f"{key} || {_cell_sql(what, bound)}")
    if not members:
        return "'{}'"
    # Members that are NULL (empty cells) are left out.
    present = f"list_filter([{', '.join(members)}]::VARCHAR[], lambda member: member IS NOT NULL)"
    return f"'{{' || coalesce(array_to_string({present}, ','), '') || '}}'"


def _cell_sql(taken: Taken, bound: Bound) -> str:
    if taken.constant is not None:
        return f"to_json({bound.bind(taken.constant)}::VARCHAR)"
    assert taken.column is not None, "only id can be a row's number"
    cell = identifier(taken.column)
    plain = f"regexp_full_match({cell}, '{_PLAIN_DECIMAL}')"
    return f"CASE WHEN {cell} = '' THEN NULL WHEN {plain} THEN {cell} ELSE to_json({cell})::VARCHAR END"
