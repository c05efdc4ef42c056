"""Lines of access logs as events: every server's own format, and what is no line of it."""

import json
from datetime import UTC, datetime

import pytest

from farthing.events.doors.access_logs import ACCESS_FORMATS, AccessLog, fingerprint, read_line
from farthing.events.doors.translated import Untranslatable
from farthing.events.model import Event
from farthing.kernel.errors import InvalidInput

COMMON = '203.0.113.9 - acme [17/May/2015:10:05:03 +0200] "GET /v1/chat?key=secret HTTP/1.1" 200 2326'
COMBINED = COMMON + ' "http://example.org/" "curl/8.0 (\\"x\\")"'
TIME = datetime(2015, 5, 17, 8, 5, 3, tzinfo=UTC)


def read(line, kind="nginx", **how):
    text = line if isinstance(line, bytes) else line.encode()
    return read_line(text, AccessLog(kind, "s", **how), "f", 7)


def data(event):
    assert isinstance(event, Event), event
    return json.loads(bytes(event.data))


BASE = {"method": "GET", "path": "/v1/chat", "protocol": "HTTP/1.1", "status": 200, "bytes_sent": 2326}


@pytest.mark.parametrize("kind", ["nginx", "apache", "kong"])
@pytest.mark.parametrize(
    "line", [COMMON, COMBINED, COMBINED + ' 0.004 "10.0.0.1, 10.0.0.2"', COMMON + "\r\n"]
)
def test_common_and_combined(kind, line):
    event = read(line, kind, subject="remote_user")
    assert (event.id, event.source, event.type, event.subject) == ("f:7", "s", "http.request", "acme")
    assert event.time == TIME
    assert data(event) == BASE


def test_apache_with_the_host_before_it():
    assert data(read("api.example.org:443 " + COMBINED, "apache")) == {**BASE, "host": "api.example.org:443"}


def test_nothing_of_a_person_is_kept_unless_it_is_asked_for():
    line = COMBINED + ' "tok-9"'
    assert "203.0.113.9" not in str(data(read(line)))
    event = read(line, subject="extra.1", keep=("remote_addr", "user_agent", "extra.1"))
    assert event.subject == "tok-9"
    assert data(event) == {
        **BASE, "remote_addr": "203.0.113.9", "user_agent": 'curl/8.0 ("x")', "extra_1": "tok-9"
    }  # fmt: skip


def test_a_request_that_was_none_is_still_a_request():
    line = '203.0.113.9 - - [17/May/2015:10:05:03 +0000] "\\x16\\x03\\x01" 400 -'
    event = read(line)
    assert (event.subject, data(event)) == (None, {"status": 400})


@pytest.mark.parametrize(
    ("stamp", "time"),
    [
        ("29/Feb/2024:23:59:59 -0530", datetime(2024, 3, 1, 5, 29, 59, tzinfo=UTC)),
        ("01/Jan/2024:00:00:00 +0000", datetime(2024, 1, 1, tzinfo=UTC)),
        ("29/Feb/2023:00:00:00 +0000", None),
        ("01/Foo/2024:00:00:00 +0000", None),
        ("01/Jan/2024:00:00:00", None),
        ("yesterday", None),
    ],
)
def test_times_of_the_common_format(stamp, time):
    found = read(f'h - - [{stamp}] "GET / HTTP/1.1" 200 1')
    if time is None:
        assert isinstance(found, Untranslatable)
        assert found.path == "time"
    else:
        assert found.time == time


ENVOY = (
    '[2016-04-15T20:17:00.310Z] "POST /api/v1/locations HTTP/2" 204 - 154 0 226 100 "10.0.35.28" '
    '"nsq2http" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "locations" "tcp://10.0.2.1:80"'
)
ISTIO = (
    '[2020-11-25T21:26:18.409Z] "GET /status/418 HTTP/1.1" 418 - via_upstream - "a b" 5 135 4 4 "-" '
    '"curl/7.73.0-DEV" "84961386-6d84-929d-98bd-c5aee93b5c88" "httpbin:8000" "127.0.0.1:80" inbound - "-"'
)


def test_envoy_and_istio():
    event = read(ENVOY, "envoy", subject="authority")
    assert (event.subject, event.time) == ("locations", datetime(2016, 4, 15, 20, 17, 0, 310000, tzinfo=UTC))
    assert data(event) == {
        "method": "POST",
        "path": "/api/v1/locations",
        "protocol": "HTTP/2",
        "status": 204,
        "bytes_sent": 0,
        "bytes_received": 154,
        "duration_seconds": 0.226,
        "host": "locations",
    }
    found = data(read(ISTIO, "envoy"))
    assert (found["status"], found["bytes_received"], found["bytes_sent"]) == (418, 5, 135)
    assert found["host"] == "httpbin:8000"


