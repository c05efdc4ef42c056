"""Lines read by compiled functions are what they are when read the general way: at the door and in the sealer."""

import hashlib
import json

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from farthing.catalog.meter import parse_meter
from farthing.events.intake.formats import _parse_lines
from farthing.events.intake.scanned import scanned_lines
from farthing.events.model import DATA_DEPTH_MAX, EVENT_BYTES_MAX
from farthing.events.scanning.loading import Scanning
from farthing.events.sealing.typed_columns import wanted_columns
from farthing.events.store.decoding import decode
from farthing.events.store.duckdb import EventStore, Lateness
from farthing.events.store.identities import identities
from farthing.events.store.lines import load_lines

METERS = [
    parse_meter(
        {
            "key": "tokens",
            "event_type": "llm",
            "aggregation": "sum",
            "value": "data.tokens + data.usage.out",
            "dimensions": {"model": "data.model", "usage": "data.usage.kind"},
            "filter": [{"field": "data.status", "op": "eq", "value": "ok"}],
        }
    ),
    parse_meter({"key": "who", "event_type": "t", "aggregation": "unique", "value": "data.tokens"}),
]
WANTED = wanted_columns(METERS)
RECEIVED_US = 1_717_200_000_000_000


# -------------------------------------------------------------------------------------------------
# Lines

spaces = st.sampled_from(["", "", "", " ", "  ", "\t"])
texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.text("abcdefgh-0123456789", max_size=70),
    st.sampled_from(
        ['a"b', "a\\b", "tab\t", "\x00", "naïve", "中文字", "🎉", "x" * 256, "x" * 257, "é" * 128, "é" * 129]
    ),
)
numbers = st.one_of(
    st.integers(-(10**19), 10**19).map(str),
    st.integers(0, 5000).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(lambda number: f"{number:f}"),
    st.from_regex(r"-?(0|[1-9][0-9]{0,16})(\.[0-9]{1,14})?([eE][-+]?[0-9]{1,2})?", fullmatch=True),
    st.sampled_from(
        ["-0", "00", "1.", ".5", "1e5", "-", "0.1000", "1.10", "123456789012345678", "1234567890123456789"]
    ),
)


