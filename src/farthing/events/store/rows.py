"""Rows of a table, as a map takes them, put together as event lines by DuckDB."""

import json

import pyarrow as pa

from farthing.events.intake.mapping import Mapping, Taken
from farthing.events.store.duckdb import EventStore
from farthing.events.store.meter_sql import Bound

_ATTRIBUTES = ("id", "source", "type", "subject", "time")
_PLAIN_DECIMAL = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"


def event_lines(
    store: EventStore, cells: pa.Table, row_numbers: pa.Array, mapping: Mapping, file_name: str, source: str
) -> bytes:
    """One NDJSON event line for each row of `cells` (text columns), in order."""
    # Columns go by their place: what a file calls them never becomes part of a statement.
    places = {name: f"cell_{place}" for place, name in enumerate(cells.column_names)}
    table = cells.rename_columns(list(places.values())).append_column("row_number", row_numbers)
    bound = Bound()
    line = _Line(mapping, places, file_name, source, bound).sql()
    cursor = store.cursor()
    try:
        cursor.register("cells", table)
        rows = cursor.execute(f"SELECT {line} FROM cells ORDER BY row_number", bound.values).fetchall()
    finally:
        cursor.close()
    return "".join(line for (line,) in rows).encode()


class _Line:
    """The statement's one column, under construction."""

    def __init__(
        self, mapping: Mapping, places: dict[str, str], file_name: str, source: str, bound: Bound
    ) -> None:
        self._fields = mapping.fields
        self._places = places
        self._file_name = file_name
        self._source = source
        self._bound = bound

    def sql(self) -> str:
        parts: list[str] = []
        for attribute in _ATTRIBUTES:
            taken = self._fields.get(attribute)
            if attribute == "source" and taken is None:
                taken = Taken(constant=self._source)
            if taken is not None:
                parts.append(self._member(attribute, self._attribute(attribute, taken), bool(parts)))
        parts.append(self._bound.bind(',"data":') + " || " + self._object(self._data()))
        return f"'{{' || {' || '.join(parts)} || '}}' || chr(10)"

    def _data(self) -> dict[str, object]:
        """The fields of `data` as a tree; `parse_mapping` lets no field stand inside another."""
        tree: dict[str, object] = {}
        for field, taken in self._fields.items():
            if field.startswith("data."):
                *outer, last = field.split(".")[1:]
                place = tree
                for name in outer:
                    place = place.setdefault(name, {})  # type: ignore[assignment]
                place[last] = taken
        return tree

    def _attribute(self, attribute: str, taken: Taken) -> str:
        if taken.constant is not None:
            return f"to_json({self._bound.bind(taken.constant)}::VARCHAR)"
        if taken.column is None:
            return f"to_json({self._bound.bind(self._file_name)} || '#' || row_number)"
        cell = self._places[taken.column]
        if attribute != "time":
            return f"to_json(nullif({cell}, ''))"
        # Times without an offset are UTC. What is no time at all is passed on as it is, for the door to name.
        moment = f"TRY_CAST({cell} AS TIMESTAMPTZ)"
        return f"to_json(coalesce(strftime({moment}, '%Y-%m-%dT%H:%M:%S.%fZ'), nullif({cell}, '')))"

    def _member(self, name: str, value: str, follows: bool) -> str:
        """`"name":value`, or nothing where the value is NULL."""
        key = self._bound.bind(("," if follows else "") + json.dumps(name) + ":")
        return f"coalesce({key} || {value}, '')"

    def _object(self, tree: dict[str, object]) -> str:
        members = []
        for name, what in tree.items():
            key = self._bound.bind(json.dumps(name) + ":")
            if isinstance(what, dict):
                members.append(f"{key} || {self._object(what)}")
            else:
                assert isinstance(what, Taken)
                members.append(f"{key} || {self._cell(what)}")
        if not members:
            return "'{}'"
        # Members that are NULL (empty cells) are left out.
        present = f"list_filter([{', '.join(members)}]::VARCHAR[], lambda member: member IS NOT NULL)"
        return f"'{{' || coalesce(array_to_string({present}, ','), '') || '}}'"

    def _cell(self, taken: Taken) -> str:
        if taken.constant is not None:
            return f"to_json({self._bound.bind(taken.constant)}::VARCHAR)"
        assert taken.column is not None, "only id can be a row's number"
        cell = self._places[taken.column]
        plain = f"regexp_full_match({cell}, '{_PLAIN_DECIMAL}')"
        return f"CASE WHEN {cell} = '' THEN NULL WHEN {plain} THEN {cell} ELSE to_json({cell})::VARCHAR END"
