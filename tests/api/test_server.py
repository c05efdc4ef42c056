"""The real server over a real socket: start, serve, lose a worker, replace all, stop without losing a request."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from serving import PATIENCE_SECONDS, SERVE, Load, Server, fresh, logged, send, until


@pytest.fixture
def data_dir(home):
    return home[0]


@pytest.fixture
def server(home):
    server = Server(home[0], workers=2)
    server.key = home[1]
    until(lambda: len(server.workers()) == 2)
    yield server
    if server.process.poll() is None:
        server.stop()
    server.process.communicate()


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
    # Those there are first become ready, then one takes the place of each, one after the other.
    for left in (1, 0):
        until(lambda left=left: len(before & set(server.workers())) <= left)
    until(lambda: len(server.workers()) == 2)
    load.until_more(50)
    load.end()
    assert (load.cut, load.refused) == (0, [])


def test_an_engine_that_cannot_begin_is_tried_again_and_the_server_goes_on(home):
    # Its processes find the engine where these tests are.
    before = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from dataclasses import replace
serve_all = serve
serve = lambda settings, announce: serve_all(replace(settings, engine="engine_at_second_try:run"), announce)
"""
    server = Server(home[0], workers=1, before=before)
    until(lambda: (home[0] / "engine-runs").exists())
    assert (home[0] / "engine-tried").exists()
    with closing(server.connection()) as connection:
        assert send(connection, home[1], "beside an engine") == 202
    assert server.stop() == 0
    assert "could not start" not in server.process.communicate()[1]


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
