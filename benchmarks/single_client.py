"""A load generator for small requests: one thread, many connections, an epoll loop that does next to nothing.

Every connection has one request under way (a closed loop): what is measured is the server. Of an answer
only its status, its declared length and `Connection: close` are looked at.
"""

import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.measuring import Wrong

_LENGTH = b"content-length: "
SILENCE_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Answered:
    """What sending took: from the first byte to the last answer, and each request by itself.

    cpu_seconds: of this generator alone. reconnects: how often the server ended a connection politely.
    """

    seconds: float
    request_seconds: tuple[float, ...]
    cpu_seconds: float
    reconnects: int


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    sent_at: float = 0.0
    received: bytes = b""


def send_each(
    port: int,
    requests: Iterator[bytes],
    connections: int,
    status: int,
    meanwhile: Callable[[int], object] | None = None,
) -> Answered:
    """Send every request, each connection its next as soon as the one before was answered with `status`.

    A connection that the server ends politely (`Connection: close` on an answer) is opened again. One that
    is cut or refused, and an answer with another status, is Wrong: a request has failed.

    meanwhile: called with the number of answers, every hundred of them.
    """
    load = Load(port, requests, b"HTTP/1.1 %d " % status)
    cpu, started = time.process_time(), time.perf_counter()
    try:
        for _ in range(connections):
            load.send_next(load.connect())
        while load.open:
            for one in load.ready():
                if load.answered(one):
                    if meanwhile and len(load.took) % 100 == 0:
                        meanwhile(len(load.took))
                    load.send_next(one)
    finally:
        load.end()
    seconds = time.perf_counter() - started
    return Answered(seconds, tuple(load.took), time.process_time() - cpu, load.reconnects)


def sent_in_pairs(load: "Load", pairs: Iterator[tuple[bytes, bytes]], connections: int) -> Answered:
    """Send pairs of requests: the second of each on the same connection, once the first is answered."""
    second: dict[int, bytes] = {}
    cpu, started = time.process_time(), time.perf_counter()
    try:
        for _ in range(connections):
            _send_pair(load, load.connect(), pairs, second)
        while load.open:
            for one in load.ready():
                if load.answered(one):
                    _send_pair(load, one, pairs, second)
    finally:
        load.end()
    seconds = time.perf_counter() - started
    return Answered(seconds, tuple(load.took), time.process_time() - cpu, load.reconnects)


def _send_pair(
    load: "Load", one: "_Connection", waiting: Iterator[tuple[bytes, bytes]], second: dict[int, bytes]
) -> None:
    place = one.socket.fileno()
    follows = second.pop(place, None)
    if follows is None:
        pair = next(waiting, None)
        if pair is None:
            load.leave(one)
            return
        follows, second[place] = pair
    load.send(one, follows)


@dataclass(slots=True)
class Load:
    """Requests on their way over many connections. `expected`: how the answer to each begins."""

    port: int
    requests: Iterator[bytes]
    expected: bytes
    open: dict[int, _Connection] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    reconnects: int = 0
    poll: select.epoll = field(default_factory=select.epoll)

    def connect(self) -> _Connection:
        one = _Connection(_connected(self.port))
        self.open[one.socket.fileno()] = one
        self.poll.register(one.socket.fileno(), select.EPOLLIN)
        return one

    def leave(self, one: _Connection) -> None:
        self.poll.unregister(one.socket.fileno())
        del self.open[one.socket.fileno()]
        one.socket.close()

    def ready(self) -> list[_Connection]:
        events = self.poll.poll(SILENCE_SECONDS_MAX)
        if not events:
            raise Wrong(f"no answer for {SILENCE_SECONDS_MAX:.0f} s; {len(self.took)} came before")
        return [self.open[descriptor] for descriptor, _ in events]

    def send_next(self, one: _Connection) -> None:
        ready = next(self.requests, None)
        if ready is None:
            self.leave(one)
            return
        self.send(one, ready)

    def send(self, one: _Connection, ready: bytes) -> None:
        one.sent_at = time.perf_counter()
        if one.socket.send(ready) != len(ready):
            raise Wrong("a request is too large for a socket's buffer")

    def answered(self, one: _Connection) -> bool:
        """Read what has come. Whether that makes the answer whole, and the connection free for the next."""
        part = one.socket.recv(65536)
        if not part:
            raise Wrong("the server closed a connection on which a request was under way")
        answer = one.received + part
        head, end, body = answer.partition(b"\r\n\r\n")
        at = head.find(_LENGTH)
        if not end or len(body) < int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]):
            one.received = answer
            return False
        self.took.append(time.perf_counter() - one.sent_at)
        one.received = b""
        if not answer.startswith(self.expected):
            raise Wrong(f"the server answered {answer[:500]!r}")
        if b"connection: close" in head:
            self.leave(one)
            self.reconnects += 1
            self.send_next(self.connect())
            return False
        return True

    def end(self) -> None:
        for one in [*self.open.values()]:
            self.leave(one)
        self.poll.close()


def _connected(port: int) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.setblocking(False)
    return one
