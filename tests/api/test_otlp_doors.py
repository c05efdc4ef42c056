"""OTLP over HTTP: which events records and points become, and counters counted once across repeats and crashes."""

import base64
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from random import Random

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb
from opentelemetry.proto.metrics.v1 import metrics_pb2
from test_other_doors import logged, said

from farthing.events.doors import service
from farthing.events.doors.otlp_metrics import read_metrics
from farthing.kernel.errors import Unavailable

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
START_NS = 1_704_067_200_000_000_000
MINUTE_NS = 60_000_000_000
DELTA, CUMULATIVE = 1, 2


def attributes(**values):
    return [{"key": name.replace("__", "."), "value": value} for name, value in values.items()]


def text(value):
    return {"stringValue": value}


RESOURCE = {"attributes": attributes(service__name=text("gateway"), customer__id=text("acme"))}


def logs(*records, resource=RESOURCE):
    scope = {"name": "lib", "version": "1"}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": records}]}]}


def metrics(*found, resource=RESOURCE):
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": found}]}]}


def total(value, minute, *, start=START_NS, temporality=CUMULATIVE, name="requests", kind="asInt", **more):
    """A sum with one point."""
    point = {kind: value, "startTimeUnixNano": str(start), "timeUnixNano": str(START_NS + minute * MINUTE_NS)}
    return {
        "name": name,
        "unit": "1",
        "sum": {
            "aggregationTemporality": temporality,
            "isMonotonic": True,
            "dataPoints": [{**point, **more}],
        },
    }


def send(client, document, *, as_json):
    kind, path = ("logs", "/otlp/v1/logs") if "resourceLogs" in document else ("metrics", "/otlp/v1/metrics")
    if as_json:
        return client.post(path, content=json.dumps(document), headers=JSON)
    request = (
        logs_pb.ExportLogsServiceRequest() if kind == "logs" else metrics_pb.ExportMetricsServiceRequest()
    )
    json_format.ParseDict(in_base64(document), request, max_recursion_depth=1000)
    return client.post(path, content=request.SerializeToString(), headers=PROTOBUF)


def in_base64(document):
    """The same document as the JSON of protobuf has it; OTLP's spells these ids in hexadecimal."""

    def turned(name, value):
        if name in ("traceId", "spanId"):
            return base64.b64encode(bytes.fromhex(value)).decode()
        if isinstance(value, dict):
            return {inner: turned(inner, one) for inner, one in value.items()}
        return [turned("", one) for one in value] if isinstance(value, list | tuple) else value

    return turned("", document)


# -------------------------------------------------------------------------------------------------
# Logs

RECORD = {
    "timeUnixNano": str(START_NS + 1_234_567),
    "eventName": "llm.completion",
    "severityNumber": 9,
    "severityText": "INFO",
    "body": text("done"),
    "attributes": attributes(
        gen_ai__usage__input_tokens={"intValue": "12"},
        cost={"doubleValue": 0.1 + 0.2},
        ok={"boolValue": True},
        models={"arrayValue": {"values": [text("a"), {"doubleValue": 3.0}]}},
    ),
    "traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174",
}


@pytest.mark.parametrize("as_json", [True, False])
def test_a_log_record_is_an_event(client, services, as_json):
    answer = send(client, logs(RECORD), as_json=as_json)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == (JSON if as_json else PROTOBUF)["content-type"]
    assert answer.content == (b"{}" if as_json else b"")
    (event,) = logged(services)
    assert (event["type"], event["source"], event["subject"]) == ("llm.completion", "otlp:gateway", "acme")
    assert event["time"] == "2024-01-01T00:00:00.001234Z"
    assert event["data"] == {
        "attributes": {"gen_ai_usage_input_tokens": 12, "cost": 0.3, "ok": True, "models": ["a", 3]},
        "resource": {"service_name": "gateway", "customer_id": "acme"},
        "scope": {"name": "lib", "version": "1"},
        "body": "done",
        "severity_number": 9,
        "severity_text": "INFO",
        "trace_id": "5b8efff798038103d269b633813fc60c",
        "span_id": "eee19b7ec3c1b174",
    }


def test_json_and_protobuf_of_a_record_are_the_same_event(client, services):
    send(client, logs(RECORD), as_json=True)
    send(client, logs(RECORD), as_json=False)
    first, second = logged(services)
    assert first == second


def test_equal_records_of_one_request_count_each_and_the_same_request_again_counts_none(client, services):
    for _ in range(2):
        send(client, logs(RECORD, RECORD, {**RECORD, "body": text("x")}), as_json=True)
    found = [event["id"] for event in logged(services)]
    assert len(set(found[:3])) == 3
    assert found[:3] == found[3:]


