"""What the door takes, what it refuses, and that it names each refusal's place without holding up the rest."""

import gzip
import json
import tracemalloc
from collections.abc import Callable

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from farthing.events.intake import formats
from farthing.events.intake.formats import (
    BODY_BYTES_MAX,
    EVENTS_PER_REQUEST_MAX,
    REJECTED_RAW_BYTES_MAX,
    decompress,
    parse_events,
    parse_lines,
    parse_made,
    whole_lines,
)
from farthing.events.model import DATA_DEPTH_MAX, EVENT_BYTES_MAX, Event, ParsedBatch
from farthing.kernel.errors import InvalidInput, LimitExceeded

NDJSON = "application/x-ndjson"
GOOD = b'{"id":"1","source":"s","type":"t"}'
GOOD_LINE = b'{"id":"1","source":"s","type":"t","specversion":"1.0","subject":null,"time":null,"data":null}\n'


def with_(member: str) -> bytes:
    """A good event with one more member."""
    return GOOD[:-1] + b"," + member.encode() + b"}"


def one(body: bytes) -> bytes:
    batch = parse_events(body, "application/json", "")
    assert batch.rejected == ()
    return batch.lines


# -------------------------------------------------------------------------------------------------
# What is taken


def test_an_event_is_written_with_its_attributes_in_one_order_and_data_as_it_came() -> None:
    body = rb"""{ "data" : {"b": 1.10, "a":[ 1e2 ,null], "a": "\u00e9"} , "time":"2026-11-23t12:00:00.5+05:30",
                  "type":"t", "subject":"acme","specversion":"1.0","source":"s","id":"1","dataschema":"ignored"}"""
    assert one(body) == (
        b'{"id":"1","source":"s","type":"t","specversion":"1.0","subject":"acme",'
        rb'"time":"2026-11-23T12:00:00.500000+05:30","data":{"b": 1.10, "a":[ 1e2 ,null], "a": "\u00e9"}}'
        b"\n"
    )


@pytest.mark.parametrize(
    "media_type", ["application/json", "application/cloudevents+json; charset=utf-8", ""]
)
def test_a_single_event(media_type: str) -> None:
    assert parse_events(GOOD, media_type, "") == ParsedBatch(GOOD_LINE, 1, ())


@pytest.mark.parametrize("media_type", ["application/json", "application/cloudevents-batch+json"])
def test_an_array(media_type: str) -> None:
    assert parse_events(b" \n[" + GOOD + b" ,\n" + GOOD + b"]", media_type, "") == ParsedBatch(
        GOOD_LINE * 2, 2, ()
    )
    assert parse_events(b"[]", media_type, "") == ParsedBatch(b"", 0, ())


@pytest.mark.parametrize(
    "media_type", [NDJSON, "application/jsonl", "application/ndjson", "Application/X-NDJSON"]
)
def test_lines(media_type: str) -> None:
    for body in (
        GOOD + b"\n" + GOOD,
        GOOD + b"\r\n" + GOOD + b"\r\n",
        b"\n \n" + GOOD + b"\n\n" + GOOD + b"\n",
    ):
        assert parse_events(body, media_type, "") == ParsedBatch(GOOD_LINE * 2, 2, ())
    assert parse_events(b"", media_type, "") == ParsedBatch(b"", 0, ())


def test_of_equal_attributes_the_last_counts() -> None:
    assert json.loads(one(with_('"id":"2","data":1,"data":2')))["id"] == "2"
    assert json.loads(one(with_('"data":1,"data":2')))["data"] == 2


def test_time_is_kept_to_the_nearest_microsecond_and_must_name_its_offset() -> None:
    assert b'"time":"2026-11-23T12:00:00.123457Z"' in one(with_('"time":"2026-11-23T12:00:00.1234566789Z"'))
    assert b'"time":"2026-11-24T00:00:00Z"' in one(with_('"time":"2026-11-23T23:59:59.9999999Z"'))
    assert b'"time":"2026-11-23T12:00:00Z"' in one(with_('"time":"2026-11-23 12:00:00-00:00"'))


