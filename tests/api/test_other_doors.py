"""Requests of other systems' clients, as they were recorded: what events they become, and how they are answered."""

import base64
import gzip
import json
from random import Random

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from farthing.events.log.files import list_log_files, read_blocks

NOW_ISO = "2024-01-01T00:00:00Z"


def logged(services):
    """The events in the log, as documents."""
    return [
        json.loads(line)
        for name in list_log_files(services.data_dir / "log")
        for block in read_blocks(services.data_dir / "log" / name, 0, 1 << 30)
        for line in block.payload.splitlines()
    ]


def said(event):
    """What an event says, without what it says by default."""
    return {name: value for name, value in event.items() if value is not None and name != "specversion"}


# -------------------------------------------------------------------------------------------------
# OpenMeter. The first is what LiteLLM's callback sends, the second what Kong's plugin does.

LITELLM = {
    "specversion": "1.0",
    "type": "litellm_tokens",
    "id": "chatcmpl-9",
    "time": "2024-01-01T00:00:00.123456+00:00",
    "subject": "acme",
    "source": "litellm-proxy",
    "data": {
        "model": "gpt-4o",
        "cost": 0.00012,
        "prompt_tokens": 20,
        "completion_tokens": 5,
        "total_tokens": 25,
    },
}
CLOUDEVENT = {"content-type": "application/cloudevents+json"}


@pytest.mark.parametrize(("path", "status"), [("/api/v1/events", 204), ("/api/v3/openmeter/events", 202)])
def test_an_event_for_openmeter_is_the_same_event_as_at_our_own_door(client, services, path, status):
    answer = client.post(path, content=json.dumps(LITELLM), headers=CLOUDEVENT)
    assert (answer.status_code, answer.content) == (status, b"")
    client.post("/v1/events", LITELLM)
    first, second = logged(services)
    assert first == second
    assert said(first)["data"] == LITELLM["data"]
    assert (first["id"], first["source"]) == ("chatcmpl-9", "litellm-proxy")


def test_a_batch_for_openmeter_compressed(client, services):
    body = gzip.compress(json.dumps([{**LITELLM, "id": str(number)} for number in range(3)]).encode())
    headers = {"content-type": "application/cloudevents-batch+json", "content-encoding": "gzip"}
    assert client.post("/api/v1/events", content=body, headers=headers).status_code == 204
    assert [event["id"] for event in logged(services)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"subject": None}, "subject"),
        ({"id": None}, "id"),
        ({"source": None}, "source"),
        ({"type": ""}, "type"),
        ({"time": "2024-01-01T00:00:00"}, "time"),
        ({"time": 1704067200}, "time"),
        ({"data": [1]}, "data"),
        ({"data": "text"}, "data"),
    ],
)
def test_one_bad_event_keeps_the_request_out_in_openmeters_words(client, services, changes, field):
    events = [LITELLM, {**LITELLM, "id": "2", **changes}]
    answer = client.post("/api/v1/events", [event_without_nulls(event) for event in events])
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(problem)
    (error,) = problem["extensions"]["validationErrors"]
    assert (error["index"], error["field"]) == (1, field)
    assert logged(services) == []


def event_without_nulls(event):
    return {name: value for name, value in event.items() if value is not None}


def test_attributes_that_are_null_are_absent(client, services):
    event = {**LITELLM, "time": None, "data": None, "datacontenttype": None}
    assert client.post("/api/v1/events", event).status_code == 204
    assert "time" not in said(logged(services)[0])


def test_another_media_type_is_not_for_openmeter(client):
    headers = {"content-type": "application/x-ndjson"}
    assert client.post("/api/v1/events", content=json.dumps(LITELLM), headers=headers).status_code == 415


# -------------------------------------------------------------------------------------------------
# The path that two of them share

