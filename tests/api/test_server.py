"""The real server over a real socket: start, serve, lose a worker, replace all, stop without losing a request."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from farthing.events.log.files import list_log_files, read_blocks

# Starting a server opens its books; under load that can take a while.
PATIENCE_SECONDS = 60

SERVE = """
import logging, sys
from pathlib import Path
from farthing.api.process import ServerSettings
from farthing.api.server import serve
logging.basicConfig(level="WARNING")
settings = ServerSettings(data_dir=Path(sys.argv[1]), port=int(sys.argv[2]), workers=int(sys.argv[3]))
sys.exit(serve(settings, lambda line: print(line, flush=True)))
"""


class Server:
    """A server as its own process, with what it said."""

    def __init__(self, data_dir: Path, workers: int, port: int = 0) -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(data_dir), str(port), str(workers)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.port = 0
        self.key = ""
        assert self.process.stdout is not None
        while not self.port:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            self.lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])

    def read_key(self) -> str:
        assert self.process.stdout is not None
        self.lines.append(self.process.stdout.readline())
        self.key = self.lines[-1].split()[-1]
        return self.key

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def workers(self) -> list[int]:
        """The processes that the supervisor keeps."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [
            int(child)
            for child in children
            if b"farthing.api.process" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)


def send(connection, key, event_id):
    """One event; its status, or None where the connection was cut."""
    body = json.dumps({"id": event_id, "source": "t", "type": "call"})
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        connection.request("POST", "/v1/events", body, headers)
        response = connection.getresponse()
        response.read()
    except (ConnectionError, http.client.HTTPException):
        connection.close()
        return None
    return response.status


def logged(data_dir):
    found = []
    for name in list_log_files(data_dir / "log"):
        for block in read_blocks(data_dir / "log" / name, 0, 1 << 30):
            found += [json.loads(line)["id"] for line in block.payload.splitlines()]
    return found


def until(condition):
    """Wait for something that takes its time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def fresh(books_dir):
    """A data directory of its own, where the embedded PostgreSQL may live."""
    return books_dir.with_name(f"server-{os.urandom(4).hex()}")


@pytest.fixture(scope="module")
def home(books_dir):
    """A data directory whose first start is over, and its API key."""
    server = Server(fresh(books_dir), workers=1)
    key = server.read_key()
    assert server.stop() == 0
    server.process.communicate()
    return server.data_dir, key


@pytest.fixture
def data_dir(home):
    return home[0]


@pytest.fixture
def server(home):
    server = Server(home[0], workers=2)
    server.key = home[1]
    yield server
    if server.process.poll() is None:
        server.stop()
    server.process.communicate()


class Load:
    """Clients that send one event after another and remember what was acknowledged."""

    def __init__(self, server: Server, clients: int) -> None:
        self.acknowledged: list[str] = []
        self.cut = 0
        self.refused: list[int] = []
        self._run_id = os.urandom(4).hex()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(server, n)) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, server: Server, number: int) -> None:
        count = 0
        with closing(server.connection()) as connection:
            while not self._stop.is_set():
                count += 1
                event_id = f"{self._run_id}-{number}-{count}"
                try:
                    status = send(connection, server.key, event_id)
                except OSError:
                    status = None
                if status == 202:
                    self.acknowledged.append(event_id)
                elif status is None:
                    self.cut += 1
                else:
                    self.refused.append(status)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def until_more(self, events: int) -> None:
        wanted = len(self.acknowledged) + events
        until(lambda: len(self.acknowledged) >= wanted)


def test_it_serves_and_stops_without_losing_what_it_acknowledged(server, data_dir):
    with closing(server.connection()) as connection:
        connection.request("GET", "/v1/health/ready")
        response = connection.getresponse()
        assert (response.status, json.load(response)["status"]) == (200, "ok")
        assert send(connection, "fk_wrong", "no") == 401
    load = Load(server, clients=4)
    load.until_more(200)
    assert server.stop() == 0
    load.end()
    assert load.refused == []
    stored = logged(data_dir)
    assert set(load.acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_the_key_is_shown_on_the_first_start_only(books_dir):
    first = Server(fresh(books_dir), workers=1)
    key = first.read_key()
    assert "API key" in first.lines[-1]
    assert first.stop(signal.SIGINT) == 0
    first.process.communicate()
    again = Server(first.data_dir, workers=1)
    with closing(again.connection()) as connection:
        assert send(connection, key, "1") == 202
    assert again.stop() == 0
    output, errors = again.process.communicate()
    assert "API key" not in output + errors


def test_a_worker_that_dies_is_replaced(server):
    before = set(server.workers())
    assert len(before) == 2
    load = Load(server, clients=4)
    load.until_more(50)
    os.kill(min(before), signal.SIGKILL)
    until(lambda: len(set(server.workers()) - before) == 1)
    load.until_more(50)
    load.end()
    assert load.cut <= 4, "only what was under way in the dead worker may be cut"
    assert load.refused == []
    assert set(load.acknowledged) <= set(logged(server.data_dir))


def test_all_processes_are_replaced_and_no_client_notices(server):
    before = set(server.workers())
    load = Load(server, clients=4)
    load.until_more(50)
    server.process.send_signal(signal.SIGHUP)
    until(lambda: len(server.workers()) == 2 and not before & set(server.workers()))
    load.until_more(50)
    load.end()
    assert (load.cut, load.refused) == (0, [])


def test_workers_do_not_outlive_a_supervisor_that_is_killed(server):
    workers = server.workers()
    server.process.kill()
    server.process.wait()
    until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    again = Server(server.data_dir, workers=1, port=server.port)
    assert again.stop() == 0
    again.process.communicate()


def test_a_port_that_is_taken_is_said_so(data_dir):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        process = subprocess.run(
            [sys.executable, "-c", SERVE, str(data_dir), str(port), "1"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
    assert process.returncode == 1
    assert "address_in_use" in process.stderr or "cannot listen on" in process.stderr


def raw(port, payload):
    """Send bytes as they are, and read until the server closes."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)) as connection:
        connection.sendall(payload)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def test_broken_http_is_answered_with_a_problem(server):
    answer = raw(server.port, b"NONSENSE\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"malformed_http"' in answer
    endless = b"GET /v1/health HTTP/1.1\r\nhost: x\r\n" + b"a: " + b"x" * 100_000 + b"\r\n\r\n"
    answer = raw(server.port, endless)
    assert answer.startswith(b"HTTP/1.1 431 ")
    many = b"GET /v1/health HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(200)) + b"\r\n"
    assert raw(server.port, many).startswith(b"HTTP/1.1 431 ")


def test_a_body_over_the_limit_is_answered_before_the_connection_ends(server):
    with closing(server.connection()) as connection:
        headers = {"authorization": f"Bearer {server.key}", "content-type": "application/json"}
        connection.request("POST", "/v1/events", b" " * (9 << 20), headers)
        response = connection.getresponse()
        assert response.status == 413
        assert json.load(response)["code"] == "body_too_large"
        assert response.headers["connection"] == "close"


def test_half_open_connections_hold_nobody_up(server):
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(300)]
    try:
        for connection in silent[:150]:
            connection.sendall(b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-le")
        with closing(server.connection()) as connection:
            started = time.monotonic()
            assert [send(connection, server.key, str(n)) for n in range(50)] == [202] * 50
            assert time.monotonic() - started < 10
    finally:
        for connection in silent:
            connection.close()
