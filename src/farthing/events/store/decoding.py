"""From lines of the log to a decoded batch: columns of the envelope, hashes and typed columns. Only SQL (DuckDB).

JSON numbers are read by DuckDB through binary floating point, which keeps 15 digits, and spelt anew. An
event whose number or text would change by that is found by its spelling and read again exactly
(`_read_again`); no float stands between an event and a quantity.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from farthing.catalog.event_data import (
    NUMBER_DIGITS_AFTER_POINT_MAX,
    NUMBER_DIGITS_BEFORE_POINT_MAX,
    at_path,
    number_of,
    read_data,
    text_of,
)
from farthing.catalog.expression import paths
from farthing.catalog.model import Aggregation, Meter
from farthing.events.erasing.erased import RESERVED_SOURCE
from farthing.events.sealing.typed_columns import (
    TypedColumns,
    number_column,
    spelling_column,
    text_column,
    value_paths,
    whole_column,
)
from farthing.events.store.correcting import find_corrections
from farthing.events.store.duckdb import Lateness
from farthing.events.store.identity_sql import HASHES, OWN_TIME, SEGMENT_FILES
from farthing.events.store.meter_sql import (
    EXACT_NUMBER,
    WHOLE_NUMBER,
    Bound,
    filter_sql,
    identifier,
    value_sql,
)

_PLAIN_NUMBER = r"-?[0-9]{1,18}(\.[0-9]{1,12})?"
# How a JSON number begins (behind a colon, comma, bracket or white space), and how one goes on that does
# not survive a double: with more than 15 digits, more than 12 after the point, or an exponent.
_BEGINS = r"[:,\[\s]-?[0-9]"
_LONG = r"[0-9.]{15}|[0-9]*\.[0-9]{13}|[0-9.]*[eE]"
_LONG_NUMBER = rf"{_BEGINS}({_LONG})"
# One that is spelt otherwise once it was read: also with zeros at its end, very small, or -0.
_RESPELT_NUMBER = rf"{_BEGINS}({_LONG}|[0-9]*\.[0-9]+0([^0-9]|$)|\.0000)|[:,\[\s]-0([^0-9.]|$)"
# The text that DuckDB gives for a number that is not a plain whole one, and for an object or a list.
_FRACTION_TEXT = r"-?[0-9]*\.[0-9]+(e[-+]?[0-9]+)?|-?[0-9]+e[-+]?[0-9]+|0"
_NESTED_TEXT = r"^[\[{]"
# A text that is neither of these by its first character: no digit, point, sign or opening bracket.
_PLAIN_TEXT = r"({0} < '-' OR {0} >= ':' AND {0} < '[' OR {0} >= '\' AND {0} < '{{' OR {0} >= '|')"
# What stands before an event's data in its line: attributes come in one order, and data is the last.
_BEFORE_DATA = """',"data":'"""


def decode(
    cursor: duckdb.DuckDBPyConnection,
    columns: TypedColumns,
    meters: Sequence[Meter],
    lateness: Lateness,
) -> bool:
    """Make `decoded` from `unread` and `plain`: envelope, hashes and typed columns; and the table `faults` beside it.

    It is a view: of the table `general`, into which unread lines are decoded, and of `plain`, as that is.

    True where some of the events correct other events; they are listed in `correcting`.

    A line that is no JSON at all has every column NULL but `row` and `received_us`.
    """
    try:
        _decode_lines(cursor, columns, "TRUE", "json_extract_string(line, ?)")
    except duckdb.InvalidInputException:
        # A line that the door took for JSON and DuckDB does not (half a surrogate pair, say): find out which.
        guarded = "CASE WHEN json_valid(line) THEN json_extract_string(line, ?) END"
        _decode_lines(cursor, columns, "json_valid(line)", guarded)
    _read_again(cursor, "general", columns)
    cursor.execute(
        f"""
        CREATE OR REPLACE TEMP VIEW decoded AS
        SELECT * FROM general
         UNION ALL
        SELECT row, received_us, TRUE AS valid, data, id, source, type, subject, FALSE AS corrects,
               {_plain_sql(columns)},
               make_timestamp(coalesce(own_us, received_us)) AS time, own_us IS NOT NULL AS own_time,
               key, check_bits, content
          FROM plain
        """
    )
    corrections = find_corrections(cursor)
    _find_faults(cursor, meters, lateness)
    return corrections


def _decode_lines(cursor: duckdb.DuckDBPyConnection, columns: TypedColumns, valid: str, found: str) -> None:
    envelope = ("id", "source", "type", "subject", "time", "corrects")
    cursor.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE general AS
        WITH read AS (
            SELECT row, received_us, line, {valid} AS valid, {found} AS found,
                   string_split(shifted, {_BEFORE_DATA}) AS parts
              FROM unread
        ), cut AS (
            SELECT row, received_us, valid, found, epoch_us(TRY_CAST(found[5] AS TIMESTAMPTZ)) AS own_us,
                   CASE WHEN len(parts) = 2 THEN parts[2]
                        -- An object in data has a member of that name as well: the first one is the event's.
                        ELSE line[instr(line, {_BEFORE_DATA}) + 8 : -3] END AS data
                   {_rounded_sql(columns, len(envelope))}
              FROM read
        )
        SELECT row, received_us, valid, data, found[1] AS id, found[2] AS source, found[3] AS type,
               found[4] AS subject, found[6] IS NOT NULL AS corrects, {_typed_sql(columns, len(envelope))},
               make_timestamp(coalesce(own_us, received_us)) AS time, own_us IS NOT NULL AS own_time,
               {HASHES}
          FROM (SELECT *, event_identity(found[2], found[1]) AS identity,
                       event_content(found[3], found[4], own_us, data) AS content
                  FROM cut)
        """,
        [[json_path(path) for path in (*envelope, *columns.numbers, *columns.texts)]],
    )


