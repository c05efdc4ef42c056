"""POST /v1/events: what is accepted, what is refused, and that bad input is never our fault."""

import asyncio
import gzip
import json
import zlib
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
import zstandard

from farthing.api.asgi import build_asgi
from farthing.api.body import ClientGone, Intake
from farthing.api.events_route import EVENTS_BYTES_MAX
from farthing.events.door import Door
from farthing.events.log.files import list_log_files, read_blocks
from farthing.kernel.errors import FarthingError

EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "test",
    "type": "call",
    "subject": "acme",
    "data": {"n": 1},
}
JSON = {"content-type": "application/json"}


def event(**changes):
    return {name: value for name, value in {**EVENT, **changes}.items() if value is not None}


def logged(services):
    """The events in the log, as (tenant, id) pairs."""
    found = []
    for name in list_log_files(services.data_dir / "log"):
        for block in read_blocks(services.data_dir / "log" / name, 0, 1 << 30):
            found += [(block.header.tenant, json.loads(line)["id"]) for line in block.payload.splitlines()]
    return found


def test_an_accepted_event_is_in_the_log_of_its_tenant(client, services, tenant_id):
    response = client.post("/v1/events", EVENT)
    assert response.status_code == 202
    assert response.json() == {"accepted": 1, "rejected": 0, "outcomes": [{"status": "accepted"}]}
    assert logged(services) == [(tenant_id, "1")]


@pytest.mark.parametrize(
    ("encode", "encoding"),
    [
        (lambda body: body, "identity"),
        (gzip.compress, "gzip"),
        (zstandard.ZstdCompressor().compress, "zstd"),
    ],
)
@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (json.dumps([event(id="a"), event(id="b")]).encode(), "application/cloudevents-batch+json"),
        (json.dumps([event(id="a"), event(id="b")], indent=2).encode(), "application/json; charset=utf-8"),
        (f"{json.dumps(event(id='a'))}\n{json.dumps(event(id='b'))}".encode(), "application/x-ndjson"),
    ],
)
def test_every_form_of_a_batch(client, services, tenant_id, body, media_type, encode, encoding):
    headers = {"content-type": media_type, "content-encoding": encoding}
    response = client.post("/v1/events", content=encode(body), headers=headers)
    assert response.status_code == 202
    assert response.json()["accepted"] == 2
    assert logged(services) == [(tenant_id, "a"), (tenant_id, "b")]


def arrow(table):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def parquet(table):
    sink = pa.BufferOutputStream()
    pa_parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def log_lines(services):
    return [
        line
        for name in list_log_files(services.data_dir / "log")
        for block in read_blocks(services.data_dir / "log" / name, 0, 1 << 30)
        for line in block.payload.splitlines()
    ]


@pytest.mark.parametrize(
    ("media_type", "encode"),
    [("application/vnd.apache.arrow.stream", arrow), ("application/vnd.apache.parquet", parquet)],
)
def test_a_table_gives_the_lines_and_outcomes_of_the_same_events_as_ndjson(
    client, services, media_type, encode
):
    rows = [event(id="a", data={"n": 1, "model": "x"}), event(id=None), event(id="c", time="yesterday")]
    rows += [event(id=str(n), data={"n": n, "model": "y"}) for n in range(2000)]
    body = "\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    by_line = client.post("/v1/events", content=body, headers={"content-type": "application/x-ndjson"})
    lines = log_lines(services)
    columns = {
        name: pa.array([row.get(name) for row in rows], pa.string())
        for name in ("id", "source", "type", "subject", "time")
    }
    columns["data.n"] = pa.array([row["data"]["n"] for row in rows])
    columns["data.model"] = pa.array([row["data"].get("model") for row in rows])
    packed = gzip.compress(encode(pa.table(columns)))
    headers = {"content-type": media_type, "content-encoding": "gzip"}
    by_table = client.post("/v1/events", content=packed, headers=headers)
    assert (by_table.status_code, by_table.json()) == (202, by_line.json())
    assert log_lines(services)[len(lines) :] == lines


