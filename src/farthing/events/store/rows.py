"""Rows of a table as canonical event lines, in columns (DuckDB)."""

import json

import pyarrow as pa

from farthing.events.mapping import Mapping, Taken
from farthing.events.store.duckdb import EventStore
from farthing.events.store.meter_sql import Bound, identifier

_ATTRIBUTES = ("id", "source", "type", "subject", "time")
_PLAIN_DECIMAL = r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,12})?"


def event_lines(
    store: EventStore, cells: pa.Table, mapping: Mapping, file_name: str, source: str
) -> list[str]:
    """One NDJSON event line, newline included, for each row of `cells` (text columns and `row_number`)."""
    bound = Bound()
    line = _line_sql(mapping, file_name, source, bound)
    cursor = store.cursor()
    try:
        cursor.register("cells", cells)
        rows = cursor.execute(f"SELECT {line} FROM cells ORDER BY row_number", bound.values).fetchall()
    finally:
        cursor.close()
    return [line for (line,) in rows]


def _line_sql(mapping: Mapping, file_name: str, source: str, bound: Bound) -> str:
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