def test_a_record_is_known_by_its_uid_where_it_has_one(client, services):
    record = {"attributes": attributes(log__record__uid=text("u-1")), "body": text("x")}
    assert send(client, logs(record), as_json=True).content == b"{}"
    (event,) = logged(services)
    assert (event["id"], event["type"]) == ("u-1", "otel.log")
    assert "time" not in said(event)


def test_what_cannot_be_taken_is_counted_and_told_and_the_rest_is_taken(client, services):
    untimed = {"body": text("x")}
    ambiguous = {**RECORD, "attributes": attributes(a__b=text("1"), a_b=text("2"))}
    far = {**RECORD, "timeUnixNano": str(2**64 - 1)}
    answer = send(client, logs(untimed, RECORD, ambiguous, far), as_json=True)
    partial = answer.json()["partialSuccess"]
    assert partial["rejectedLogRecords"] == "3"
    for word in ("log.record.uid", "'a.b' and 'a_b'", "2200"):
        assert word in partial["errorMessage"]
    assert len(logged(services)) == 1
    answer = send(client, logs(untimed), as_json=False)
    told = logs_pb.ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert told.rejected_log_records == 1


def test_the_record_says_whom_it_is_about_before_its_resource_does(client, services):
    record = {**RECORD, "attributes": attributes(user__id=text("u"), enduser__id={"intValue": "7"})}
    send(client, logs(record), as_json=True)
    send(client, logs(RECORD, resource={"attributes": []}), as_json=True)
    first, second = logged(services)
    assert (first["subject"], second.get("subject")) == ("7", None)
    assert second["source"] == "otlp:unknown_service"


@pytest.mark.parametrize("path", ["/otlp/v1/logs", "/otlp/v1/metrics"])
@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"\xff\xff\xff", PROTOBUF),
        (b"{", JSON),
        (b"[]", JSON),
        (b'{"resourceLogs":7,"resourceMetrics":7}', JSON),
        (b"\xff", JSON),
        (b"", {"content-type": "text/plain"}),
    ],
)
def test_what_is_no_otlp_is_a_status_that_says_so(client, path, content, headers):
    answer = client.post(path, content=content, headers=headers)
    assert answer.status_code == 400
    if headers is JSON:
        assert answer.json()["message"]
    else:
        assert answer.content[:1] == b"\x12"  # the field `message` of google.rpc.Status


def test_without_a_key_otlp_is_told_in_its_own_shape(client):
    answer = client.with_key(None).post("/otlp/v1/logs", content=b"{}", headers=JSON)
    assert (answer.status_code, set(answer.json())) == (401, {"message"})


