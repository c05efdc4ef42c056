"""The middleware: an API that is metered is never slowed nor broken, and no request is lost or counted twice."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from decimal import Decimal
from pathlib import Path
from random import Random
from shutil import rmtree
from wsgiref.util import setup_testing_defaults

import httpx
import pytest
from fastapi import FastAPI, Request
from serving import PATIENCE_SECONDS, Server, fresh, until
from test_other_doors import logged

from farthing.middleware import MeteredAsgi, Metering, add_usage, header

NOWHERE = "http://127.0.0.1:9"
"""The port of the discard service: nobody listens there."""


def port_of_its_own():
    """One below those that the system gives away, so that nobody is given it while the server is away."""
    while True:
        port = Random().randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


class Home:
    """A server that can go away and come back to the same place."""

    def __init__(self, data_dir: Path):
        self.data_dir = data_dir
        self.port = port_of_its_own()
        self.server = Server(data_dir, workers=1, port=self.port)
        self.key = self.server.read_key()
        self.url = f"http://127.0.0.1:{self.port}"

    def go_away(self):
        assert self.server.stop() == 0
        self.server.process.communicate()

    def come_back(self):
        self.server = Server(self.data_dir, workers=1, port=self.port)

    def events(self, source):
        return [event for event in logged(self) if event["source"] == source]


@pytest.fixture(scope="module")
def home(books_dir):
    home = Home(fresh(books_dir))
    yield home
    home.go_away()
    rmtree(home.data_dir, ignore_errors=True)


@pytest.fixture
def source(request):
    return request.node.name


@pytest.fixture
def metering(home, source, tmp_path):
    quick = {"send_seconds": 0.05, "retry_seconds_max": 0.1}
    made = []

    def make(**how):
        url = how.pop("url", home.url)
        made.append(
            Metering(url, how.pop("key", home.key), tmp_path / "buffer", **{"source": source, **quick, **how})
        )
        return made[-1]

    yield make
    for one in made:
        one.close()


async def hello(scope, receive, send):
    """An application: says hello, or raises where it is asked to."""
    await receive()
    if scope["path"] == "/raise":
        raise LookupError("the app's own")
    add_usage(scope, tokens=3, cost=Decimal("0.0000012"))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"he", "more_body": True})
    await send({"type": "http.response.body", "body": b"llo"})


def ask(app, path="/", headers=(), **more):
    """One request, as a server would hand it over. Returns what the app sent."""
    scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers), **more}
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"1234567", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def by_id(events):
    found = {event["id"]: event for event in events}
    assert len(found) == len(events), "some were counted twice"
    return found


def test_a_request_becomes_an_event(home, metering, source):
    app = metering(subject=header("X-Api-Key")).asgi(hello)
    sent = ask(app, "/v1/chat", [(b"x-api-key", b"acme")])
    assert [message.get("body") for message in sent] == [None, b"he", b"llo"]
    until(lambda: home.events(source))
    (event,) = home.events(source)
    assert (event["type"], event["subject"]) == ("http.request", "acme")
    assert Decimal(event["data"].pop("duration_seconds")) >= 0
    assert event["data"] == {
        "method": "POST",
        "path": "/v1/chat",
        "status": 200,
        "bytes_received": 7,
        "bytes_sent": 5,
        "tokens": 3,
        "cost": "0.0000012",
    }


def test_the_apps_errors_stay_its_own_and_are_metered(home, metering, source):
    app = metering().asgi(hello)
    with pytest.raises(LookupError, match="the app's own"):
        ask(app, "/raise")
    until(lambda: home.events(source))
    assert home.events(source)[0]["data"]["status"] == 500


def test_a_request_that_was_cancelled_says_so(home, metering, source):
    async def cancelled(_scope, _receive, _send):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        ask(metering().asgi(cancelled))
    until(lambda: home.events(source))
    assert home.events(source)[0]["data"]["status"] == 499


def test_errors_of_metering_never_reach_the_app(home, metering, source):
    def broken(_exchange):
        raise RuntimeError("a subject that cannot be told")

    asked = metering(subject=broken)
    ask(asked.asgi(hello))
    until(lambda: home.events(source))
    assert "subject" not in {name for name, value in home.events(source)[0].items() if value is not None}
    assert "subject" in asked.standing.last_error
    ask(metering(counts=broken).asgi(hello))
    unwritable = Metering(home.url, home.key, "/proc/nowhere/at/all", source=source, send_seconds=0.05)
    ask(unwritable.asgi(hello))
    until(lambda: unwritable.standing.dropped == {"disk": 1})
    unwritable.close()
    with pytest.raises(ValueError, match="http"):
        Metering("farthing:8080", "k", "/tmp")


def test_only_what_counts_is_metered(home, metering, source):
    app = metering(counts=lambda exchange: exchange.path != "/health").asgi(hello)
    for path in ("/health", "/a", "/health"):
        ask(app, path)
    until(lambda: home.events(source))
    assert [event["data"]["path"] for event in home.events(source)] == ["/a"]


def test_lifespan_and_websockets_pass_untouched(metering):
    seen = []

    async def app(scope, _receive, _send):
        seen.append(scope)

    metered = metering().asgi(app)
    for kind in ("lifespan", "websocket"):
        asyncio.run(metered({"type": kind}, None, None))
    assert seen == [{"type": "lifespan"}, {"type": "websocket"}]


# -------------------------------------------------------------------------------------------------
# WSGI


def ask_wsgi(app, **environ):
    setup_testing_defaults(environ)
    started = []
    body = app(environ, lambda status, headers, exc_info=None: started.append(status) or (lambda _data: None))
    try:
        return started, list(body)
    finally:
        if hasattr(body, "close"):
            body.close()


def test_a_wsgi_application(home, metering, source):
    closed = []

    class Body(list):
        def close(self):
            closed.append(True)

    def app(environ, start_response):
        add_usage(environ, tokens=4)
        start_response("201 Created", [])(b"123")
        return Body([b"45", b"6"])

    metered = metering(subject=header("X-Api-Key")).wsgi(app)
    environ = {
        "HTTP_X_API_KEY": "acme",
        "CONTENT_LENGTH": "9",
        "PATH_INFO": "/\xc3\xa9",
        "REQUEST_METHOD": "PUT",
    }
    assert ask_wsgi(metered, **environ) == (["201 Created"], [b"45", b"6"])
    assert closed == [True]
    until(lambda: home.events(source))
    (event,) = home.events(source)
    assert event["subject"] == "acme"
    del event["data"]["duration_seconds"]
    assert event["data"] == {
        "method": "PUT",
        "path": "/é",
        "status": 201,
        "bytes_received": 9,
        "bytes_sent": 6,
        "tokens": 4,
    }


def test_errors_of_a_wsgi_application(home, metering, source):
    def at_once(_environ, _start_response):
        raise LookupError("at once")

    def later(_environ, start_response):
        start_response("200 OK", [])
        yield b"1"
        raise LookupError("later")

    for app in (at_once, later):
        with pytest.raises(LookupError):
            ask_wsgi(metering().wsgi(app))
    until(lambda: len(home.events(source)) == 2)
    assert [event["data"]["status"] for event in home.events(source)] == [500, 500]


def test_a_wsgi_body_keeps_its_length(metering):
    body = metering().wsgi(lambda _environ, start: start("200 OK", []) and [b"1"])({}, lambda *_: len)
    assert len(body) == 1
    body.close()


# -------------------------------------------------------------------------------------------------
# While the server is away


def test_what_happens_while_the_server_is_away_arrives_once_when_it_is_back(home, metering, source):
    app = metering().asgi(hello)
    home.go_away()
    try:
        for number in range(300):
            ask(app, f"/{number}")
    finally:
        home.come_back()
    until(lambda: len(home.events(source)) >= 300)
    paths = [event["data"]["path"] for event in by_id(home.events(source)).values()]
    assert sorted(paths) == sorted(f"/{number}" for number in range(300))


def test_a_server_that_answers_and_goes_gets_the_same_ids_again(home, tmp_path, source):
    """An answer that never came: the events are sent again, as the same events."""
    from farthing.middleware.buffer import Buffer
    from farthing.middleware.server import Server as Upstream

    buffer = Buffer(tmp_path, 1 << 20)
    line = {"id": "1", "source": source, "type": "x", "data": {}}
    buffer.append([json.dumps(line).encode() + b"\n"])
    buffer.let_go()
    upstream = Upstream(home.url, home.key)
    for _ in range(2):  # As if the process had been killed before the file was removed.
        (claim,) = buffer.claims()
        with open(claim.path, "rb") as file:
            assert upstream.send(file.readlines()).try_again == ""
    upstream.close()
    assert [event["id"] for event in home.events(source)] == ["1", "1"]


def test_a_wrong_key_loses_nothing(home, metering, source):
    asked = metering(key="fk_wrong")
    ask(asked.asgi(hello))
    until(lambda: "401" in asked.standing.last_error)
    asked.close()
    assert home.events(source) == []
    metering()
    until(lambda: home.events(source))


def test_what_the_server_refuses_is_kept_and_the_rest_is_taken(home, metering, source, tmp_path):
    asked = metering(send_seconds=0.5)
    deep = {}
    for _ in range(40):
        deep = {"deeper": deep}

    async def app(scope, receive, send):
        add_usage(scope, value=deep if scope["path"] == "/deep" else 1)
        await hello(scope, receive, send)

    for path in ("/a", "/deep", "/b"):
        ask(asked.asgi(app), path)
    until(lambda: asked.standing.sent + asked.standing.refused == 3)
    assert [event["data"]["path"] for event in home.events(source)] == ["/a", "/b"]
    (line,) = (tmp_path / "buffer" / "refused.ndjson").read_text().splitlines()
    assert json.loads(line)["data"]["path"] == "/deep"


# -------------------------------------------------------------------------------------------------
# Bounds


def test_a_full_buffer_drops_counts_and_tells(home, metering, source):
    away = metering(url=NOWHERE, buffer_bytes_max=2000)
    app = away.asgi(hello)
    for number in range(50):
        ask(app, f"/{number}")
    until(lambda: away.standing.written + sum(away.standing.dropped.values()) == 50)
    standing = away.standing
    assert set(standing.dropped) == {"buffer_full"}
    assert 0 < standing.written < 50
    away.close()
    back = metering()
    until(lambda: back.standing.sent == standing.written)
    assert len(by_id(home.events(source))) == standing.written


def test_what_was_dropped_is_told_to_the_server(home, metering, source):
    asked = metering()

    async def app(scope, receive, send):
        add_usage(scope, value=float("nan"))
        await hello(scope, receive, send)

    ask(asked.asgi(app))
    until(lambda: home.events(source))
    (event,) = home.events(source)
    assert (event["type"], event["data"]) == ("farthing.middleware.dropped", {"events": 1, "not_json": 1})
    until(lambda: asked.standing.sent == 1)  # It is told that what it sent is there a moment after it is.
    assert (asked.standing.noted, asked.standing.written) == (2, 1)


def test_a_full_queue_drops_and_counts(home, metering, source):
    asked = metering(queue_events_max=0)
    ask(asked.asgi(hello))
    assert asked.standing.dropped == {"queue_full": 1}


# -------------------------------------------------------------------------------------------------
# In processes of their own

PROCESS = """
import asyncio, json, os, resource, signal, sys, threading, time
from farthing.middleware import Metering, add_usage
url, key, buffer, source = sys.argv[1:5]