def test_a_body_that_is_no_table(client, services):
    for media_type in ("application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"):
        response = client.post("/v1/events", content=b"PAR1" * 9, headers={"content-type": media_type})
        assert (response.status_code, response.json()["code"]) == (400, "broken_table")
    response = client.post(
        "/v1/events",
        content=arrow(pa.table({"id": ["1"], "x": [0.5]})),
        headers={"content-type": "application/vnd.apache.arrow.stream"},
    )
    assert (response.status_code, response.json()["code"]) == (422, "float_column")
    assert logged(services) == []


def test_outcomes_stand_in_the_order_of_the_request(client, services):
    batch = [event(id="a"), event(id="b", type=None), event(id="c"), event(id="d", time="yesterday")]
    response = client.post("/v1/events", batch)
    assert response.status_code == 202
    document = response.json()
    assert (document["accepted"], document["rejected"]) == (2, 2)
    statuses = [outcome["status"] for outcome in document["outcomes"]]
    assert statuses == ["accepted", "rejected", "accepted", "rejected"]
    assert document["outcomes"][1] == {
        "status": "rejected",
        "index": 1,
        "code": "missing_attribute",
        "message": "type is missing",
        "path": "type",
    }
    assert document["outcomes"][3]["path"] == "time"
    assert [event_id for _, event_id in logged(services)] == ["a", "c"]


def test_a_minimal_answer_lists_only_what_was_rejected(client):
    headers = {"prefer": "return=minimal"}
    response = client.post("/v1/events", [event(id=str(n)) for n in range(1000)], headers=headers)
    assert response.json() == {"accepted": 1000, "rejected": 0, "outcomes": []}
    assert response.headers["preference-applied"] == "return=minimal"
    response = client.post("/v1/events", [event(id="x"), {}], headers=headers)
    assert [outcome["index"] for outcome in response.json()["outcomes"]] == [1]


def test_nothing_accepted_is_a_problem_that_names_every_event(client, services):
    response = client.post("/v1/events", [event(id=None), event(source="")])
    assert response.status_code == 400
    document = response.json()
    assert document["code"] == "no_event_accepted"
    assert document["path"] == "id"
    assert [outcome["path"] for outcome in document["outcomes"]] == ["id", "source"]
    assert logged(services) == []


@pytest.mark.parametrize("body", [b"", b"[]", b"\n\n"])
def test_a_body_without_events_is_refused(client, body):
    response = client.post("/v1/events", content=body, headers={"content-type": "application/x-ndjson"})
    assert response.status_code == 400
    assert response.json()["code"] == "no_event_accepted"


def bomb():
    """100 MB of zeros: 97 KB as gzip."""
    squeeze = zlib.compressobj(9, wbits=31)
    return b"".join([*(squeeze.compress(bytes(1 << 20)) for _ in range(100)), squeeze.flush()])


