"""One connection, as clients of every kind treat it. Time is an argument, so nobody waits for it."""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import uvicorn

from farthing.api.front import Front
from farthing.api.http_protocol import (
    HEADERS_SECONDS_MAX,
    IDLE_SECONDS_MAX,
    PIPELINED_MAX,
    REQUEST_SECONDS_MAX,
    BoundedHttp,
    sweep,
)
from farthing.events.log.files import list_log_files, read_blocks

CONNECTIONS_MAX = 20
PATIENCE_SECONDS = 30


@dataclass
class Worker:
    """uvicorn with our protocol, in a thread of this process."""

    server: uvicorn.Server
    loop: asyncio.AbstractEventLoop
    port: int
    key: str

    def sweep_after(self, seconds: float) -> None:
        """Look at all connections as if so much time had gone by."""
        done = threading.Event()

        def look() -> None:
            sweep(self.server.server_state.connections, self.loop.time() + seconds)
            done.set()

        self.loop.call_soon_threadsafe(look)
        assert done.wait(PATIENCE_SECONDS)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)

    def head(self, *lines: str, path: str = "/v1/events", method: str = "POST") -> bytes:
        given = [f"{method} {path} HTTP/1.1", "host: x", f"authorization: Bearer {self.key}"]
        return "\r\n".join([*given, "content-type: application/json", *lines, "", ""]).encode()

    def request(self, event_id: str, *lines: str) -> bytes:
        body = json.dumps({"id": event_id, "source": "t", "type": "call"}).encode()
        return self.head(f"content-length: {len(body)}", *lines) + body


@pytest.fixture
def worker(app: Front, key: str) -> Iterator[Worker]:
    started: list[tuple[uvicorn.Server, asyncio.AbstractEventLoop]] = []
    ready = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.append((self, asyncio.get_running_loop()))
            ready.set()

    protocol: Any = partial(BoundedHttp, short_way=app, connections_max=CONNECTIONS_MAX)
    options: dict[str, Any] = {"lifespan": "off", "ws": "none", "interface": "asgi3", "loop": "uvloop"}
    config = uvicorn.Config(app, http=protocol, log_config=None, access_log=False, **options)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=Server(config).run, kwargs={"sockets": [listener]})
        thread.start()
        assert ready.wait(PATIENCE_SECONDS)
        server, loop = started[0]
        yield Worker(server, loop, port, key)
        server.should_exit = server.force_exit = True
        thread.join()