async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})

async def nothing(_message=None):
    return {}

def ask(app, path):
    asyncio.run(app({"type": "http", "method": "GET", "path": path, "headers": []}, nothing, nothing))

def make(**how):
    return Metering(url, key, buffer, source=source, send_seconds=0.05, retry_seconds_max=0.1, **how)
"""


def run(home, tmp_path, source, script, *arguments, url=None):
    """A process that runs this after what is above; it answers with what it prints."""
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS + textwrap.dedent(script), url or home.url, home.key, str(tmp_path / "buffer"),
         source, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def finished(process):
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, err
    return out


def test_several_processes_share_a_buffer_and_each_event_arrives_once(home, source, tmp_path):
    script = """
        app = make().asgi(hello)
        for number in range(200):
            ask(app, f"/{sys.argv[5]}/{number}")
    """
    for process in [run(home, tmp_path, source, script, str(number)) for number in range(3)]:
        finished(process)
    last = Metering(home.url, home.key, tmp_path / "buffer", source=source, send_seconds=0.05)
    until(lambda: len(home.events(source)) >= 600)
    last.close()
    assert len({event["data"]["path"] for event in by_id(home.events(source)).values()}) == 600


def test_a_killed_process_leaves_what_it_wrote_to_the_next(home, source, tmp_path):
    script = """
        metering = make()
        app = metering.asgi(hello)
        for number in range(500):
            ask(app, f"/{number}")
        while metering.standing.written < 500:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    process = run(home, tmp_path, source, script, url=NOWHERE)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == -signal.SIGKILL
    cut = max((tmp_path / "buffer").iterdir())
    with cut.open("ab") as file:
        file.write(b'{"id":"cut sh')  # As if it had been killed in the middle of a line.
    last = Metering(home.url, home.key, tmp_path / "buffer", source=source, send_seconds=0.05)
    until(lambda: last.standing.dropped == {"cut_short": 1})
    until(lambda: len(home.events(source)) >= 501)
    last.close()
    kinds = [event["type"] for event in by_id(home.events(source)).values()]
    assert sorted(set(kinds)) == ["farthing.middleware.dropped", "http.request"]
    assert kinds.count("http.request") == 500
    assert list((tmp_path / "buffer").iterdir()) == []