def reread(cursor: duckdb.DuckDBPyConnection, paths: Sequence[Path], columns: TypedColumns) -> None:
    """Make the table `segment_rows` from segments in force, with these typed columns taken from `data` anew."""
    cursor.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE segment_rows AS
        WITH members AS (
            SELECT source, id, type, subject, time, {OWN_TIME} AS own_time, received_at, data,
                   json_extract_string('{{"data":' || data || '}}', ?) AS found
              FROM {SEGMENT_FILES}
        ), cut AS (SELECT *{_rounded_sql(columns, 0)} FROM members)
        SELECT row_number() OVER () AS row, source, id, type, subject, time, own_time, received_at, data,
               {_typed_sql(columns, 0)}
          FROM cut
        """,
        [
            [json_path(path) for path in (*columns.numbers, *columns.texts)],
            [str(path) for path in paths],
        ],
    )
    _read_again(cursor, "segment_rows", columns)


def _rounded_sql(columns: TypedColumns, skipped: int) -> str:
    """Columns `rounded_1` and so on: what is a number among those of the list `found`, made whole."""
    return "".join(
        f", TRY_CAST(found[{skipped + place}] AS {WHOLE_NUMBER}) AS rounded_{place}"
        for place in range(1, len(columns.numbers) + 1)
    )


def _typed_sql(columns: TypedColumns, skipped: int) -> str:
    """The typed columns out of the lists `found`, whose first `skipped` members are something else, and the `rounded`.

    `found` holds a string's content, the spelling of any other value, and NULL for null and for what
    is absent. Nearly every number is whole and spelt as DuckDB would spell it: that is seen without a pattern.
    """
    first_text = skipped + len(columns.numbers) + 1
    numbers = [f"found[{place}]" for place in range(skipped + 1, first_text)]
    texts = [f"found[{place}]" for place in range(first_text, first_text + len(columns.texts))]
    typed = []
    for place, (path, found) in enumerate(zip(columns.numbers, numbers, strict=True), start=1):
        whole = identifier(whole_column(path))
        plain = f"WHEN regexp_full_match({found}, '{_PLAIN_NUMBER}') THEN {found}::{EXACT_NUMBER}"
        number = f"CASE WHEN {whole} IS NOT NULL THEN {whole}::{EXACT_NUMBER} {plain} END"
        typed += [
            f"CASE WHEN rounded_{place}::VARCHAR = {found} THEN rounded_{place} END AS {whole}",
            f"{number} AS {identifier(number_column(path))}",
            f"{found} AS {identifier(spelling_column(path))}",
        ]
    typed += [
        f"{found} AS {identifier(text_column(path))}"
        for path, found in zip(columns.texts, texts, strict=True)
    ]
    wholes = [identifier(whole_column(path)) for path in columns.numbers]
    return ", ".join([*typed, f"{_suspicious_sql(wholes, numbers, texts)} AS suspicious"])


def _plain_sql(columns: TypedColumns) -> str:
    """The same columns as `_typed_sql` gives, out of those of `plain`; numbers in it are spelt as they are."""
    typed = []
    for place, path in enumerate(columns.numbers):
        whole = f"whole_{place}::{WHOLE_NUMBER}"
        exact = f"CASE WHEN whole_{place} IS NULL THEN text_{place}::{EXACT_NUMBER} ELSE {whole}::{EXACT_NUMBER} END"
        typed += [
            f"{whole} AS {identifier(whole_column(path))}",
            f"{exact} AS {identifier(number_column(path))}",
            f"text_{place} AS {identifier(spelling_column(path))}",
        ]
    typed += [
        f"text_{place} AS {identifier(text_column(path))}"
        for place, path in enumerate(columns.texts, start=len(columns.numbers))
    ]
    return ", ".join([*typed, "FALSE AS suspicious"])


def _suspicious_sql(wholes: Sequence[str], numbers: Sequence[str], texts: Sequence[str]) -> str:
    """Whether a value may have changed on its way through a double. Whole numbers are read as integers."""
    plain = [
        f"({whole} IS NOT NULL OR {found} IS NULL)" for whole, found in zip(wholes, numbers, strict=True)
    ]
    plain += [f"coalesce({_PLAIN_TEXT.format(found)}, TRUE)" for found in texts]
    if not plain:
        return "FALSE"
    cases = [
        f"WHEN {' AND '.join(plain)} THEN FALSE",
        *(f"WHEN contains({found}, 'e') THEN TRUE" for found in numbers),
        *(f"WHEN regexp_matches({found}, '{_NESTED_TEXT}') THEN TRUE" for found in texts),
    ]
    fractions = [f"contains({found}, '.')" for found in numbers]
    respelt = [f"regexp_full_match({found}, '{_FRACTION_TEXT}')" for found in texts]
    for spelt, pattern in ((fractions, _LONG_NUMBER), (respelt, _RESPELT_NUMBER)):
        if spelt:
            cases.append(f"WHEN ({' OR '.join(spelt)}) AND regexp_matches(data, '{pattern}') THEN TRUE")
    return f"CASE {' '.join(cases)} ELSE FALSE END"


def json_path(path: str) -> str:
    """`data.input_tokens` as a JSON path with quoted names."""
    return "$" + "".join(f'."{name}"' for name in path.split("."))


def _read_again(cursor: duckdb.DuckDBPyConnection, table: str, columns: TypedColumns) -> None:
    """Read the numbers and texts of suspicious rows again from what the client wrote."""
    suspects = cursor.execute(
        f"SELECT row, data FROM {identifier(table)} WHERE suspicious AND id IS NOT NULL"
    ).fetchall()
    if not suspects:
        return
    contents = [read_data(data) for _, data in suspects]
    exact = {"row": pa.array([row for row, _ in suspects], pa.int64())}
    for path in columns.numbers:
        found = [at_path(content, path) for content in contents]
        exact[number_column(path)] = pa.array(map(number_of, found), _EXACT_NUMBER_TYPE)
        exact[spelling_column(path)] = pa.array(map(text_of, found), pa.string())
    for path in columns.texts:
        found = [at_path(content, path) for content in contents]
        exact[text_column(path)] = pa.array(map(text_of, found), pa.string())
    cursor.register("exact", pa.table(exact))
    assignments = ", ".join(
        f"{identifier(name)} = exact.{identifier(name)}" for name in exact if name != "row"
    )
    cursor.execute(
        f"UPDATE {identifier(table)} SET {assignments} FROM exact WHERE {identifier(table)}.row = exact.row"
    )
    cursor.unregister("exact")


_EXACT_NUMBER_TYPE = pa.decimal128(38, NUMBER_DIGITS_AFTER_POINT_MAX)


def _find_faults(cursor: duckdb.DuckDBPyConnection, meters: Sequence[Meter], lateness: Lateness) -> None:
    """Make `faults (row, fault)`: the first thing that keeps an event from being counted."""
    bound = Bound()
    too_late = bound.bind("too_late|time lies further back than events are accepted")
    too_early = bound.bind("too_early|time lies further ahead than clocks may differ")
    cases = [
        "WHEN NOT valid THEN 'malformed_json|the event is not valid JSON'",
        "WHEN key IS NULL OR type IS NULL THEN 'malformed_json|the line is JSON and no event'",
        f"WHEN is_erased(source) THEN {bound.bind(RESERVED_SOURCE)}",
        f"WHEN epoch_us(time) < received_us - {bound.bind(lateness.too_late_seconds * 1_000_000)} THEN {too_late}",
        f"WHEN epoch_us(time) > received_us + {bound.bind(lateness.too_early_seconds * 1_000_000)} THEN {too_early}",
    ]
    cases += [case for meter in meters if (case := _unusable_sql(meter, bound)) is not None]
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE faults AS SELECT row, fault FROM "
        f"(SELECT row, CASE {' '.join(cases)} END AS fault FROM decoded) WHERE fault IS NOT NULL",
        bound.values,
    )


def _unusable_sql(meter: Meter, bound: Bound) -> str | None:
    """The case in which an event that the meter is for has no value that the meter can use."""
    if meter.value is None:
        return None
    applies = f"type = {bound.bind(meter.event_type)} AND {filter_sql(meter, bound)}"
    if meter.aggregation is Aggregation.UNIQUE:
        (path,) = paths(meter.value)
        missing = bound.bind(f"missing_value|{path} is missing; the meter {meter.key} needs it")
        return f"WHEN {applies} AND {identifier(text_column(path))} IS NULL THEN {missing}"
    usable = value_sql(meter.value, bound)
    missing = " ".join(
        f"WHEN {identifier(spelling_column(path))} IS NULL "
        f"THEN {bound.bind(f'missing_value|{path} is missing; the meter {meter.key} needs it')}"
        for path in value_paths(meter)
    )
    invalid = " ".join(
        f"WHEN {identifier(number_column(path))} IS NULL THEN {bound.bind(f'invalid_value|{path} is ')} || "
        f"left({identifier(spelling_column(path))}, 60) || {bound.bind(_NOT_USABLE)}"
        for path in value_paths(meter)
    )
    beyond = bound.bind(f"invalid_value|the value of the meter {meter.key} has too many digits to be exact")
    return f"WHEN {applies} AND ({usable}) IS NULL THEN CASE {missing} {invalid} ELSE {beyond} END"


_NOT_USABLE = (
    f", which is not a number of at most {NUMBER_DIGITS_BEFORE_POINT_MAX} digits before "
    f"and {NUMBER_DIGITS_AFTER_POINT_MAX} after the point"
)