BOTH = {"type", "title", "status", "detail", "instance", "error"}


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 400), (b"{", 400), (b'{"a":1', 400), (b'{"x":"\xff"}', 400), (b"\x00", 400)]
)
def test_what_nobody_wrote_is_refused_in_words_that_both_can_read(client, body, status):
    answer = client.post("/api/v1/events", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert set(answer.json()) & {"detail", "title"}


def test_without_a_key_both_are_told(client):
    answer = client.with_key(None).post("/api/v1/events", LITELLM)
    assert answer.status_code == 401
    assert set(answer.json()) >= BOTH
    assert answer.json()["error"] == "Unauthorized"


@pytest.mark.parametrize(
    "path", ["/api/v1/events", "/api/v1/events/batch", "/otlp/v1/logs", "/v1/billing/meter_events"]
)
def test_a_wrong_method_says_which_is_right(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


# -------------------------------------------------------------------------------------------------
# Lago

LAGO = {
    "transaction_id": "tx_1",
    "external_subscription_id": "sub_1",
    "code": "storage",
    "timestamp": 1704067200.123,
    "properties": {"gb": 10, "region": "eu"},
}


def test_an_event_for_lago(client, services, now):
    body = (
        b'{"event":{"transaction_id":"tx_1","external_subscription_id":"sub_1","code":"storage",'
        b'"timestamp":1704067200.123456789,"properties":{"gb":10.10000000000000000001}}}'
    )
    answer = client.post("/api/v1/events", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    told = answer.json()["event"]
    assert told["transaction_id"] == "tx_1"
    assert told["timestamp"] == "2024-01-01T00:00:00.123456Z"
    assert len(told["lago_id"]) == 36
    (event,) = logged(services)
    assert (event["id"], event["source"], event["type"], event["subject"]) == (
        "tx_1",
        "lago:sub_1",
        "storage",
        "sub_1",
    )
    assert event["time"] == "2024-01-01T00:00:00.123456Z"
    assert b"10.10000000000000000001" in answer.content


def test_a_batch_for_lago_and_its_repeat_are_the_same_events(client, services):
    events = [{**LAGO, "transaction_id": f"tx_{number}"} for number in range(100)]
    first = client.post("/api/v1/events/batch", {"events": events})
    second = client.post("/api/v1/events/batch", {"events": events})
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    found = logged(services)
    assert found[:100] == found[100:]
    # And the same one as sent alone.
    client.post("/api/v1/events", {"event": events[0]})
    assert logged(services)[200] == found[0]


@pytest.mark.parametrize(
    ("timestamp", "time"),
    [
        (None, None),
        ("", None),
        (1704067200, NOW_ISO),
        ("1704067200", NOW_ISO),
        ("1704067200.25", "2024-01-01T00:00:00.250000Z"),
        (0, "1970-01-01T00:00:00Z"),
    ],
)
def test_a_time_for_lago_is_in_seconds(client, services, timestamp, time):
    assert client.post("/api/v1/events", {"event": {**LAGO, "timestamp": timestamp}}).status_code == 200
    assert said(logged(services)[0]).get("time") == time


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        ({"transaction_id": None}, {"transaction_id": ["value_is_mandatory"]}),
        ({"transaction_id": ""}, {"transaction_id": ["value_is_mandatory"]}),
        ({"external_subscription_id": None}, {"external_subscription_id": ["value_is_mandatory"]}),
        ({"code": {}}, {"code": ["value_is_mandatory"]}),
        ({"timestamp": 1704067200123}, {"timestamp": ["invalid_format"]}),
        ({"timestamp": "2024-01-01T00:00:00Z"}, {"timestamp": ["invalid_format"]}),
        ({"timestamp": -1}, {"timestamp": ["invalid_format"]}),
        ({"timestamp": [1]}, {"timestamp": ["invalid_format"]}),
        ({"properties": [1]}, {"properties": ["invalid_format"]}),
        ({"properties": {"a": "x" * 300_000}}, {"properties": ["the event is larger than 262144 bytes"]}),
        ({"code": "x" * 300}, {"code": ["code must be a string of 1 to 256 characters"]}),
    ],
)
def test_what_lago_would_not_take_is_refused_in_its_words(client, services, changes, details):
    answer = client.post("/api/v1/events", {"event": {**LAGO, **changes}})
    assert answer.status_code == 422
    assert answer.json() == {
        "status": 422,
        "error": "Unprocessable Entity",
        "code": "validation_errors",
        "error_details": details,
    }
    batch = client.post("/api/v1/events/batch", {"events": [LAGO, {**LAGO, **changes}]})
    assert batch.json()["error_details"] == {"1": details}
    assert logged(services) == []


@pytest.mark.parametrize(
    ("events", "code"), [([], "no_events"), ("x", "no_events"), ([LAGO] * 101, "too_many_events")]
)
def test_batches_for_lago_have_bounds(client, events, code):
    answer = client.post("/api/v1/events/batch", {"events": events})
    assert (answer.status_code, answer.json()["error_details"]) == (422, {"events": [code]})


@pytest.mark.parametrize("body", [{"event": None}, {"event": []}, {"event": "x"}])
def test_a_request_without_an_event_is_a_bad_request_to_lago(client, body):
    answer = client.post("/api/v1/events", body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Bad Request: param is missing")


def test_numbers_for_ids_customers_for_subscriptions_and_amounts(client, services):
    event = {
        **LAGO,
        "transaction_id": 17,
        "external_customer_id": "cust",
        "precise_total_amount_cents": "12.345",
    }
    del event["external_subscription_id"]
    answer = client.post("/api/v1/events", {"event": event})
    assert answer.status_code == 200
    (found,) = logged(services)
    assert (found["id"], found["subject"]) == ("17", "cust")
    assert found["data"] == {"gb": 10, "region": "eu", "precise_total_amount_cents": "12.345"}
    told = answer.json()["event"]
    assert (told["precise_total_amount_cents"], told["properties"]) == ("12.345", LAGO["properties"])


def test_subscriptions_may_use_the_same_transaction_id(client, services):
    client.post("/api/v1/events", {"event": LAGO})
    client.post("/api/v1/events", {"event": {**LAGO, "external_subscription_id": "sub_2"}})
    assert len({(event["source"], event["id"]) for event in logged(services)}) == 2


# -------------------------------------------------------------------------------------------------
# Stripe

FORM = {
    "event_name": "api_requests",
    "payload[stripe_customer_id]": "cus_1",
    "payload[value]": "25",
    "identifier": "req_1",
    "timestamp": "1704067200",
}


def test_a_meter_event_for_stripe(client, services, now):
    answer = client.post("/v1/billing/meter_events", data=FORM)
    assert answer.status_code == 200
    assert answer.json() == {
        "object": "billing.meter_event",
        "created": int(now.timestamp()),
        "event_name": "api_requests",
        "identifier": "req_1",
        "livemode": True,
        "payload": {"stripe_customer_id": "cus_1", "value": "25"},
        "timestamp": 1704067200,
    }
    (event,) = logged(services)
    assert said(event) == {
        "id": "req_1",
        "source": "stripe",
        "type": "api_requests",
        "subject": "cus_1",
        "time": NOW_ISO,
        "data": {"stripe_customer_id": "cus_1", "value": "25"},
    }


def test_stripes_key_may_be_the_user_of_basic_authentication(client, key, services):
    basic = base64.b64encode(f"{key}:".encode()).decode()
    sender = client.with_key(None)
    answer = sender.post("/v1/billing/meter_events", data=FORM, headers={"authorization": f"Basic {basic}"})
    assert answer.status_code == 200
    for wrong in ("Basic !!!", "Basic " + base64.b64encode(b"fk_x:").decode(), "Digest x", "Basic"):
        answer = sender.post("/v1/billing/meter_events", data=FORM, headers={"authorization": wrong})
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "invalid_request_error"
    assert len(logged(services)) == 1


def test_an_idempotency_key_stands_for_the_identifier(client, services):
    form = {name: value for name, value in FORM.items() if name != "identifier"}
    keyed = [
        client.post("/v1/billing/meter_events", data=form, headers={"idempotency-key": "k"}) for _ in range(2)
    ]
    assert keyed[0].json() == keyed[1].json()
    alone = [client.post("/v1/billing/meter_events", data=form) for _ in range(2)]
    assert alone[0].json()["identifier"] != alone[1].json()["identifier"]
    assert len({event["id"] for event in logged(services)}) == 3


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"event_name": ""}, "parameter_missing", "event_name"),
        ({"payload[stripe_customer_id]": ""}, "parameter_missing", "payload[stripe_customer_id]"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"identifier": "x" * 101}, "parameter_invalid_string", "identifier"),
        ({"timestamp": "soon"}, "parameter_invalid_integer", "timestamp"),
        ({"timestamp": "1704067200.5"}, "parameter_invalid_integer", "timestamp"),
        ({"timestamp": "1704067200123"}, "timestamp_too_far_in_future", "timestamp"),
    ],
)
def test_what_stripe_would_not_take_is_refused_in_its_words(client, services, changes, code, param):
    answer = client.post("/v1/billing/meter_events", data={**FORM, **changes})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert error["message"]
    assert logged(services) == []


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b'{"event_name":"x"}', "application/json"),
        (b"event_name=%ff", "application/x-www-form-urlencoded"),
        (b"a=1&" * 300, "application/x-www-form-urlencoded"),
        (b"\xff", "application/x-www-form-urlencoded"),
        (b"", ""),
    ],
)
def test_what_is_no_form_is_a_bad_request_to_stripe(client, services, content, media_type):
    answer = client.post("/v1/billing/meter_events", content=content, headers={"content-type": media_type})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert logged(services) == []


