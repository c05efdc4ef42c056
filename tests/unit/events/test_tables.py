"""Tables as events: the same events as their rows as NDJSON, whatever the types; what is not exact is refused."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from farthing.events.intake.formats import ARROW_FILE, ARROW_STREAM, PARQUET, TABLE_TYPES, parse_events
from farthing.events.intake.table_bodies import parse_table
from farthing.events.intake.tables import lines_of_table
from farthing.events.model import ParsedBatch
from farthing.kernel.errors import FarthingError, InvalidInput, LimitExceeded

NDJSON = "application/x-ndjson"
ATTRIBUTES = ("id", "source", "type", "subject", "time", "data")


def as_body(table: pa.Table, media_type: str, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    if media_type == PARQUET:
        pa_parquet.write_table(table, sink, **options)
    else:
        made = pa.ipc.new_stream if media_type == ARROW_STREAM else pa.ipc.new_file
        with made(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
    return sink.getvalue().to_pybytes()


def said(batch: ParsedBatch) -> tuple[list[Any], list[tuple[int, str, str | None]]]:
    """The events exactly (numbers as they are spelt), and what was refused."""
    events = [json.loads(line, parse_float=str, parse_int=str) for line in batch.lines.splitlines()]
    return events, [(one.index, one.code, one.path) for one in batch.rejected]


def ndjson(events: list[dict[str, Any]]) -> ParsedBatch:
    ordered = [{name: event[name] for name in ATTRIBUTES if name in event} for event in events]
    lines = "\n".join(json.dumps(event, ensure_ascii=False) for event in ordered)
    return parse_events(lines.encode(), NDJSON, "")


def table_of(events: list[dict[str, Any]], data: str) -> pa.Table:
    """The events as a table, with `data` in one of the three ways."""
    columns: dict[str, Any] = {
        name: pa.array([event.get(name) for event in events], pa.string())
        for name in ("id", "source", "type", "subject", "time")
        if any(name in event for event in events) or name in ("id", "source", "type")
    }
    values = [event["data"] for event in events]
    if data == "text":
        columns["data"] = pa.array([json.dumps(value) for value in values])
    elif data == "struct":
        columns["data"] = pa.array(values, DATA)
    else:
        for field in DATA:
            columns[f"data.{field.name}"] = pa.array([value.get(field.name) for value in values], field.type)
    return pa.table(columns)


DATA = pa.struct(
    [
        ("model", pa.string()),
        ("tokens", pa.int64()),
        ("ok", pa.bool_()),
        ("tags", pa.list_(pa.string())),
        ("inner", pa.struct([("deep", pa.uint64()), ("name", pa.string())])),
    ]
)

text = some.text(some.characters(exclude_categories=["Cs"]), max_size=12)
inner = some.fixed_dictionaries({"deep": some.integers(0, 2**64 - 1), "name": text})
data_values = some.fixed_dictionaries(
    {},
    optional={
        "model": text,
        "tokens": some.integers(-(2**63), 2**63 - 1),
        "ok": some.booleans(),
        "tags": some.lists(text, max_size=3),
        "inner": inner,
    },
)
events = some.fixed_dictionaries(
    {"id": text, "source": text, "type": text, "data": data_values},
    optional={
        "subject": text,
        "time": some.sampled_from(["2026-11-20T10:00:00Z", "2026-11-20T10:00:00.123456+02:00", "yesterday"]),
    },
)


@settings(deadline=None, max_examples=60)
@given(
    rows=some.lists(events, min_size=1, max_size=20),
    data=some.sampled_from(["text", "struct", "columns"]),
    media_type=some.sampled_from(sorted(TABLE_TYPES)),
)
def test_rows_are_the_events_that_they_would_be_as_ndjson(
    rows: list[dict[str, Any]], data: str, media_type: str
) -> None:
    found = parse_table(as_body(table_of(rows, data), media_type), media_type, "")
    assert said(found) == said(ndjson(rows))


BASE = {"id": pa.array(["a", "b"]), "source": pa.array(["s", "s"]), "type": pa.array(["t", "t"])}


def read(columns: dict[str, Any], media_type: str = ARROW_STREAM) -> ParsedBatch:
    return parse_table(as_body(pa.table(BASE | columns), media_type), media_type, "")


def data_of(columns: dict[str, Any], media_type: str = ARROW_STREAM) -> list[str]:
    """`data` as it is written into the log."""
    batch = read(columns, media_type)
    assert not batch.rejected
    return [line.decode().partition('"data":')[2][:-1] for line in batch.lines.splitlines()]


@pytest.mark.parametrize("media_type", [ARROW_STREAM, ARROW_FILE, PARQUET])
def test_every_type_keeps_its_digits(media_type: str) -> None:
    columns = {
        "data.small": pa.array([Decimal("0.0000002"), Decimal("-12.5")], pa.decimal128(38, 8)),
        "data.large": pa.array([2**64 - 1, None], pa.uint64()),
        "data.number_as_text": pa.array(["007", "7"]),
        "data.day": pa.array([date(2026, 11, 20), None]),
        "data.at": pa.array([datetime(2026, 11, 20, 10, 0, 0, 1, UTC), None], pa.timestamp("us", "UTC")),
        "data.model": pa.array(["é", 'say "x"\\\n\x00'], pa.string()).dictionary_encode(),
        "region": pa.array(["eu", "us"], pa.large_string()),
        "data.none": pa.array([None, None], pa.string()),
    }
    assert data_of(columns, media_type) == [
        (
            '{"small":0.00000020,"large":18446744073709551615,"number_as_text":"007","day":"2026-11-20",'
            '"at":"2026-11-20T10:00:00.000001Z","model":"é","region":"eu"}'
        ),
        '{"small":-12.50000000,"number_as_text":"7","model":"say \\"x\\"\\\\\\n\\u0000","region":"us"}',
    ]


def test_members_that_may_be_missing_before_one_that_may_not() -> None:
    columns = {
        "data.a": pa.array([None, 1]),
        "data.b": pa.array([None, 2]),
        "data.c.d": pa.array([None, 3]),
        "data.c.e": pa.array([None, 4]),
    }
    assert data_of(columns) == ['{"c":{}}', '{"a":1,"b":2,"c":{"d":3,"e":4}}']


def test_times_as_timestamps_and_ids_as_numbers() -> None:
    moments = pa.array([datetime(2026, 11, 20, 10), None], pa.timestamp("ns"))
    batch = read({"id": pa.array([7, 8]), "time": moments})
    first, second = (json.loads(line) for line in batch.lines.splitlines())
    assert (first["id"], first["time"]) == ("7", "2026-11-20T10:00:00Z")
    assert (second["id"], second["time"]) == ("8", None)


@pytest.mark.parametrize(
    "text", ["", "{", '1,"source":"other"', '1,"data":2', "1}\n{", "NaN", "1 2", "'a'", '{"a":1}}', "\ud7ff"]
)
def test_data_that_is_no_json_is_refused_and_holds_up_nobody(text: str) -> None:
    batch = read({"data": pa.array([text, '{\n"n":1}'])})
    assert [(one.index, one.code) for one in batch.rejected] == [(0, "malformed_json")]
    (line,) = batch.lines.splitlines()
    assert json.loads(line)["data"] == {"n": 1}


def test_data_that_nests_too_deep_is_named_as_such() -> None:
    batch = read({"data": pa.array(["[" * 5000 + "]" * 5000, "[" * 40 + "]" * 40])})
    assert [(one.index, one.code) for one in batch.rejected] == [(0, "too_deep"), (1, "too_deep")]


def nested(levels: int) -> pa.DataType:
    return pa.struct([("a", nested(levels - 1))]) if levels else pa.int64()


@pytest.mark.parametrize(
    ("columns", "code", "path"),
    [
        ({"data.x": pa.array([0.5, 1.5])}, "float_column", "data.x"),
        ({"data": pa.array([{"a": [0.5]}, None])}, "float_column", "data.a[]"),
        ({"data.x": pa.array([b"1", b"2"])}, "unsupported_column", "data.x"),
        ({"data.x": pa.array([timedelta(1), None])}, "unsupported_column", "data.x"),
        ({"subject": pa.array([1, 2])}, "unsupported_column", "subject"),
        ({"data": pa.array([1, 2])}, "unsupported_column", "data"),
        ({"data": pa.array(["1", "2"]), "n": pa.array([1, 2])}, "invalid_map", "data"),
        ({"data.a": pa.array([1, 2]), "data.a.b": pa.array([1, 2])}, "invalid_map", "data.a"),
        ({"data.a": pa.array([1, 2]), "a": pa.array([1, 2])}, "invalid_map", "data.a"),
        ({"data": pa.nulls(2, nested(40))}, "unsupported_column", None),
        ({"data." + "x" * 300: pa.array([1, 2])}, "unsupported_column", None),
    ],
)
def test_columns_that_cannot_stand_in_an_event(columns: dict[str, Any], code: str, path: str | None) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(columns)
    assert refused.value.code == code
    assert path is None or refused.value.path == path


def test_all_missing_columns_are_named_at_once() -> None:
    body = as_body(pa.table({"type": pa.array(["t"])}), ARROW_STREAM)
    with pytest.raises(InvalidInput) as refused:
        parse_table(body, ARROW_STREAM, "")
    assert [fault.path for fault in refused.value.faults] == ["id", "source"]


@pytest.mark.parametrize("media_type", [ARROW_STREAM, ARROW_FILE, PARQUET])
def test_what_is_no_table(media_type: str) -> None:
    good = as_body(pa.table(BASE), media_type)
    for body in (b"", b"PAR1", b"nonsense" * 100, good[: len(good) // 2], good[8:]):
        with pytest.raises(FarthingError) as refused:
            parse_table(body, media_type, "")
        assert refused.value.code == "broken_table"


LONG = "x" * 200_000


@pytest.mark.parametrize("media_type", [ARROW_STREAM, PARQUET])
@pytest.mark.parametrize("column", ["data.x", "data"])
def test_a_long_text_that_every_row_says_is_counted_before_it_is_written(
    media_type: str, column: str
) -> None:
    rows = 20_000
    indices = pa.array([0] * rows, pa.int32())
    many = pa.DictionaryArray.from_arrays(indices, pa.array([f'"{LONG}"']))
    columns = {"id": pa.array([str(row) for row in range(rows)]), "source": pa.array(["s"] * rows)}
    table = pa.table(columns | {"type": columns["source"], column: many})
    sink = pa.BufferOutputStream()
    if media_type == PARQUET:
        pa_parquet.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    body = sink.getvalue().to_pybytes()
    assert len(body) < 2_000_000
    with pytest.raises(LimitExceeded) as refused:
        parse_table(body, media_type, "")
    assert refused.value.code == "body_too_large"


@pytest.mark.parametrize("media_type", [ARROW_STREAM, PARQUET])
def test_more_rows_than_a_request_may_have(media_type: str) -> None:
    row = pa.array(["x"] * 50_001)
    sink = pa.BufferOutputStream()
    table = pa.table({"id": row, "source": row, "type": row})
    if media_type == PARQUET:
        pa_parquet.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(LimitExceeded) as refused:
        parse_table(sink.getvalue().to_pybytes(), media_type, "")
    assert refused.value.code == "too_many_events"


def test_more_columns_than_a_table_may_have() -> None:
    with pytest.raises(LimitExceeded) as refused:
        read({f"data.c{number}": pa.array([1, 2]) for number in range(300)})
    assert refused.value.code == "too_many_columns"


def test_a_batch_without_rows() -> None:
    empty = pa.RecordBatch.from_pydict({name: column[:0] for name, column in BASE.items()})
    assert lines_of_table(empty, 100) == b""