KONG = {
    "started_at": 1704067200123,
    "request": {
        "method": "POST",
        "uri": "/chat?x=1",
        "size": "300",
        "headers": {"host": "ai.example", "x-team": "t"},
    },
    "response": {"status": 200, "size": 1200},
    "latencies": {"request": 515, "kong": 58, "proxy": 457},
    "consumer": {"id": "c-1", "username": "acme"},
    "service": {"name": "llm"},
    "route": {"name": "chat"},
    "client_ip": "203.0.113.9",
    "ai": {"proxy": {"usage": {"prompt_tokens": 89, "cost": 0.00098400000000000001}}},
}


def test_kong():
    event = read(json.dumps(KONG).replace("0.000984", "0.00098400000000000001"), "kong", keep=("ai",))
    assert (event.subject, event.time) == ("acme", datetime(2024, 1, 1, 0, 0, 0, 123000, tzinfo=UTC))
    assert data(event)["ai"]["proxy"]["usage"]["prompt_tokens"] == 89
    assert b"0.00098400000000000001" in bytes(event.data)
    assert {name: value for name, value in data(event).items() if name != "ai"} == {
        "method": "POST",
        "path": "/chat",
        "status": 200,
        "bytes_sent": 1200,
        "bytes_received": 300,
        "duration_seconds": 0.515,
        "host": "ai.example",
        "route": "chat",
        "service": "llm",
    }
    assert read(json.dumps(KONG), "kong", subject="request.headers.x-team").subject == "t"


@pytest.mark.parametrize(
    ("fields", "time"),
    [
        ({"time_iso8601": "2024-01-01T01:00:00+01:00"}, datetime(2024, 1, 1, tzinfo=UTC)),
        ({"msec": "1704067200.250"}, datetime(2024, 1, 1, 0, 0, 0, 250000, tzinfo=UTC)),
        ({"timestamp": 1704067200}, datetime(2024, 1, 1, tzinfo=UTC)),
        ({"@timestamp": 1704067200250}, datetime(2024, 1, 1, 0, 0, 0, 250000, tzinfo=UTC)),
        ({"time": 1704067200250001}, datetime(2024, 1, 1, 0, 0, 0, 250001, tzinfo=UTC)),
        ({"time_local": "01/Jan/2024:01:00:00 +0100"}, datetime(2024, 1, 1, tzinfo=UTC)),
        ({"time": "2024-01-01T00:00:00"}, None),
        ({"time": "-"}, None),
        ({}, None),
    ],
)
def test_times_of_lines_of_json(fields, time):
    found = read(json.dumps({"status": 200, **fields}))
    assert getattr(found, "time", None) == time


def test_nginx_in_json():
    line = json.dumps(
        {
            "time_iso8601": "2024-01-01T00:00:00+00:00",
            "remote_user": "-",
            "request": "GET /a%20b?c HTTP/1.0",
            "status": "304",
            "body_bytes_sent": "0",
            "request_length": 17,
            "request_time": "0.004",
            "http.x-api-key": "k",
        }
    )
    event = read(line, subject="http.x-api-key")
    assert event.subject == "k"
    assert data(event) == {
        "method": "GET",
        "path": "/a%20b",
        "protocol": "HTTP/1.0",
        "status": 304,
        "bytes_sent": 0,
        "bytes_received": 17,
        "duration_seconds": 0.004,
    }


@pytest.mark.parametrize("kind", ACCESS_FORMATS)
@pytest.mark.parametrize(
    "line",
    [b"garbage", b"{", b"[1]", b'{"a":' * 5000, b"\xff\xfe", b'"' * 1000, b"x" * 300_000, b'{"time":NaN}',
     b"a - " + b" [x] \"" * 20_000],
    ids=lambda line: line[:8],
)  # fmt: skip
def test_garbage_is_named_and_never_raises(kind, line):
    assert isinstance(read(line, kind), Untranslatable)


def test_bytes_that_are_no_text_are_written_out():
    event = read(b'h - a\xff [17/May/2015:10:05:03 +0000] "GET /\xe9 HTTP/1.1" 200 1')
    assert (event.subject, data(event)["path"]) == ("a\\xff", "/\\xe9")


def test_a_constant_subject_and_one_that_is_too_long():
    assert read(COMMON, subject="'everyone'").subject == "everyone"
    assert isinstance(read(COMMON.replace("acme", "a" * 300)), Untranslatable)


@pytest.mark.parametrize("keep", [("a", ""), ("a.b", "a_b")])
def test_how_a_log_is_read_is_checked(keep):
    with pytest.raises(InvalidInput):
        AccessLog("nginx", "s", keep=keep)
    with pytest.raises(InvalidInput):
        AccessLog("iis", "s")


def test_a_file_is_known_by_its_first_line():
    assert fingerprint(b"one\n") == fingerprint(b"one") == fingerprint(b"one\r\n") != fingerprint(b"two\n")