def test_values_keep_their_digits_and_their_sign(client, services):
    client.post("/v1/billing/meter_events", data={**FORM, "payload[value]": "-0.10"})
    assert logged(services)[0]["data"]["value"] == "-0.10"


# -------------------------------------------------------------------------------------------------
# Garbage

DOORS = {
    "/api/v1/events": "application/json",
    "/api/v3/openmeter/events": "application/cloudevents+json",
    "/api/v1/events/batch": "application/json",
    "/v1/billing/meter_events": "application/x-www-form-urlencoded",
    "/otlp/v1/logs": "application/json",
    "/otlp/v1/metrics": "application/x-protobuf",
}
WELL = {
    "/api/v1/events": json.dumps({"event": LAGO}).encode(),
    "/api/v3/openmeter/events": json.dumps([LITELLM]).encode(),
    "/api/v1/events/batch": json.dumps({"events": [LAGO]}).encode(),
    "/v1/billing/meter_events": b"event_name=x&payload[stripe_customer_id]=c&payload[value]=1&identifier=i&timestamp=1",
    "/otlp/v1/logs": json.dumps(
        {
            "resourceLogs": [
                {"scopeLogs": [{"logRecords": [{"timeUnixNano": "1", "body": {"intValue": "1"}}]}]}
            ]
        }
    ).encode(),
    "/otlp/v1/metrics": ExportMetricsServiceRequest(
        resource_metrics=[
            {
                "scope_metrics": [
                    {
                        "metrics": [
                            {
                                "name": "m",
                                "sum": {
                                    "aggregation_temporality": 2,
                                    "is_monotonic": True,
                                    "data_points": [
                                        {"time_unix_nano": 2, "start_time_unix_nano": 1, "as_int": 5}
                                    ],
                                },
                            }
                        ]
                    }
                ]
            }
        ]
    ).SerializeToString(),
}


