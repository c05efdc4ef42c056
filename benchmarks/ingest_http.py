"""Events over HTTP to a running server, in batches of a thousand; beside a hand-written server on PostgreSQL."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import postgres
from benchmarks.bench import Bench
from benchmarks.file_door import check_sums, new_tenant
from benchmarks.http_client import Sent, request, send_all
from benchmarks.measuring import (
    Stretch,
    Wrong,
    percentile,
    postmaster,
    require_equal,
    series,
    stretch,
    watched_memory,
)
from benchmarks.report import Row
from benchmarks.serving import Server, own_environment, serve
from benchmarks.workload import Expected, batches, expected_of, traffic_of
from farthing.api.keys import create_key
from farthing.app import wall_clock
from farthing.db.secret import load_secret
from farthing.db.tenants import tenant_id
from farthing.events.store.books import tally

ABOUT = (
    "HTTP: baseline is a hand-written server (uvicorn, msgspec, two workers) that answers when its INSERT ... "
    "ON CONFLICT DO NOTHING was committed. Client and server share the cores."
)
EVENTS_PER_REQUEST = 1_000
CONNECTIONS = 4
WORKERS = 2
SEALED_SECONDS_MAX = 300.0
_POLL_SECONDS = 0.02
_NDJSON = {"Content-Type": "application/x-ndjson", "Prefer": "return=minimal"}


@dataclass(slots=True)
class _Run:
    """One repetition. accepted: until the last event was on disk; sealed: until it was queryable."""

    events: int
    accepted: Sent
    sealed: Stretch
    memory_bytes: int = 0

    @property
    def accepted_per_second(self) -> float:
        return self.events / self.accepted.seconds

    @property
    def sealed_per_second(self) -> float:
        return self.events / self.sealed.seconds

    @property
    def cpu_per_million(self) -> float:
        return self.sealed.cpu_seconds * 1e6 / self.events

    @property
    def slowest_ms(self) -> float:
        return percentile(self.accepted.request_seconds, 0.99) * 1000


@dataclass(frozen=True, slots=True)
class _Load:
    bodies: list[bytes]
    expected: Expected


def run(bench: Bench) -> list[Row]:
    """Both servers stand the whole time; repetitions alternate, each with a new tenant or an empty table."""
    sizes = bench.sizes
    ours: list[_Run] = []
    theirs: list[_Run] = []
    load, small = _load(bench, sizes.http_events), _load(bench, sizes.http_events_baseline)
    conninfo = postgres.connection_text(bench.app.settings.data_dir)
    postgres.make_table(conninfo)
    with serve(bench.app.settings.data_dir) as server, baseline_server(conninfo) as (baseline, baseline_port):
        send_all(baseline_port, [request("/", b"", {})] * 8, CONNECTIONS, 202)
        for number in range(sizes.repetitions):
            with bench.saying(f"over HTTP: Farthing, {number + 1} of {sizes.repetitions}"):
                ours.append(_to_farthing(bench, server, f"http-{number}", load))
            with bench.saying(f"over HTTP: PostgreSQL, {number + 1} of {sizes.repetitions}"):
                theirs.append(_to_baseline(bench, baseline, baseline_port, conninfo, small))
    return [
        Row(
            "HTTP in batches of 1,000, on disk",
            "events/s",
            series(one.accepted_per_second for one in ours),
            series(one.accepted_per_second for one in theirs),
        ),
        Row(
            "  99th percentile of a request",
            "ms",
            series(one.slowest_ms for one in ours),
            series(one.slowest_ms for one in theirs),
            less_is_better=True,
        ),
        Row(
            "HTTP in batches of 1,000, queryable",
            "events/s",
            series(one.sealed_per_second for one in ours),
            series(one.sealed_per_second for one in theirs),
        ),
        Row(
            "  CPU per million events",
            "s",
            series(one.cpu_per_million for one in ours),
            series(one.cpu_per_million for one in theirs),
            less_is_better=True,
        ),
        Row(
            "  last answer to queryable",
            "s",
            series(one.sealed.seconds - one.accepted.seconds for one in ours),
            less_is_better=True,
        ),
        Row(
            "  memory of all processes",
            "MiB",
            series(one.memory_bytes / 2**20 for one in ours),
            less_is_better=True,
        ),
    ]


def _load(bench: Bench, events: int) -> _Load:
    traffic = traffic_of(events, min(bench.sizes.customers, events // 2))
    return _Load([lines for lines, _ in batches(traffic, EVENTS_PER_REQUEST)], expected_of(traffic))


def _to_farthing(bench: Bench, server: Server, tenant: str, load: _Load) -> _Run:
    app = bench.app
    identity = tenant_id(app.books, new_tenant(app, tenant))
    key = create_key(app.books, load_secret(app.settings.data_dir), identity, "bench", wall_clock())
    headers = {"Authorization": f"Bearer {key}", **_NDJSON}
    requests = [request("/v1/events", body, headers) for body in load.bodies]
    database = postmaster(app.settings.data_dir)
    with watched_memory(server.pid, database) as memory, stretch(server.pid, database) as sealed:
        accepted = send_all(server.port, requests, CONNECTIONS, 202)
        deadline = time.monotonic() + SEALED_SECONDS_MAX
        while True:
            with app.books.read_only(identity) as conn:
                done = tally(conn, identity)
            if done["accepted"] >= load.expected.sent:
                break
            if time.monotonic() > deadline:
                raise Wrong(f"only {done['accepted']} events were sealed in {SEALED_SECONDS_MAX:.0f} s")
            time.sleep(_POLL_SECONDS)
    right = {
        "accepted": load.expected.sent,
        "counted": load.expected.counted,
        "duplicate": load.expected.duplicates,
        "quarantined": 0,
    }
    require_equal("the account of what was sent", done, right)
    check_sums(app, tenant, load.expected)
    return _Run(load.expected.sent, accepted, sealed, memory.peak_bytes)


def _to_baseline(bench: Bench, server: int, port: int, conninfo: str, load: _Load) -> _Run:
    postgres.make_table(conninfo)
    requests = [request("/events", body, _NDJSON) for body in load.bodies]
    with stretch(server, postmaster(bench.app.settings.data_dir)) as sealed:
        accepted = send_all(port, requests, CONNECTIONS, 202)
    postgres.check(conninfo, load.expected)
    return _Run(load.expected.sent, accepted, sealed)


@contextmanager
def baseline_server(conninfo: str, app: str = "benchmarks.baseline_server:app") -> Iterator[tuple[int, int]]:
    """The hand-written server. Gives its process and its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        command = [sys.executable, "-m", "uvicorn", app]
        command += ["--fd", str(listener.fileno()), "--workers", str(WORKERS), "--loop", "uvloop"]
        command += ["--http", "httptools", "--no-access-log", "--log-level", "warning", "--lifespan", "off"]
        process = subprocess.Popen(
            command,
            cwd=Path(__file__).parents[1],
            env=own_environment() | {"BASELINE_DATABASE": conninfo},
            pass_fds=[listener.fileno()],
        )
        try:
            yield process.pid, listener.getsockname()[1]
        finally:
            process.terminate()
            process.wait()