def answers(connection: socket.socket, count: int | None = None) -> list[tuple[int, dict[str, Any]]]:
    """So many answers, or all until the server ends the connection."""
    found: list[tuple[int, dict[str, Any]]] = []
    received = b""
    while count is None or len(found) < count:
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            part = b""
        if not part:
            assert count is None, f"it ended after {found} and {received!r}"
            break
        received += part
        while b"\r\n\r\n" in received:
            head, _, rest = received.partition(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 100 "):
                found.append((100, {}))
                received = rest
                continue
            lines = head.lower().split(b"\r\n")
            length = next(int(line[16:]) for line in lines if line.startswith(b"content-length: "))
            if len(rest) < length:
                break
            found.append((int(head.split()[1]), json.loads(rest[:length])))
            received = rest[length:]
    return found


def statuses(connection: socket.socket, count: int | None = None) -> list[int]:
    return [status for status, _ in answers(connection, count)]


def ids(services: Any) -> list[str]:
    return [
        json.loads(line)["id"]
        for name in list_log_files(services.data_dir / "log")
        for block in read_blocks(services.data_dir / "log" / name, 0, 1 << 30)
        for line in block.payload.splitlines()
    ]


def learn_the_key(worker: Worker) -> None:
    """The first request with a key asks the books; the next ones take the short way."""
    with closing(worker.connect()) as connection:
        connection.sendall(worker.request("first"))
        assert statuses(connection, 1) == [202]


def test_requests_are_answered_in_order_however_they_are_cut(worker: Worker, services: Any) -> None:
    learn_the_key(worker)
    stream = b"".join(worker.request(str(number)) for number in range(20))
    for size in (1, 7, 100, 1000, len(stream)):
        with closing(worker.connect()) as connection:
            for start in range(0, len(stream), size):
                connection.sendall(stream[start : start + size])
            assert statuses(connection, 20) == [202] * 20
    assert ids(services) == ["first", *[str(number) for number in range(20)] * 5]


def test_pipelined_requests_of_every_kind(worker: Worker) -> None:
    learn_the_key(worker)
    with closing(worker.connect()) as connection:
        live = b"GET /v1/health/live HTTP/1.1\r\nhost: x\r\n\r\n"
        bad = worker.head("content-length: 1") + b"{"
        wrong = worker.request("c").replace(worker.key.encode(), b"fk_wrong")
        connection.sendall(worker.request("a") + live + bad + live + worker.request("b") + wrong + live)
        assert statuses(connection, 7) == [202, 200, 400, 200, 202, 401, 200]


def test_headers_that_were_seen_before_mean_the_same_again(worker: Worker, services: Any) -> None:
    """The same headers again, byte for byte: with another body, another way of arriving, another address."""
    learn_the_key(worker)
    with closing(worker.connect()) as connection:
        for event_id in ("a1", "a2", "a3"):
            connection.sendall(worker.request(event_id))
            assert statuses(connection, 1) == [202]
        known = worker.request("a4")
        connection.sendall(known[:-1])
        worker.sweep_after(0)  # The rest comes by itself.
        connection.sendall(known[-1:])
        assert statuses(connection, 1) == [202]
        connection.sendall(worker.request("a5") + worker.request("a6"))
        assert statuses(connection, 2) == [202, 202]
        connection.sendall(known.replace(b"/v1/events", b"/v1/authorizations"))
        assert answers(connection, 1)[0][1]["code"] == "invalid_authorization"
        connection.sendall(known.replace(b"POST", b"PUT"))
        assert statuses(connection, 1) == [405]
        connection.sendall(known.replace(b"/v1/events HTTP/1.1", b"/v1/events HTTP/x"))
        assert answers(connection)[0][1]["code"] == "malformed_http"
    assert ids(services) == ["first", "a1", "a2", "a3", "a4", "a5", "a6"]


def test_more_requests_ahead_of_answers_than_a_connection_may_send(worker: Worker) -> None:
    with closing(worker.connect()) as connection:
        connection.sendall(b"GET /v1/health HTTP/1.1\r\nhost: x\r\n\r\n" * (PIPELINED_MAX + 50))
        *good, (refused, problem) = answers(connection)
        assert [status for status, _ in good] == [200] * (PIPELINED_MAX + 1)
        assert (refused, problem["code"]) == (429, "too_many_pipelined")


def test_a_client_that_closes_its_own_side_gets_its_answers(worker: Worker, services: Any) -> None:
    learn_the_key(worker)
    for _ in range(5):
        with closing(worker.connect()) as connection:
            connection.sendall(worker.request("a") + worker.request("b"))
            connection.shutdown(socket.SHUT_WR)
            assert statuses(connection) == [202, 202]
    assert len(ids(services)) == 11


def test_a_body_that_ends_too_early(worker: Worker, services: Any) -> None:
    for sent in (worker.head("content-length: 100") + b"{", worker.head()[:-20]):
        with closing(worker.connect()) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            ((status, problem),) = answers(connection)
            assert (status, problem["code"]) == (400, "incomplete_body")
    assert ids(services) == []


def test_a_body_that_is_longer_than_was_said(worker: Worker, services: Any) -> None:
    learn_the_key(worker)
    with closing(worker.connect()) as connection:
        connection.sendall(worker.request("a") + b"MORE THAN WAS SAID\r\n\r\n")
        (good, _), (bad, problem) = answers(connection)
        assert (good, bad, problem["code"]) == (202, 400, "malformed_http")
    assert ids(services) == ["first", "a"]


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_a_body_in_chunks(worker: Worker, services: Any) -> None:
    learn_the_key(worker)
    body = b'{"id":"a","source":"s","type":"t"}'
    with closing(worker.connect()) as connection:
        for size in (1, 5, 100):
            connection.sendall(worker.head("transfer-encoding: chunked") + chunked(body, size))
            assert statuses(connection, 1) == [202]
        trailer = chunked(body, 9)[:-2] + b"authorization: Bearer fk_other\r\n\r\n"
        connection.sendall(worker.head("transfer-encoding: chunked") + trailer)
        assert statuses(connection, 1) == [202]
    assert ids(services) == ["first", *["a"] * 4]


@pytest.mark.parametrize(
    "sent",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"-1\r\n{}\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_chunks_that_are_none(worker: Worker, sent: bytes) -> None:
    with closing(worker.connect()) as connection:
        connection.sendall(worker.head("transfer-encoding: chunked") + sent)
        assert statuses(connection)[-1] == 400


def test_two_lengths_are_refused(worker: Worker, services: Any) -> None:
    for both in (
        ("content-length: 4", "transfer-encoding: chunked"),
        ("content-length: 4", "content-length: 5"),
        ("content-length: +4",),
    ):
        with closing(worker.connect()) as connection:
            connection.sendall(worker.head(*both) + b"4\r\nnull\r\n0\r\n\r\n")
            assert statuses(connection)[0] == 400
    assert ids(services) == []


def test_a_client_that_asks_before_it_sends(worker: Worker) -> None:
    learn_the_key(worker)
    body = b'{"id":"a","source":"s","type":"t"}'
    with closing(worker.connect()) as connection:
        connection.sendall(worker.head(f"content-length: {len(body)}", "expect: 100-continue"))
        assert statuses(connection, 1) == [100]
        connection.sendall(body)
        assert statuses(connection, 1) == [202]
        large = worker.head("content-length: 99999999", "expect: 100-continue")
        connection.sendall(large)
        assert statuses(connection, 1) == [413], "and not 100"


def test_who_sends_a_header_at_a_time_is_cut_off(worker: Worker) -> None:
    with closing(worker.connect()) as silent, closing(worker.connect()) as slow:
        slow.sendall(b"POST /v1/events HTTP/1.1\r\nhost: x\r\na: ")
        with closing(worker.connect()) as honest:
            honest.sendall(worker.request("a"))
            assert statuses(honest, 1) == [202]
            worker.sweep_after(HEADERS_SECONDS_MAX - 1)
            slow.sendall(b"b\r\nc: ")
            worker.sweep_after(HEADERS_SECONDS_MAX + 5)
            ((status, problem),) = answers(slow)
            assert (status, problem["code"]) == (408, "headers_too_slow")
            assert answers(silent) == []
            honest.sendall(worker.request("b"))
            assert statuses(honest, 1) == [202]
            worker.sweep_after(IDLE_SECONDS_MAX + 5)
            assert answers(honest) == []


def test_who_goes_on_sending_a_body_that_was_refused_is_cut_off(worker: Worker) -> None:
    with closing(worker.connect()) as connection:
        connection.sendall(worker.head("content-length: 5000").replace(worker.key.encode(), b"fk_wrong"))
        assert statuses(connection, 1) == [401]
        connection.sendall(b"a")
        worker.sweep_after(REQUEST_SECONDS_MAX + 5)
        assert answers(connection) == []


def test_no_more_connections_than_a_worker_may_have(worker: Worker) -> None:
    held = [worker.connect() for _ in range(CONNECTIONS_MAX)]
    try:
        for connection in held:
            connection.sendall(worker.request("a"))
        assert [statuses(connection, 1) for connection in held] == [[202]] * CONNECTIONS_MAX
        with closing(worker.connect()) as one_more:
            ((status, problem),) = answers(one_more)
            assert (status, problem["code"]) == (503, "too_many_connections")
    finally:
        for connection in held:
            connection.close()


def test_noise_never_breaks_a_worker(worker: Worker) -> None:
    for number in range(200):
        with closing(worker.connect()) as connection:
            noise = os.urandom(64) if number % 2 else worker.request("x")[: number % 90] + os.urandom(16)
            connection.sendall(noise)
            connection.shutdown(socket.SHUT_WR)
            assert all(status in (400, 408, 431, 202, 401, 404) for status in statuses(connection))
    learn_the_key(worker)