PUT_IN = [b"{", b"[", b'"', b"\xff", b"\x00", b"1e999", b"\\ud800", b"null"]


@pytest.mark.parametrize("path", DOORS)
def test_bytes_that_were_changed_on_the_way_are_never_our_fault(client, path):
    random = Random(path)
    headers = {"content-type": DOORS[path]}
    for _ in range(150):
        body = bytearray(WELL[path])
        for _ in range(random.randrange(1, 6)):
            place = random.randrange(len(body))
            match random.randrange(3):
                case 0:
                    body[place] = random.randrange(256)
                case 1:
                    del body[place : place + random.randrange(1, 4)]
                case _:
                    body[place:place] = random.choice(
                        [b"{", b"[", b'"', b"\xff", b"\x00", b"1e999", b"\\ud800", b"null"]
                    )
        answer = client.post(path, content=bytes(body), headers=headers)
        assert answer.status_code < 500, bytes(body)


@pytest.mark.parametrize("value", ["\\ud800", "\\u0000", "1" * 300])
def test_texts_that_are_none_are_refused_or_kept_whole(client, services, value):
    for path, body in {
        "/api/v1/events": f'{{"event":{{"transaction_id":"{value}","external_subscription_id":"s","code":"c"}}}}',
        "/api/v3/openmeter/events": f'{{"specversion":"1.0","id":"{value}","source":"s","type":"t","subject":"s"}}',
    }.items():
        assert client.post(path, content=body, headers={"content-type": "application/json"}).status_code < 500
    for event in logged(services):
        assert event["id"] == json.loads(f'"{value}"')


def test_a_body_that_is_too_large_is_refused_in_each_shape(client):
    for path, media_type in DOORS.items():
        answer = client.post(path, content=b" " * (8 * 1024 * 1024 + 1), headers={"content-type": media_type})
        assert answer.status_code in (400, 413)
        assert answer.headers["connection"] == "close"


def test_a_bomb_is_refused_in_each_shape(client):
    bomb = gzip.compress(b" " * (33 * 1024 * 1024))
    for path, media_type in DOORS.items():
        headers = {"content-type": media_type, "content-encoding": "gzip"}
        assert client.post(path, content=bomb, headers=headers).status_code in (400, 413)
