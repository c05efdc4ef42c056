"""A segment has the same rows, of the same types, whether its lines were read by compiled functions or the general
way; only those that count are in it."""

import errno
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.meter import parse_meter
from farthing.events.ids.deduplicate import Outcome
from farthing.events.intake.formats import _parse_lines
from farthing.events.scanning.loading import Scanning
from farthing.events.sealing.typed_columns import wanted_columns
from farthing.events.store.decoding import decode
from farthing.events.store.duckdb import EventStore, Lateness, write_counted
from farthing.events.store.lines import load_lines
from farthing.events.store.segment_file import ROW_GROUP_ROWS, SegmentFile, write_table

METERS = [
    parse_meter(
        {
            "key": "tokens",
            "event_type": "llm",
            "aggregation": "sum",
            "value": "data.tokens + data.usage.out",
            "dimensions": {"model": "data.model", "inputKind": "data.inputKind"},
        }
    )
]
WANTED = wanted_columns(METERS)
RECEIVED_US = 1_717_200_000_000_000
TYPES = {
    "source": "VARCHAR",
    "id": "VARCHAR",
    "type": "VARCHAR",
    "subject": "VARCHAR",
    "time": "TIMESTAMP",
    "own_time": "BOOLEAN",
    "received_at": "TIMESTAMP",
    "data": "VARCHAR",
    "num:data.tokens": "DECIMAL(18,0)",
    "num:data.usage.out": "DECIMAL(18,0)",
    "dim:data.input^Kind": "VARCHAR",
    "dim:data.model": "VARCHAR",
}

Written = tuple[list[tuple[Any, ...]], dict[str, str], SegmentFile]


def written(
    store: EventStore, lines: bytes, outcomes: Sequence[int], scanning: Scanning | None
) -> tuple[Written, bool]:
    """What stands in the segment that these lines make, and whether all of them were read by compiled functions."""
    path = store.data_dir / "segments" / "one.parquet"
    cursor = store.cursor()
    try:
        half = lines[: lines.rfind(b"\n", 0, len(lines) // 2) + 1]
        payloads = [text for text in (half, lines[len(half) :]) if text]
        received_us = [RECEIVED_US + place for place in range(len(payloads))]
        read = load_lines(cursor, payloads, received_us, WANTED, scanning)
        decode(cursor, WANTED, METERS, Lateness(10**12, 10**12))
        made = write_counted(cursor, path, WANTED, np.array(outcomes, dtype=np.uint8), read)
        types = {
            name: kind
            for name, kind, *_ in cursor.execute(f"DESCRIBE SELECT * FROM read_parquet('{path}')").fetchall()
        }
        rows = cursor.execute("SELECT * FROM read_parquet($1)", [str(path)]).fetchall()
    finally:
        cursor.close()
    facts = replace(made, size_bytes=0, checksum=b"")
    return (sorted(rows, key=repr), types, facts), read is not None and len(read) == len(outcomes)


wholes = st.one_of(st.integers(0, 5000), st.integers(-(10**18) + 1, 10**18 - 1))
texts = st.one_of(
    st.text("abcé中-0123", min_size=1, max_size=30), st.sampled_from(["exactly-12-b", "x" * 13, "x"])
)
events = st.fixed_dictionaries(
    {"id": texts, "source": texts, "type": st.sampled_from(["llm", "image"])},
    optional={
        "subject": st.one_of(st.none(), texts),
        "time": st.sampled_from(["2024-06-01T12:00:00Z", "2024-05-31T23:59:59.999999+02:00"]),
        "data": st.fixed_dictionaries(
            {},
            optional={
                "tokens": st.one_of(st.none(), wholes, st.sampled_from([0.5, "12"])),
                "usage": st.fixed_dictionaries({}, optional={"out": wholes}),
                "model": st.one_of(st.none(), texts, st.booleans()),
                "inputKind": texts,
                "note": st.sampled_from(['a "quoted" one', "plain"]),
            },
        ),
    },
)
outcome = st.sampled_from([Outcome.COUNTED, Outcome.COUNTED, Outcome.DUPLICATE, Outcome.FAULTY])


@given(drawn=st.lists(st.tuples(events, outcome), min_size=1, max_size=12))
def test_it_has_the_same_rows_whichever_way_they_were_read(
    scanning: Scanning, store: EventStore, drawn: list[tuple[dict[str, Any], Outcome]]
) -> None:
    outcomes = [int(Outcome.COUNTED), *(int(outcome) for _, outcome in drawn[1:])]
    lines = _parse_lines("\n".join(json.dumps(event) for event, _ in drawn).encode()).lines
    ours, _ = written(store, lines, outcomes, scanning)
    general, _ = written(store, lines, outcomes, None)
    assert ours == general
    assert len(ours[0]) == outcomes.count(Outcome.COUNTED)


def test_rows_that_do_not_count_are_left_out_of_all_row_groups(scanning: Scanning, store: EventStore) -> None:
    count = 2 * ROW_GROUP_ROWS + 1
    lines = b"".join(
        b'{"id":"call-%d","source":"s","type":"llm","specversion":"1.0","subject":"customer-%d","time":null,'
        b'"data":{"tokens":%d,"usage":{"out":-1},"model":"m%d"}}\n'
        % (number, number % 977, number, number % 5)
        for number in range(count)
    )
    outcomes = [Outcome.DUPLICATE if number % 100 == 7 else Outcome.COUNTED for number in range(count)]
    (rows, types, facts), all_at_once = written(store, lines, outcomes, scanning)
    assert all_at_once
    assert types == TYPES
    expected = [number for number in range(count) if number % 100 != 7]
    assert sorted(row[1] for row in rows) == sorted(f"call-{number}" for number in expected)
    assert sum(row[8] for row in rows) == sum(expected)
    assert sum(row[9] for row in rows) == -len(expected)
    assert facts.events == len(expected)
    assert facts.columns == {name: kind for name, kind in TYPES.items() if ":" in name}


def test_a_disk_that_is_full_says_so_by_number(tmp_path: Path) -> None:
    """`full_disk_named` and the engine go by `errno`: who writes the file has to say it."""
    table = pa.table({"id": ["a"], "num:x": pa.array([1], pa.int64())})
    full = tmp_path / "full.parquet"
    full.symlink_to("/dev/full")
    with pytest.raises(OSError) as raised:
        write_table(table, full)
    assert raised.value.errno == errno.ENOSPC
    write_table(table, tmp_path / "one.parquet")
    assert pq.read_table(tmp_path / "one.parquet").num_rows == 1