BAD_BODIES = {
    "malformed JSON": (b'{"id":', JSON, 400),
    "malformed batch": (b'[{"id":"1"', JSON, 400),
    "NaN": (b'{"id":"1","source":"s","type":"t","data":{"n":NaN}}', JSON, 400),
    "Infinity": (b'[{"id":"1","source":"s","type":"t","data":-Infinity}]', JSON, 400),
    "1,000 levels": (
        b'{"id":"1","source":"s","type":"t","data":' + b"[" * 1000 + b"]" * 1000 + b"}",
        JSON,
        400,
    ),
    "100,000 open brackets": (b"[" * 100_000, JSON, 400),
    "invalid UTF-8": (b'{"id":"\xff","source":"s","type":"t"}', JSON, 400),
    "half a surrogate pair": (b'{"id":"\\ud800","source":"s","type":"t"}', JSON, 400),
    "broken gzip": (b"\x1f\x8b\x08garbage", {**JSON, "content-encoding": "gzip"}, 400),
    "cut gzip": (gzip.compress(b"[]" * 1000)[:-9], {**JSON, "content-encoding": "gzip"}, 400),
    "not gzip": (b"{}", {**JSON, "content-encoding": "gzip"}, 400),
    "broken zstd": (b"\x28\xb5\x2f\xfdgarbage", {**JSON, "content-encoding": "zstd"}, 400),
    "gzip bomb": (bomb(), {**JSON, "content-encoding": "gzip"}, 413),
    "unknown encoding": (b"{}", {**JSON, "content-encoding": "br"}, 415),
    "unknown media type": (b"<event/>", {"content-type": "application/xml"}, 415),
    "form": (b"id=1", {"content-type": "application/x-www-form-urlencoded"}, 415),
    "too many bytes": (b" " * (EVENTS_BYTES_MAX + 1), JSON, 413),
    "too many events": (b"[" + b"1," * 60_000 + b"1]", JSON, 413),
    "a number": (b"1", JSON, 400),
    "null": (b"null", JSON, 400),
    "wrong version": (b'{"id":"1","source":"s","type":"t","specversion":"0.3"}', JSON, 400),
    "id of 257 characters": (json.dumps(event(id="x" * 257)).encode(), JSON, 400),
    "one event of 1 MiB": (json.dumps(event(data="x" * (1 << 20))).encode(), JSON, 400),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bodies_are_the_senders_fault(client, services, name):
    body, headers, status = BAD_BODIES[name]
    response = client.post("/v1/events", content=body, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["code"]
    assert document["detail"]
    assert logged(services) == []


@pytest.mark.parametrize("number", ["1e1000000", "9" * 40, "-0.0000000000000000000000001"])
def test_strange_numbers_in_data_are_taken_as_they_are(client, number):
    """Whether a number can be counted is known when a meter reads it; the bytes are kept either way."""
    body = f'{{"id":"1","source":"s","type":"t","data":{{"n":{number}}}}}'.encode()
    assert client.post("/v1/events", content=body, headers=JSON).status_code == 202


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_other_methods_are_named_as_such(client, method):
    response = client(method, "/v1/events")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


def test_a_server_that_stops_asks_to_come_back(client, services, tmp_path):
    stopped = Door(tmp_path / "log", "stopped")
    stopped.close()
    client = replace(client, app=build_asgi(replace(services, door=stopped)))
    response = client.post("/v1/events", EVENT)
    assert response.status_code == 503
    assert response.json()["code"] == "shutting_down"
    assert response.headers["retry-after"] == "1"


# ---- The body as it arrives


class Sender:
    """An ASGI receive that gives its parts one by one; None never comes, `gone` hangs up."""

    def __init__(self, *parts):
        self.parts = list(parts)

    async def __call__(self):
        part = self.parts.pop(0)
        if part is None:
            await asyncio.Event().wait()
        if part == "gone":
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": bool(self.parts)}


def received(runner, sender, intake=None, headers=None, bytes_max=100):
    with (intake or Intake()).place() as place:
        return runner.run(place.read(sender, headers or {}, bytes_max))


def refusal(runner, *args, **options):
    with pytest.raises(FarthingError) as caught:
        received(runner, *args, **options)
    return caught.value.code


def test_parts_are_put_together(runner):
    assert received(runner, Sender(b"ab", b"", b"c")) == b"abc"


def test_a_client_that_dribbles_is_cut_off(runner):
    assert refusal(runner, Sender(b"a", None), Intake(seconds_max=0.01)) == "body_too_slow"


def test_a_body_without_a_declared_length_is_limited_as_it_comes(runner):
    sender = Sender(b"x" * 60, b"x" * 60, b"rest")
    assert refusal(runner, sender) == "body_too_large"
    assert sender.parts == [], "the rest is read, so that the client gets to see the answer"


def test_a_declared_length_is_refused_before_the_body_is_kept(runner):
    assert refusal(runner, Sender(b""), headers={b"content-length": b"101"}) == "body_too_large"
    waiting = {b"content-length": b"101", b"expect": b"100-continue"}
    assert refusal(runner, Sender(None), headers=waiting) == "body_too_large"


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"abc", b"9" * 30, b""])
def test_a_length_that_is_no_number_is_refused(runner, length):
    assert refusal(runner, Sender(b""), headers={b"content-length": length}) == "invalid_header"


def test_a_client_that_hangs_up_is_nobody_to_answer(runner):
    with pytest.raises(ClientGone):
        received(runner, Sender(b"a", "gone"))


def test_a_worker_holds_no_more_than_its_memory(runner):
    intake = Intake(bytes_max=10)
    with intake.place() as first:
        runner.run(first.read(Sender(b"x" * 8), {}, 100))
        assert refusal(runner, Sender(b"x" * 3), intake) == "too_busy"
    assert received(runner, Sender(b"x" * 3), intake) == b"xxx"