def spelt(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


strings = st.one_of(
    texts.map(spelt), texts.map(json.dumps), st.sampled_from(['"\\/"', '"\\x"', '"\\ud800"', '"\\u0041"'])
)
scalars = st.one_of(strings, numbers, st.sampled_from(["true", "false", "null", "nul", "True"]))
names = st.sampled_from(
    ["tokens", "usage", "out", "kind", "model", "status", "other", "to", "tokens2", "tok\\u0065ns", "é"]
)


@st.composite
def objects(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    members = draw(st.lists(st.tuples(names, values), max_size=6))
    gap = draw(spaces)
    return "{" + f",{gap}".join(f'{gap}"{name}":{gap}{value}' for name, value in members) + gap + "}"


@st.composite
def lists(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    gap = draw(spaces)
    return "[" + f",{gap}".join(draw(st.lists(values, max_size=4))) + gap + "]"


values = st.recursive(scalars, lambda inner: st.one_of(objects(inner), lists(inner)), max_leaves=12)
usual_values = st.one_of(
    st.integers(0, 10**9).map(str),
    st.text("abcdef", max_size=20).map(spelt),
    st.sampled_from(["null", "true", "0.25", "-3"]),
)
data = st.one_of(
    objects(usual_values),
    objects(st.one_of(usual_values, objects(usual_values))),
    values,
    st.integers(DATA_DEPTH_MAX - 3, DATA_DEPTH_MAX + 1).map(lambda depth: "[" * depth + "]" * depth),
)
times = st.one_of(
    st.datetimes().map(lambda time: time.isoformat() + "Z"),
    st.from_regex(
        r"(20[0-9]{2}|0000|0001|9999)-(0[0-9]|1[0-3])-([0-2][0-9]|3[0-2])T([01][0-9]|2[0-4]):[0-5][0-9]:([0-5][0-9]|60)"
        r"(\.[0-9]{1,8})?(Z|z|[-+](0[0-9]|1[0-4]|24):(00|30|59|60))",
        fullmatch=True,
    ),
    st.sampled_from(
        ["2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "2024-06-01 00:00:00Z", "2024-06-01T00:00:00", "now"]
    ),
    st.sampled_from(
        [
            "1969-12-31T23:59:59.999999Z",
            "1900-03-01T00:00:00+00:00",
            "2100-02-29T12:00:00Z",
            "1582-10-10T00:00:00Z",
        ]
    ),
).map(spelt)
usual_names = st.text("abcdefgh-0123456789", min_size=1, max_size=40).map(spelt)
attributes = st.fixed_dictionaries(
    {
        "id": st.one_of(usual_names, strings),
        "source": st.one_of(usual_names, strings),
        "type": st.sampled_from(['"llm"', '"t"']),
    },
    optional={
        "specversion": st.sampled_from(['"1.0"', '"1.0"', '"1.0"', '"0.3"', "1.0", "null"]),
        "subject": st.one_of(usual_names, strings, st.just("null"), st.just('""')),
        "time": st.one_of(times, st.just("null"), st.just("1717200000")),
        "data": data,
        "datacontenttype": st.just('"application/json"'),
        "traceparent": st.one_of(
            values,
            st.integers(DATA_DEPTH_MAX - 3, DATA_DEPTH_MAX + 1).map(lambda depth: "[" * depth + "]" * depth),
            st.just(spelt("x" * EVENT_BYTES_MAX)),
        ),
        "corrects": st.sampled_from(['"e1"', '""']),
        "correctsreason": st.just('"why"'),
    },
)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    pairs = draw(st.permutations(list(draw(attributes).items())))
    if draw(st.integers(0, 19)) == 0:
        pairs = [*pairs, draw(st.sampled_from(pairs))]
    gap = draw(spaces)
    line = (
        "{"
        + f",{gap}".join(f'{gap}"{name}":{gap}{value}' for name, value in pairs)
        + gap
        + "}"
        + draw(spaces)
    )
    return line.encode(errors="surrogatepass")


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    line = bytearray(draw(events()))
    if draw(st.integers(0, 9)) == 0:  # Two on a line, or one on two.
        line += draw(events())
    if draw(st.integers(0, 9)) == 0:
        line.insert(draw(st.integers(0, len(line))), ord("\n"))
    if draw(st.integers(0, 4)) == 0:  # Bytes that became others, went or came.
        for _ in range(draw(st.integers(1, 3))):
            place = draw(st.integers(0, len(line)))
            line[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(line)


chunks = st.tuples(
    st.lists(st.one_of(events(), lines(), st.sampled_from([b"", b"  ", b"{}", b"[]"])), max_size=12),
    st.booleans(),
)


def chunk_of(drawn: tuple[list[bytes], bool]) -> bytes:
    return b"\n".join(drawn[0]) + (b"\n" if drawn[1] else b"")


# -------------------------------------------------------------------------------------------------
# The door


@given(drawn=chunks)
@example(drawn=([b'{"id":"a","source":"b","type":"c"}'] * 3, True))
@example(
    drawn=(
        [
            b'{"id":"a","source":"b","type":"c","data":"' + b"x" * (EVENT_BYTES_MAX - 43 + n) + b'"}'
            for n in range(3)
        ],
        True,
    )
)
@example(
    drawn=(
        [
            b'{"id":"a","source":"b","type":"c","data":"\xed\xa0\x80"}',
            b'{"id":"a","source":"b","type":"c","data":"\xf4\x90\x80\x80"}',
        ],
        True,
    )
)
def test_the_door_takes_lines_as_it_does_the_general_way(
    scanning: Scanning, drawn: tuple[list[bytes], bool]
) -> None:
    chunk = chunk_of(drawn)
    assert scanned_lines(scanning, chunk, _parse_lines) == _parse_lines(chunk)


E = b'{"id":"a","source":"b","type":"c"}'
DEEP = E[:-1] + b',"more":' + b"[" * 40 + b"]" * 40 + b"}"


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (E + b" " + E + b"\n" + E, [False, True]),
        (E[:9] + b"\n" + E[9:] + b"\n" + E, [False, False, True]),
        (E[:-1] + b',"data":\n' + E + b"\n}\n" + E, [False, True, False, True]),
        (E + b" " + E + b"\n" + E[:-1] + b',"data":\n' + E + b"}\n" + E, [False, False, False, True]),
        (DEEP + b"\n" + E, [False, True]),
        (E + b"\r\n\n  \n" + E + b" ", [True, True]),
    ],
)
def test_an_event_stands_on_a_line_of_its_own_whatever_stands_beside_it(
    scanning: Scanning, text: bytes, taken: list[bool]
) -> None:
    for before, after in (
        (b"", b""),
        (E + b"\n", b"\n" + E),
        (b"nonsense\n", b"\nnonsense"),
        (b"", b"\n" + (E + b"\n") * 99),
    ):
        batch = scanned_lines(scanning, before + text + after, _parse_lines)
        assert batch == _parse_lines(before + text + after)
        first = bool(before)
        rejected = {one.index - first for one in batch.rejected}
        assert [place not in rejected for place in range(len(taken))] == taken


def test_the_last_lines_may_be_short(scanning: Scanning) -> None:
    for end in (b'{"id":"a","source":"s","da\n\n', b"\n\n\n", b'{"id":"a","source":"s","type":"t"', b'{"a'):
        text = (E + b"\n") * 3 + end
        assert scanned_lines(scanning, text, _parse_lines) == _parse_lines(text)


def test_usual_lines_are_not_read_the_general_way(scanning: Scanning) -> None:
    def general(chunk: bytes) -> None:
        raise AssertionError(chunk)

    line = (
        '{"specversion": "1.0", "time": "2024-06-01T12:00:00.5+00:00", "id": "\u4e2d", "source": "s", "type": "t", '
        '"datacontenttype": "application/json", "subject": "a", '
        '"data": {"a": [1, -2.5e3, {"b": "\\n\\""}], "c": null}}\n'
    )
    batch = scanned_lines(scanning, line.encode() * 500, general)
    assert batch.accepted == 500
    assert batch.rejected == ()
    expected = (
        '{"id":"\u4e2d","source":"s","type":"t","specversion":"1.0","subject":"a","time":"2024-06-01T12:00:00.500000Z",'
        '"data":{"a": [1, -2.5e3, {"b": "\\n\\""}], "c": null}}\n'
    )
    assert batch.lines == expected.encode() * 500


def test_odd_lines_everywhere_are_named_in_their_places(scanning: Scanning) -> None:
    good = b'{"id":"%d","source":"s","type":"t"}'
    lines = [good % number if number % 3 else b"nonsense" for number in range(3000)]
    batch = scanned_lines(scanning, b"\n".join(lines), _parse_lines)
    assert batch == _parse_lines(b"\n".join(lines))
    assert [one.index for one in batch.rejected] == list(range(0, 3000, 3))


# -------------------------------------------------------------------------------------------------
# The sealer

Decoded = tuple[pa.Table, list[tuple[int, str]], list[bytes]]


def decoded(store: EventStore, payloads: list[bytes], scanning: Scanning | None) -> tuple[Decoded, int]:
    cursor = store.cursor()
    try:
        received_us = [RECEIVED_US + place for place in range(len(payloads))]
        read = load_lines(cursor, payloads, received_us, WANTED, scanning)
        decode(cursor, WANTED, METERS, Lateness(10**12, 10**12))
        table = arrow(cursor, "SELECT * REPLACE (epoch_us(time) AS time) FROM decoded ORDER BY row")
        faults = cursor.execute("SELECT row, fault FROM faults ORDER BY row").fetchall()
        known, faulty = identities(cursor, read)
        assert np.flatnonzero(faulty).tolist() == [row for row, _ in faults]
        hashes = [column.tobytes() for column in (known.keys, known.checks, known.contents)]
        (plain,) = cursor.execute("SELECT count(*) FROM plain").fetchone() or (0,)
        return (table, faults, hashes), plain
    finally:
        cursor.close()


def arrow(cursor: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    return cursor.sql(sql).to_arrow_table()


def same(ours: Decoded, general: Decoded) -> None:
    # How a number that is no plain whole one was spelt is only shown where it cannot be used.
    spelt = [name for name in general[0].column_names if name.startswith("raw:")]
    usable = general[0].drop_columns([*spelt, "suspicious"])
    assert ours[0].drop_columns([*spelt, "suspicious"]).to_pylist() == usable.to_pylist()
    assert ours[1:] == general[1:]
    for name in spelt:
        raws = zip(ours[0].column(name).to_pylist(), general[0].column(name).to_pylist(), strict=True)
        assert all((ours is None) == (theirs is None) for ours, theirs in raws)


@given(drawn=chunks)
@example(
    drawn=(
        [
            b'{"id":"a","source":"b","type":"llm","data":{"tokens":1.5,"usage":{"out":-7,"kind":true},"status":"ok"}}'
        ],
        True,
    )
)
@example(
    drawn=(
        [
            b'{"id":"a","source":"b","type":"t","data":{"tokens":-0,"usage":{"usage":{"out":1}},"usage":{"out":2}}}'
        ],
        True,
    )
)
def test_the_sealer_reads_lines_as_it_does_the_general_way(
    scanning: Scanning, store: EventStore, drawn: tuple[list[bytes], bool]
) -> None:
    lines = _parse_lines(chunk_of(drawn)).lines
    half = lines[: lines.rfind(b"\n", 0, len(lines) // 2) + 1]
    payloads = [text for text in (half, lines[len(half) :]) if text]
    if payloads:
        same(decoded(store, payloads, scanning)[0], decoded(store, payloads, None)[0])


def test_blocks_without_lines_are_nothing(scanning: Scanning, store: EventStore) -> None:
    line = _parse_lines(b'{"id":"a","source":"b","type":"llm"}\n').lines
    for payloads in ([b""], [line * 20_000, b""], [b"\n", line]):
        same(decoded(store, payloads, scanning)[0], decoded(store, payloads, None)[0])


def test_usual_events_become_columns_at_once(scanning: Scanning, store: EventStore) -> None:
    count = 5000
    payloads = [
        b"".join(
            b'{"id":"%d","source":"s%d","type":"llm","specversion":"1.0","subject":"a-long-customer-%d","time":'
            b'"2024-06-01T00:%02d:00.000001Z","data":{"tokens":%d,"usage":{"out":0.5,"kind":"k"},"status":"ok"}}\n'
            % (number, number % 3, number, number % 60, number)
            for number in range(begin, begin + 1250)
        )
        for begin in range(0, count, 1250)
    ]
    (table, faults, hashes), plain = decoded(store, payloads, scanning)
    assert plain == count
    assert faults == []
    assert table.column("whole:data.tokens").to_pylist() == list(range(count))
    assert table.column("subject").to_pylist() == [f"a-long-customer-{number}" for number in range(count)]
    assert table.column("own_time").to_pylist() == [True] * count
    md5 = [hashlib.md5(f"{len(f's{n % 3}')}:s{n % 3}{n}".encode()).digest() for n in range(count)]
    assert hashes[0] == b"".join(digest[8:] for digest in md5)
    assert hashes[1] == b"".join(digest[:8] for digest in md5)
    same((table, faults, hashes), decoded(store, payloads, None)[0])
