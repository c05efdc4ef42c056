"""How rows of a table become events: `farthing ingest --map`.

    id=#,type='llm.completion',subject='acme',time=TIMESTAMP,data.input_tokens=ContextTokens

`field=column` takes a column, `field='text'` a constant, `id=#` the file's name and the row's number.
A cell that is spelt like a plain decimal becomes a JSON number, any other a JSON string; an empty
cell leaves its field out. Rows are numbered as they stand in the file, broken ones included, so that
mending one does not give the others new ids.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from farthing.kernel.errors import Fault, InvalidInput

FIELDS_MAX = 100
SPEC_LENGTH_MAX = 10_000

_PAIR = re.compile(
    r"\s*(?P<field>id|source|type|subject|time|data(?:\.[A-Za-z_][A-Za-z0-9_]*)+)\s*="
    r"\s*(?:'(?P<constant>(?:[^']|'')*)'|(?P<number>\#)|(?P<column>[^,'#\s][^,']*?))\s*(?:,|\Z)"
)


@dataclass(frozen=True, slots=True)
class Taken:
    """Where one field of the event comes from: a column, a constant, or (neither) the row's number."""

    column: str | None = None
    constant: str | None = None


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which field of the event comes from where."""

    fields: dict[str, Taken]

    def columns(self) -> list[str]:
        """The columns that it takes something from, each once."""
        return list(dict.fromkeys(taken.column for taken in self.fields.values() if taken.column is not None))

    def refuse_nesting(self) -> None:
        """Refuse a field that stands inside another: `data.a` cannot be a value and hold `data.a.b`."""
        faults = [
            Fault("map", f"gives both {field} and {other}")
            for field in self.fields
            for other in self.fields
            if other.startswith(field + ".")
        ]
        if faults:
            raise InvalidInput.of("invalid_map", faults)

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
    if faults:
        raise InvalidInput.of("invalid_map", faults)
    mapping = Mapping(fields)
    mapping.refuse_nesting()
    return mapping


def check_columns(mapping: Mapping, columns: Sequence[str]) -> None:
    """Refuse a map that names columns which the file does not have, or has twice."""
    faults = []
    for field, taken in mapping.fields.items():
        if taken.column is None or columns.count(taken.column) == 1:
            continue
        complaint = f"but the columns are {', '.join(sorted(columns))[:500]}"
        if taken.column in columns:
            complaint = "and two columns are called that"
        faults.append(Fault("map", f"takes {field} from {taken.column!r}, {complaint}"))
    if faults:
        raise InvalidInput.of("unknown_column", faults)