def test_a_fork_meters_on_and_nothing_is_written_twice(home, source, tmp_path):
    script = """
        metering = make()
        app = metering.asgi(hello)
        for number in range(100):
            ask(app, f"/parent/{number}")
        child = os.fork()
        for number in range(100):
            ask(app, f"/{'parent' if child else 'child'}/after/{number}")
        if not child:
            metering.close()
            os._exit(0)
        os.waitpid(child, 0)
    """
    finished(run(home, tmp_path, source, script))
    until(lambda: len(home.events(source)) >= 300)
    assert len({event["data"]["path"] for event in by_id(home.events(source)).values()}) == 300
    assert list((tmp_path / "buffer").iterdir()) == []


def test_a_full_disk_drops_counts_and_breaks_nothing(home, source, tmp_path):
    script = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # No file may grow beyond this.
        metering = make()
        app = metering.asgi(hello)
        for number in range(200):
            ask(app, f"/{number}")
        while (standing := metering.standing).written + sum(standing.dropped.values()) < 200:
            time.sleep(0.01)
        metering.close()
        print(json.dumps([metering.standing.written, metering.standing.dropped, metering.standing.sent]))
    """
    written, dropped, sent = json.loads(finished(run(home, tmp_path, source, script)))
    assert set(dropped) == {"disk"}
    assert written == sent
    events = by_id(home.events(source)).values()
    requests = [event for event in events if event["type"] == "http.request"]
    told = sum(event["data"]["events"] for event in events if event["type"] != "http.request")
    assert len(requests) + dropped["disk"] == 200
    assert told == dropped["disk"]


def test_a_request_waits_for_neither_disk_nor_network(home, source, tmp_path):
    script = """
        touched = []

        def watch(event, _arguments):
            if event.split(".")[0] in ("socket", "open", "os", "fcntl", "http") and watching:
                if threading.current_thread() is threading.main_thread():
                    touched.append(event)

        sys.addaudithook(watch)
        watching = False
        app = make().asgi(hello)
        loop = asyncio.new_event_loop()
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        watching = True
        for _ in range(1000):
            loop.run_until_complete(app(dict(scope), nothing, nothing))
        watching = False
        print(json.dumps(touched))
    """
    assert json.loads(finished(run(home, tmp_path, source, script))) == []
    until(lambda: len(home.events(source)) >= 1000)


def test_only_the_standard_library_comes_with_it(home, source, tmp_path):
    script = """
        names = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
        print(json.dumps(sorted(name for name in names if not name.startswith(("_", "sitecustomize")))))
        print(json.dumps(sorted(name for name in sys.modules if name.startswith("farthing."))))
    """
    packages, rooms = map(json.loads, finished(run(home, tmp_path, source, script)).splitlines())
    assert packages == ["farthing"]
    assert {name.split(".")[1] for name in rooms} <= {"middleware", "kernel", "rating"}


def test_leaving_is_prompt_while_the_server_is_away(home, source, tmp_path):
    before = os.times().elapsed
    finished(run(home, tmp_path, source, "ask(make().asgi(hello), '/')", url=NOWHERE))
    assert os.times().elapsed - before < PATIENCE_SECONDS / 2
    assert len(list((tmp_path / "buffer").iterdir())) == 1


def test_fastapi_tells_the_route_and_its_handlers_add_usage(home, metering, source):
    app = FastAPI()
    app.add_middleware(
        MeteredAsgi, metering=metering(subject=lambda exchange: exchange.scope["state"]["customer"])
    )

    @app.get("/items/{item_id}")
    def item(item_id: str, request: Request) -> dict[str, str]:
        request.state.customer = f"owner of {item_id}"
        add_usage(request.scope, tokens=7)
        return {"id": item_id}

    async def get():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            return await client.get("/items/9?x=1")

    assert asyncio.run(get()).json() == {"id": "9"}
    until(lambda: home.events(source))
    (event,) = home.events(source)
    data = event["data"]
    assert event["subject"] == "owner of 9"
    assert (data["path"], data["route"], data["tokens"]) == ("/items/9", "/items/{item_id}", 7)