def test_a_deep_record_is_refused_and_breaks_nothing(client, services):
    value = text("x")
    for _ in range(60):
        value = {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
    answer = send(
        client, logs({**RECORD, "attributes": [{"key": "deep", "value": value}]}, RECORD), as_json=False
    )
    assert answer.status_code == 400  # The reader's own bound; nothing of the request was taken.
    assert logged(services) == []


def test_a_record_deeper_than_events_may_be_is_told_and_the_rest_is_taken(client, services):
    value = text("x")
    for _ in range(31):
        value = {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
    deep = {**RECORD, "attributes": [{"key": "deep", "value": value}]}
    partial = send(client, logs(deep, RECORD), as_json=True).json()["partialSuccess"]
    assert "nests deeper" in partial["errorMessage"]
    assert len(logged(services)) == 1


# -------------------------------------------------------------------------------------------------
# Metrics


@pytest.mark.parametrize("as_json", [True, False])
def test_a_delta_is_an_event_with_what_was_added(client, services, as_json):
    metric = total("5", 1, temporality=DELTA, attributes=attributes(http__route=text("/v1")))
    assert send(client, metrics(metric), as_json=as_json).status_code == 200
    (event,) = logged(services)
    assert (event["type"], event["source"], event["subject"]) == ("requests", "otlp:gateway", "acme")
    assert event["time"] == "2024-01-01T00:01:00Z"
    assert event["data"] == {
        "value": 5,
        "attributes": {"http_route": "/v1"},
        "resource": {"service_name": "gateway", "customer_id": "acme"},
        "unit": "1",
        "start": "2024-01-01T00:00:00Z",
    }


def test_a_point_is_known_by_its_stream_and_times_and_not_by_its_value(client, services):
    for value in ("5", "6"):
        send(client, metrics(total(value, 1, temporality=DELTA)), as_json=True)
    send(client, metrics(total("5", 2, temporality=DELTA)), as_json=True)
    send(client, metrics(total("5", 1, temporality=DELTA, attributes=attributes(a=text("b")))), as_json=True)
    ids = [event["id"] for event in logged(services)]
    assert (ids[0] == ids[1], len(set(ids))) == (True, 3)


def test_gauges_and_histograms(client, services):
    point = {"timeUnixNano": str(START_NS), "startTimeUnixNano": str(START_NS)}
    document = metrics(
        {"name": "seats", "gauge": {"dataPoints": [{**point, "asDouble": 2.5}]}},
        {
            "name": "up_down",
            "sum": {"aggregationTemporality": CUMULATIVE, "dataPoints": [{**point, "asInt": "-3"}]},
        },
        {
            "name": "tokens",
            "histogram": {
                "aggregationTemporality": DELTA,
                "dataPoints": [{**point, "count": "2", "sum": 30.5}],
            },
        },
        {
            "name": "odd",
            "histogram": {"dataPoints": [{**point, "count": "2"}]},
        },
        {"name": "old", "summary": {"dataPoints": [{**point, "count": "2"}]}},
        {"name": "nan", "gauge": {"dataPoints": [{**point, "asDouble": "NaN"}]}},
        {"name": "none", "gauge": {"dataPoints": [{**point, "asInt": "1", "flags": 1}]}},
        {"name": "timeless", "gauge": {"dataPoints": [{"asInt": "1"}]}},
    )
    partial = send(client, document, as_json=True).json()["partialSuccess"]
    assert partial["rejectedDataPoints"] == "5"
    for word in ("odd: a histogram must be", "old: summaries", "nan: ", "none: ", "timeless: "):
        assert word in partial["errorMessage"]
    found = {event["type"]: event["data"] for event in logged(services)}
    assert found["seats"]["value"] == 2.5
    assert found["up_down"]["value"] == -3
    assert (found["tokens"]["count"], found["tokens"]["sum"]) == (2, 30.5)


def added(services):
    """What each event adds, each counted once."""
    return {event["id"]: Decimal(str(event["data"]["value"])) for event in logged(services)}


def test_a_running_total_adds_the_difference_and_a_restart_begins_at_zero(client, services):
    for value, minute in (("5", 1), ("5", 2), ("12", 3), ("12", 3)):
        assert send(client, metrics(total(value, minute)), as_json=False).content == b""
    restarted = START_NS + 10 * MINUTE_NS
    send(client, metrics(total("4", 11, start=restarted)), as_json=False)
    send(client, metrics(total("20", 4)), as_json=False)  # The last of the first run comes late.
    assert [event["data"]["value"] for event in logged(services)] == [5, 7, 4, 8]
    assert logged(services)[1]["data"]["start"] == "2024-01-01T00:02:00Z"


def histogram(count, total, minute, *, kind="histogram", **more):
    """A histogram with one point."""
    point = {
        "count": count,
        "startTimeUnixNano": str(START_NS),
        "timeUnixNano": str(START_NS + minute * MINUTE_NS),
    }
    if total is not None:
        point["sum"] = total
    return {"name": "tokens", kind: {"aggregationTemporality": CUMULATIVE, "dataPoints": [{**point, **more}]}}


@pytest.mark.parametrize("kind", ["histogram", "exponentialHistogram"])
def test_a_histogram_that_runs_on_adds_its_count_and_its_sum(client, services, kind):
    for count, value, minute in (
        ("2", 30.5, 1),
        ("2", 30.5, 2),
        ("5", 31.25, 3),
        ("1", 4, 4),
        ("2", None, 5),
        ("3", 9, 6),
    ):
        send(client, metrics(histogram(count, value, minute, kind=kind)), as_json=False)
    data = [event["data"] for event in logged(services)]
    assert [(one["count"], one.get("sum")) for one in data] == [
        (2, 30.5),
        (3, 0.75),
        (1, 4),
        (1, None),
        (1, 5),
    ]


def test_doubles_add_up_to_what_they_were_meant_for(client, services):
    for minute, value in enumerate((0.1, 0.1 + 0.2, 1e15 / 3), start=1):
        send(client, metrics(total(value, minute, kind="asDouble")), as_json=False)
    assert [event["data"]["value"] for event in logged(services)][:2] == [0.1, 0.2]


def test_a_total_without_a_start_counts_from_its_first_point_and_a_fall_counts_whole(client, services):
    for value, minute in (("100", 1), ("130", 2), ("7", 3)):
        send(client, metrics(total(value, minute, start=0)), as_json=False)
    assert [event["data"]["value"] for event in logged(services)] == [30, 7]


def test_a_total_that_cannot_be_counted_exactly_is_told(client, services):
    answer = send(client, metrics(total(1e300, 1, kind="asDouble")), as_json=True)
    assert "counted on exactly" in answer.json()["partialSuccess"]["errorMessage"]
    assert logged(services) == []


def test_a_killed_server_neither_loses_nor_doubles_what_a_total_added(client, services, books, tenant_id):
    body = metrics_pb.ExportMetricsServiceRequest()
    json_format.ParseDict(metrics(total("5", 1)), body)
    readings = read_metrics(body.SerializeToString(), PROTOBUF["content-type"])
    service.move_on(books, tenant_id, readings)  # And here it was killed: nothing is in the log.
    send(client, metrics(total("9", 2)), as_json=False)
    assert sorted(added(services).values()) == [4, 5]
    # Killed after the log and before the books heard of it: it is written again, under its own id.
    service.move_on(books, tenant_id, readings)
    send(client, metrics(total("9", 2)), as_json=False)
    assert sum(added(services).values()) == 9


def test_a_total_that_the_log_could_not_take_is_taken_with_the_next(client, services, monkeypatch):
    def full(*_arguments):
        raise Unavailable("disk_full", "the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(services.door.log, "append", full)
        answer = send(client, metrics(total("5", 1)), as_json=True)
        assert (answer.status_code, answer.json()["message"]) == (503, "the disk is full")
    assert send(client, metrics(total("5", 1)), as_json=True).status_code == 200
    assert list(added(services).values()) == [5]


@pytest.mark.parametrize("seed", range(6))
def test_totals_come_out_whatever_is_repeated_lost_or_late(client, services, books, tenant_id, seed):
    random = Random(seed)
    runs = [(START_NS + number, [0]) for number in range(3)]
    for minute in range(1, 15):
        start, values = random.choice(runs)
        values.append(values[-1] + random.randrange(10))
        metric = total(str(values[-1]), minute, start=start)
        if random.random() < 0.2:
            continue  # Lost on the way: the next one says it too.
        if random.random() < 0.3:
            body = metrics_pb.ExportMetricsServiceRequest()
            json_format.ParseDict(metrics(metric), body)
            service.move_on(
                books, tenant_id, read_metrics(body.SerializeToString(), PROTOBUF["content-type"])
            )
        for _ in range(random.randrange(1, 3)):
            send(client, metrics(metric), as_json=False)
    for start, values in runs:
        send(client, metrics(total(str(values[-1]), 20, start=start)), as_json=False)
    assert sum(added(services).values()) == sum(values[-1] for _, values in runs)


def test_tenants_count_their_own_totals(client, other_client, services):
    for sender in (client, other_client):
        send(sender, metrics(total("5", 1)), as_json=False)
    assert [event["data"]["value"] for event in logged(services)] == [5, 5]


def test_the_books_count_no_stream_back(client, books, tenant_id):
    send(client, metrics(total("5", 2)), as_json=False)
    with pytest.raises(Exception, match="never counted back"), books.transaction(tenant_id) as conn:
        conn.execute("UPDATE otlp_streams SET time_ns = 1")


def test_the_flag_that_says_no_value_is_the_one_of_the_protocol():
    assert metrics_pb2.DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK == 1


def test_racing_requests_count_each_difference_once(books, tenant_id):
    """Retries and late points of many connections at once: whatever order the books see, the sum is the last total."""

    def readings_of(minute):
        body = metrics_pb.ExportMetricsServiceRequest()
        json_format.ParseDict(metrics(*(total(str(minute * 3), minute, name=name) for name in "ab")), body)
        return read_metrics(body.SerializeToString(), PROTOBUF["content-type"])

    lines: list[bytes] = []

    def send_all(seed):
        minutes = [*range(1, 13), *range(6, 13)]
        Random(seed).shuffle(minutes)
        for minute in minutes:
            moved = service.move_on(books, tenant_id, readings_of(minute))
            lines.extend(moved.batch.lines.splitlines())  # The log has them.
            if Random(minute).random() < 0.5:  # Else killed before the books heard of it.
                service.confirm(books, tenant_id, moved)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send_all, range(4)))
    found = {}
    for line in lines:
        event = json.loads(line)
        assert found.setdefault(event["id"], event) == event, "one id, two contents"
    sums = Counter()
    for event in found.values():
        sums[event["type"]] += event["data"]["value"]
    assert sums == {"a": 36, "b": 36}
