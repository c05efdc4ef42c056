"""Single events over HTTP from 64 connections, restarts under load, and what a killed worker costs."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import postgres
from benchmarks.bench import Bench
from benchmarks.file_door import check_sums, new_tenant
from benchmarks.http_client import request
from benchmarks.ingest_http import SEALED_SECONDS_MAX, baseline_server
from benchmarks.measuring import (
    Stretch,
    Wrong,
    percentile,
    postmaster,
    require_equal,
    series,
    stretch,
    tree,
    watched_memory,
)
from benchmarks.report import Row
from benchmarks.serving import serve
from benchmarks.single_client import Answered, send_each
from benchmarks.workload import Expected, batches, expected_of, traffic_of
from farthing.api.keys import create_key
from farthing.app import wall_clock
from farthing.db.secret import load_secret
from farthing.db.tenants import tenant_id
from farthing.events.store.books import tally

ABOUT = (
    "Single events: one event a request, each answered when it is on disk (baseline: when its INSERT was "
    "committed). Restarts: every process replaced while 64 connections send; a failed request ends the run."
)
CONNECTIONS = 64
PROCESSES = 3
"""What a rolling restart replaces: two workers and the engine."""
RESTART_SECONDS_MAX = 120.0
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class _Load:
    bodies: list[bytes]
    expected: Expected


@dataclass(slots=True)
class _Run:
    answered: Answered
    work: Stretch
    memory_bytes: int = 0

    @property
    def per_second(self) -> float:
        return len(self.answered.request_seconds) / self.answered.seconds

    @property
    def slowest_ms(self) -> float:
        return percentile(self.answered.request_seconds, 0.99) * 1000

    @property
    def cpu_us(self) -> float:
        return self.work.cpu_seconds * 1e6 / len(self.answered.request_seconds)


def run(bench: Bench) -> list[Row]:
    """Both servers stand the whole time; repetitions alternate. Then restarts, and workers that are killed."""
    sizes = bench.sizes
    ours: list[_Run] = []
    theirs: list[_Run] = []
    load, small = _load(bench, sizes.single_events), _load(bench, sizes.single_events_baseline)
    conninfo = postgres.connection_text(bench.app.settings.data_dir)
    postgres.make_table(conninfo)
    with (
        serve(bench.app.settings.data_dir) as serving,
        baseline_server(conninfo) as (baseline, baseline_port),
    ):
        server, port = serving.pid, serving.port
        for number in range(sizes.repetitions):
            with bench.saying(f"single events: Farthing, {number + 1} of {sizes.repetitions}"):
                ours.append(_to_farthing(bench, server, port, f"single-{number}", load))
            with bench.saying(f"single events: PostgreSQL, {number + 1} of {sizes.repetitions}"):
                theirs.append(_to_baseline(bench, baseline, baseline_port, conninfo, small))
        with bench.saying(f"{sizes.restarts} restarts under load"):
            restarted, done = _restarts(bench, server, port, sizes.restarts)
        with bench.saying("killing all workers"):
            gaps = [_gap(server, port) for _ in range(sizes.long_repetitions)]
    return [
        Row(
            "HTTP single events, on disk",
            "events/s",
            series(one.per_second for one in ours),
            series(one.per_second for one in theirs),
        ),
        Row(
            "  99th percentile of a request",
            "ms",
            series(one.slowest_ms for one in ours),
            series(one.slowest_ms for one in theirs),
            less_is_better=True,
        ),
        Row(
            "  CPU per event, all processes",
            "us",
            series(one.cpu_us for one in ours),
            series(one.cpu_us for one in theirs),
            less_is_better=True,
        ),
        Row(
            "  memory of all processes",
            "MiB",
            series(one.memory_bytes / 2**20 for one in ours),
            less_is_better=True,
        ),
        Row("Restarts, no request failed", "restarts", series([float(done)])),
        Row(
            "  99.9th percentile of a request",
            "ms",
            series([percentile(restarted.request_seconds, 0.999) * 1000]),
            less_is_better=True,
        ),
        Row("All workers killed, next answer", "s", series(gaps), less_is_better=True),
    ]


def _load(bench: Bench, events: int) -> _Load:
    traffic = traffic_of(events, min(bench.sizes.customers, events // 2))
    lines = [line for some, _ in batches(traffic, 1_000) for line in some.splitlines()]
    return _Load(lines, expected_of(traffic))


def _new_key(bench: Bench, tenant: str) -> tuple[int, dict[str, str]]:
    app = bench.app
    identity = tenant_id(app.books, new_tenant(app, tenant))
    key = create_key(app.books, load_secret(app.settings.data_dir), identity, "bench", wall_clock())
    return identity, {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents+json"}


def _to_farthing(bench: Bench, server: int, port: int, tenant: str, load: _Load) -> _Run:
    identity, headers = _new_key(bench, tenant)
    requests = [request("/v1/events", body, headers) for body in load.bodies]
    database = postmaster(bench.app.settings.data_dir)
    with watched_memory(server, database) as memory, stretch(server, database) as work:
        answered = send_each(port, iter(requests), CONNECTIONS, 202)
        _wait_until_sealed(bench, identity, load.expected.sent)
    with bench.app.books.read_only(identity) as conn:
        done = tally(conn, identity)
    right = {
        "accepted": load.expected.sent,
        "counted": load.expected.counted,
        "duplicate": load.expected.duplicates,
        "quarantined": 0,
    }
    require_equal("the account of what was sent", done, right)
    check_sums(bench.app, tenant, load.expected)
    return _Run(answered, work, memory.peak_bytes)


def _wait_until_sealed(bench: Bench, identity: int, events: int) -> None:
    deadline = time.monotonic() + SEALED_SECONDS_MAX
    while True:
        with bench.app.books.read_only(identity) as conn:
            accepted = tally(conn, identity)["accepted"]
        if accepted >= events:
            require_equal("events in the account", accepted, events)
            return
        if time.monotonic() > deadline:
            raise Wrong(f"only {accepted} events were sealed in {SEALED_SECONDS_MAX:.0f} s")
        time.sleep(_POLL_SECONDS)


def _to_baseline(bench: Bench, server: int, port: int, conninfo: str, load: _Load) -> _Run:
    postgres.make_table(conninfo)
    headers = {"Content-Type": "application/x-ndjson"}
    requests = [request("/events", body, headers) for body in load.bodies]
    with stretch(server, postmaster(bench.app.settings.data_dir)) as work:
        answered = send_each(port, iter(requests), CONNECTIONS, 202)
    postgres.check(conninfo, load.expected)
    return _Run(answered, work)


# ---- Restarts and kills


@dataclass(slots=True)
class _Restarting:
    """Tells the supervisor to replace every process, again as soon as all of them were, so many times."""

    server: int
    wanted: int
    done: int = 0
    before: frozenset[int] = frozenset()
    deadline: float = field(default_factory=lambda: time.monotonic() + RESTART_SECONDS_MAX)

    def look(self, _answers: int) -> None:
        now = frozenset(_processes(self.server))
        if self.before & now or len(now) < PROCESSES:
            if time.monotonic() > self.deadline:
                raise Wrong(f"restart {self.done + 1} did not end in {RESTART_SECONDS_MAX:.0f} s")
            return
        self.done += bool(self.before)
        if self.done < self.wanted:
            self.before, self.deadline = now, time.monotonic() + RESTART_SECONDS_MAX
            os.kill(self.server, signal.SIGHUP)


def _restarts(bench: Bench, server: int, port: int, wanted: int) -> tuple[Answered, int]:
    """Send until all processes were replaced so many times; then everything that was sent is counted, once."""
    identity, headers = _new_key(bench, "restarts")
    restarting = _Restarting(server, wanted)
    sent = 0

    def requests() -> Iterator[bytes]:
        nonlocal sent
        while restarting.done < wanted:
            body = b'{"id":"%d","source":"restarts","type":"restarts"}' % sent
            sent += 1
            yield request("/v1/events", body, headers)

    answered = send_each(port, requests(), CONNECTIONS, 202, meanwhile=restarting.look)
    _wait_until_sealed(bench, identity, sent)
    require_equal("answers", len(answered.request_seconds), sent)
    return answered, restarting.done


def _processes(server: int) -> list[int]:
    """The workers and the engine."""
    return [pid for pid in tree(server) if _name(pid).startswith(("farthing-api-", "farthing-engine"))]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _gap(server: int, port: int) -> float:
    """From the death of every worker and the engine to the next answer; the connection waits meanwhile."""
    _until(lambda: len(_processes(server)) == PROCESSES)
    for pid in _processes(server):
        os.kill(pid, signal.SIGKILL)
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = connection.recv(65536)
    require_equal("the answer", answer[:13], b"HTTP/1.1 200 ")
    return time.perf_counter() - started


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + RESTART_SECONDS_MAX
    while not condition():
        if time.monotonic() > deadline:
            raise Wrong("the server's processes were not replaced")
        time.sleep(_POLL_SECONDS)