def test_attributes_hold_any_text() -> None:
    line = one(json.dumps({"id": 'a"\\\n\0é👩\u200d👧,"data":', "source": "x" * 256, "type": " "}).encode())
    decoded = json.loads(line)
    assert (decoded["id"], decoded["source"], decoded["type"]) == (
        'a"\\\n\0é👩\u200d👧,"data":',
        "x" * 256,
        " ",
    )
    assert line.count(b"\n") == 1


texts = st.text(min_size=1, max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
events = st.fixed_dictionaries({"id": texts, "source": texts, "type": texts, "data": values})


@given(st.lists(events, min_size=1, max_size=5), st.sampled_from([None, 2]), st.booleans())
def test_array_lines_and_single_are_one(
    bodies: list[dict[str, object]], indent: int | None, ascii_only: bool
) -> None:
    def text(value: object, indent: int | None = None) -> bytes:
        return json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()

    by_line = parse_events(b"\n".join(map(text, bodies)), NDJSON, "")
    assert by_line.rejected == ()
    assert parse_events(text(bodies), "application/json", "") == by_line
    assert b"".join(one(text(body)) for body in bodies) == by_line.lines
    assert [json.loads(line)["data"] for line in by_line.lines.splitlines()] == [
        body["data"] for body in bodies
    ]
    # Written over several lines the events are the same, but for the white space in their data.
    spread = parse_events(text(bodies, indent), "application/json", "")
    assert spread.lines.count(b"\n") == spread.accepted == len(bodies)
    assert [json.loads(line) for line in spread.lines.splitlines()] == [
        json.loads(line) for line in by_line.lines.splitlines()
    ]
    # What was written canonically is read back as it is.
    assert parse_lines(by_line.lines) == by_line


# -------------------------------------------------------------------------------------------------
# What is refused, and where

NO_UTF8 = with_('"data":"?"').replace(b"?", b"\xff")
BAD = [
    (b"", "malformed_json", None),
    (b"{", "malformed_json", None),
    (b"garbage", "malformed_json", None),
    (GOOD + b"x", "malformed_json", None),
    (GOOD + b"\0", "malformed_json", None),
    (b"\xef\xbb\xbf" + GOOD, "malformed_json", None),
    (with_('"data":NaN'), "malformed_json", None),
    (with_('"data":01'), "malformed_json", None),
    (with_('"data":+1'), "malformed_json", None),
    (with_('"data":{"a":1,}'), "malformed_json", None),
    (with_("\"data\":'x'"), "malformed_json", None),
    (with_('"data":"\t"'), "malformed_json", None),
    (with_('"data":"\0"'), "malformed_json", None),
    (with_(r'"data":"\x"'), "malformed_json", None),
    (with_(r'"data":"\ud800"'), "malformed_json", None),
    (with_(r'"data":"\ud800 and on"'), "malformed_json", None),
    (with_(r'"data":{"\udc00":1}'), "malformed_json", None),
    (with_(r'"subject":"\ud800"'), "malformed_json", None),
    (NO_UTF8, "invalid_utf8", None),
    (GOOD.replace(b"1", b"\xc3\x28"), "invalid_utf8", None),
    (GOOD.replace(b"1", b"\xed\xa0\x80"), "invalid_utf8", None),
    (b"5", "invalid_attribute", None),
    (b"null", "invalid_attribute", None),
    (b'"text"', "invalid_attribute", None),
    (b"{}", "missing_attribute", "id"),
    (b'{"id":"1","type":"t"}', "missing_attribute", "source"),
    (b'{"id":"1","source":"s"}', "missing_attribute", "type"),
    (GOOD.replace(b'"1"', b"1"), "invalid_attribute", "id"),
    (GOOD.replace(b'"1"', b"null"), "invalid_attribute", "id"),
    (GOOD.replace(b'"1"', b'""'), "invalid_attribute", "id"),
    (GOOD.replace(b'"s"', b'"' + b"s" * 257 + b'"'), "invalid_attribute", "source"),
    (GOOD.replace(b'"t"', b"[]"), "invalid_attribute", "type"),
    (with_('"subject":""'), "invalid_attribute", "subject"),
    (with_('"subject":7'), "invalid_attribute", "subject"),
    (with_('"specversion":"0.3"'), "invalid_attribute", "specversion"),
    (with_('"specversion":1.0'), "invalid_attribute", "specversion"),
    (with_('"time":"yesterday"'), "invalid_attribute", "time"),
    (with_('"time":""'), "invalid_attribute", "time"),
    (with_('"time":1732363200'), "invalid_attribute", "time"),
    (with_('"time":"2026-11-23T12:00:00"'), "invalid_attribute", "time"),
    (with_('"time":"2026-02-30T12:00:00Z"'), "invalid_attribute", "time"),
    (with_('"time":"2026-11-23T24:00:00Z"'), "invalid_attribute", "time"),
    (with_('"time":"2026-12-31T23:59:60Z"'), "invalid_attribute", "time"),
    (with_('"time":"9999-12-31T23:59:59.9999999Z"'), "invalid_attribute", "time"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code", "path"), BAD, ids=[repr(body[-40:]) for body, _, _ in BAD])
def test_each_bad_event_is_named_and_the_others_are_kept(body: bytes, code: str, path: str | None) -> None:
    def refusals(batch: ParsedBatch) -> list[tuple[int, str, str | None, bytes]]:
        return [(line.index, line.code, line.path, line.raw) for line in batch.rejected]

    assert refusals(parse_events(body, "application/json", "")) == [(0, code, path, body)]
    if body:  # An empty line is no event.
        batch = parse_events(b"\n".join([GOOD, b"", body, GOOD]), NDJSON, "")
        assert (batch.lines, batch.accepted) == (GOOD_LINE * 2, 2)
        assert refusals(batch) == [(1, code, path, body)]
    if code in ("missing_attribute", "invalid_attribute"):
        batch = parse_events(b"[" + GOOD + b"," + body + b"," + GOOD + b"]", "application/json", "")
        assert (batch.lines, batch.accepted) == (GOOD_LINE * 2, 2)
        assert refusals(batch) == [(1, code, path, body)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[", "malformed_json"),
        (b"[" + GOOD, "malformed_json"),
        (b"[" + GOOD + b",]", "malformed_json"),
        (b"[" + GOOD + b"]]", "malformed_json"),
        (b'["\xff"]', "invalid_utf8"),
        (b"[" + NO_UTF8 + b"]", "invalid_utf8"),
        (b"[" * 100_000 + b"]" * 100_000, "too_deep"),
    ],
)
def test_an_array_of_which_nothing_can_be_taken(body: bytes, code: str) -> None:
    assert refusal(body) == code


def refusal(body: bytes) -> str:
    """Why the body, or the only event in it, is refused."""
    try:
        (line,) = parse_events(body, "application/json", "").rejected
    except InvalidInput as error:
        return error.code
    return line.code


def test_what_was_refused_is_shown_in_part() -> None:
    (refused,) = parse_events(b"x" * 10_000, "application/json", "").rejected
    assert refused.raw == b"x" * REJECTED_RAW_BYTES_MAX


@given(
    st.lists(
        st.binary(max_size=40) | st.just(GOOD) | st.sampled_from([body for body, _, _ in BAD]), max_size=12
    )
)
def test_whatever_stands_in_a_body_each_line_is_taken_or_named(lines: list[bytes]) -> None:
    body = b"\n".join(lines)
    batch = parse_events(body, NDJSON, "")
    events = [line for line in body.split(b"\n") if line.strip()]
    assert batch.accepted + len(batch.rejected) == len(events)
    assert batch.lines.count(b"\n") == batch.accepted
    assert [line.raw for line in batch.rejected] == [events[line.index] for line in batch.rejected]
    assert [line.index for line in batch.rejected] == sorted({line.index for line in batch.rejected})
    assert parse_lines(batch.lines) == ParsedBatch(batch.lines, batch.accepted, ())


def test_a_media_type_that_is_none_of_ours() -> None:
    for media_type in ("text/csv", "application/xml", "json"):
        with pytest.raises(InvalidInput) as refused:
            parse_events(GOOD, media_type, "")
        assert refused.value.code == "unsupported_media_type"


# -------------------------------------------------------------------------------------------------
# Limits


@pytest.mark.parametrize(("open_", "close"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth(open_: bytes, close: bytes) -> None:
    def nested(levels: int) -> bytes:  # the event's own braces are one level
        return with_('"data":')[:-1] + open_ * (levels - 1) + b"1" + close * (levels - 1) + b"}"

    for body, wrap in ((nested, b"%b"), (nested, b"[%b]"), (nested, b"[" + GOOD + b",%b]")):
        batch = parse_events(wrap % body(DATA_DEPTH_MAX), "application/json", "")
        assert batch.rejected == ()
        batch = parse_events(wrap % body(DATA_DEPTH_MAX + 1), "application/json", "")
        assert [(line.code, line.path) for line in batch.rejected] == [("too_deep", "data")]
    lines = parse_events(b"\n".join([GOOD, nested(33), nested(32), nested(5000)]), NDJSON, "")
    assert (lines.accepted, [line.index for line in lines.rejected]) == (2, [1, 3])


def test_brackets_in_strings_are_no_depth() -> None:
    assert one(with_(f'"data":"{"[{" * 1000}"')) != b""
    assert one(with_(f'"data":["{"[" * 40}", "\\"{"{" * 40}\\\\", {{"]": 1}}]')) != b""
    deep = "[" * 40 + "]" * 40
    (refused,) = parse_events(with_(f'"data":["\\"", {deep}, "\\\\"]'), "application/json", "").rejected
    assert refused.code == "too_deep"


def test_the_size_of_an_event() -> None:
    fits = with_('"data":"')[:-1]
    fits += b"x" * (EVENT_BYTES_MAX - len(fits) - 2) + b'"}'
    for body in (fits, b"[" + fits + b"]"):
        # Its canonical form, which names every attribute, may be longer than what the client wrote.
        assert parse_events(body, "application/json", "").accepted == 1
    larger = fits[:-2] + b'x"}'
    for body in (larger, b"[" + larger + b"]", b"[" + GOOD + b"," + larger + b"]"):
        batch = parse_events(body, "application/json", "")
        assert [line.code for line in batch.rejected] == ["event_too_large"]


def test_the_number_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EVENTS_PER_REQUEST_MAX == 50_000
    monkeypatch.setattr(formats, "EVENTS_PER_REQUEST_MAX", 5)
    for body, media_type in (
        (b"[" + b",".join([GOOD] * 5) + b"]", "application/json"),
        (b"\n".join([GOOD] * 5), NDJSON),
        (b"\n".join([GOOD] * 5) + b"\n", NDJSON),
    ):
        assert parse_events(body, media_type, "").accepted == 5
    for body, media_type in (
        (b"[" + b",".join([GOOD] * 6) + b"]", "application/json"),
        (b"[" + b",".join([b"1"] * 6) + b"]", "application/json"),
        (b"\n".join([GOOD] * 6), NDJSON),
        (b"\n".join([GOOD] * 6) + b"\n", NDJSON),
    ):
        with pytest.raises(LimitExceeded) as refused:
            parse_events(body, media_type, "")
        assert refused.value.code == "too_many_events"


def test_the_size_of_a_body() -> None:
    assert len(decompress(b" " * BODY_BYTES_MAX, "")) == BODY_BYTES_MAX
    with pytest.raises(LimitExceeded) as refused:
        decompress(b" " * (BODY_BYTES_MAX + 1), "identity")
    assert refused.value.code == "body_too_large"


def test_quotation_marks_without_fellows_cost_no_more_than_their_length() -> None:
    # Quadratic work would take minutes here.
    body = b"[" + b'\\"' * 100_000 + b"{[" * 20
    assert parse_lines(body).accepted == 0


# -------------------------------------------------------------------------------------------------
# Compression

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda plain: gzip.compress(plain, mtime=0),
    "zstd": lambda plain: zstandard.compress(plain),
}
BODY = b"".join(b'{"id":"%d","source":"s","type":"t"}\n' % number for number in range(2000))


@pytest.mark.parametrize("encoding", COMPRESS)
def test_compressed_bodies(encoding: str) -> None:
    compress = COMPRESS[encoding]
    assert decompress(compress(BODY), encoding.upper()) == BODY
    assert decompress(compress(b""), encoding) == b""
    assert parse_events(compress(BODY), NDJSON, encoding).accepted == 2000


@pytest.mark.parametrize("encoding", COMPRESS)
def test_several_parts_behind_one_another_are_one_body(encoding: str) -> None:
    compress = COMPRESS[encoding]
    parts = [BODY[:100], b"", BODY[100:50_000], BODY[50_000:]]
    assert decompress(b"".join(map(compress, parts)), encoding) == BODY


def test_a_zstd_frame_of_unknown_size() -> None:
    stream = zstandard.ZstdCompressor().compressobj()
    assert decompress(stream.compress(BODY) + stream.flush(), "zstd") == BODY


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_body_cut_short_anywhere_is_refused(encoding: str) -> None:
    one, other = COMPRESS[encoding](BODY[:70]), COMPRESS[encoding](BODY[70:140])
    for end in range(1, len(one + other)):
        body = (one + other)[:end]
        if body == one:  # Nobody can see that another part was to follow.
            assert decompress(body, encoding) == BODY[:70]
            continue
        with pytest.raises(InvalidInput) as refused:
            decompress(body, encoding)
        assert refused.value.code == "broken_compression"


@pytest.mark.parametrize("encoding", COMPRESS)
def test_what_is_not_compressed_as_it_says(encoding: str) -> None:
    other = COMPRESS["zstd" if encoding == "gzip" else "gzip"](BODY)
    for body in (BODY, other, b"\0", COMPRESS[encoding](BODY) + b"garbage"):
        with pytest.raises(InvalidInput) as refused:
            decompress(body, encoding)
        assert refused.value.code == "broken_compression"


def test_other_encodings() -> None:
    for encoding in ("br", "deflate", "gzip, zstd", "x" * 1000):
        with pytest.raises(InvalidInput) as refused:
            decompress(BODY, encoding)
        assert refused.value.code == "unsupported_encoding"


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_bomb_is_refused_with_little_memory(encoding: str) -> None:
    bomb = COMPRESS[encoding](bytes(BODY_BYTES_MAX) * 6)
    assert len(bomb) < BODY_BYTES_MAX // 100
    tracemalloc.start()
    try:
        with pytest.raises(LimitExceeded) as refused:
            decompress(bomb, encoding)
        assert tracemalloc.get_traced_memory()[1] < 4 * BODY_BYTES_MAX
    finally:
        tracemalloc.stop()
    assert refused.value.code == "body_too_large"


# -------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=8) | st.just(b"\n") | st.just(b"a\nb")))
def test_a_stream_is_cut_at_newlines_only(chunks: list[bytes]) -> None:
    pieces = list(whole_lines(iter(chunks)))
    assert b"".join(pieces) == b"".join(chunks)
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])
    assert all(pieces)


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(LimitExceeded) as refused:
        list(whole_lines(b"x" * 1_000_000 for _ in range(40)))
    assert refused.value.code == "event_too_large"


def test_the_order_in_which_attributes_are_written_is_part_of_the_log() -> None:
    assert list(msgspec.json.decode(one(GOOD))) == [
        "id",
        "source",
        "type",
        "specversion",
        "subject",
        "time",
        "data",
    ]


def test_events_put_into_our_words_are_held_to_the_bounds_of_those_that_were_sent() -> None:
    plain = Event(id="1", source="s", type="t", data=msgspec.Raw(b'{"n":1}'))
    over_lines = Event(id="2", source="s", type="t", data=msgspec.Raw(b'{"n":\n 2}'))
    nameless = Event(id="", source="s", type="t", data=msgspec.Raw(b'{"n":3}'))
    deep = Event(id="4", source="s", type="t", data=msgspec.Raw(b"[" * 32 + b"]" * 32))
    broken = Event(id="5", source="s", type="t", data=msgspec.Raw(b'{"n":'))

    def line(event_id: str, data: str) -> str:
        rest = f'"specversion":"1.0","subject":null,"time":null,"data":{data}'
        return f'{{"id":"{event_id}","source":"s","type":"t",{rest}}}'

    one, two = line("1", '{"n":1}'), line("2", '{"n":  2}')
    assert parse_made([]) == ParsedBatch(b"", 0, ())
    assert parse_made([plain, plain]) == ParsedBatch(f"{one}\n{one}\n".encode(), 2, ())
    assert parse_made([plain, over_lines]) == ParsedBatch(f"{one}\n{two}\n".encode(), 2, ())
    for bad, code in ((nameless, "invalid_attribute"), (deep, "too_deep"), (broken, "malformed_json")):
        batch = parse_made([plain, bad, plain])
        assert batch.lines.decode() == f"{one}\n{one}\n"
        assert [(refused.index, refused.code) for refused in batch.rejected] == [(1, code)]
