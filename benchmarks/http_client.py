"""A load generator that costs little: ready-made requests over plain sockets, one thread for each connection."""

import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.measuring import Wrong


@dataclass(frozen=True, slots=True)
class Sent:
    """What sending took: from the first byte to the last answer, and each request by itself."""

    seconds: float
    request_seconds: tuple[float, ...]


def request(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A POST, as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def send_all(port: int, requests: Sequence[bytes], connections: int, status: int) -> Sent:
    """Send every request, the next on a connection as soon as the one before it was answered with `status`."""
    waiting, turn = iter(requests), threading.Lock()
    took: list[float] = []
    failures: list[BaseException] = []
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for one in sockets:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threads = [
        threading.Thread(target=_send, args=(one, waiting, turn, status, took, failures)) for one in sockets
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    for one in sockets:
        one.close()
    if failures:
        raise failures[0]
    return Sent(seconds, tuple(took))


def _send(
    connection: socket.socket,
    waiting: Iterable[bytes],
    turn: threading.Lock,
    status: int,
    took: list[float],
    failures: list[BaseException],
) -> None:
    try:
        while not failures:
            with turn:
                ready = next(iter(waiting), None)
            if ready is None:
                return
            started = time.perf_counter()
            connection.sendall(ready)
            answer = _answer(connection)
            took.append(time.perf_counter() - started)
            if not answer.startswith(b"HTTP/1.1 %d " % status):
                raise Wrong(f"the server answered {answer[:500]!r}")
    except BaseException as error:  # noqa: BLE001  it is raised again in the thread that waits
        failures.append(error)


def _answer(connection: socket.socket) -> bytes:
    """One response with a Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    while len(body) < length:
        body += _some(connection)
    return head + b"\r\n\r\n" + body


def _some(connection: socket.socket) -> bytes:
    part = connection.recv(65536)
    if not part:
        raise Wrong("the server closed the connection")
    return part
