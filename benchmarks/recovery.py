"""After `kill -9` of every process, PostgreSQL included: until it answers again, and until all is sealed.

The events that nobody sealed are put into the log by a writer of its own after the kill: the bytes are those that
the doors write for requests of a thousand events each.
"""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.file_door import check_sums
from benchmarks.http_client import request, send_all
from benchmarks.measuring import Wrong, postmaster, require_equal, series, stretch, tree, watched_memory
from benchmarks.report import Row
from benchmarks.serving import serve
from benchmarks.workload import meters
from farthing.api.keys import create_key
from farthing.app import open_app, read_settings, wall_clock
from farthing.customers.apply import apply
from farthing.db.secret import load_secret
from farthing.events.intake.files import read_ndjson
from farthing.events.log.files import BlockHeader, LogWriter, encode_block
from farthing.events.store.books import tally
from farthing.kernel.instant import unix_microseconds

ABOUT = (
    "After kill -9: every process is killed, PostgreSQL too; then the server is started on a log that has so many "
    "events nobody sealed. Memory: of all processes, each page counted once, mapped files included."
)
SEALED_SECONDS_MAX = 600.0
_POLL_SECONDS = 0.05
_EVENT = b'{"specversion":"1.0","id":"after-the-kill","source":"bench","type":"other","time":"2024-06-01T00:00:00Z"}'


def run(bench: Bench) -> list[Row]:
    """Once: it needs all of the month's events again."""
    data_dir = bench.directory / "recovery"
    settings = read_settings({}, {"data_dir": str(data_dir)})
    file, expected = bench.event_file("unsealed", bench.sizes.recovery_events)
    with open_app(settings, wall_clock) as app:
        apply(app.books, app.tenant_id, {"meters": meters()}, wall_clock())
        key = create_key(app.books, load_secret(data_dir), app.tenant_id, "bench", wall_clock())
        tenant = app.tenant_id
    single = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents+json"}
    with bench.saying("killing a server, and writing what it leaves"), serve(data_dir) as server:
        _kill([*tree(server.pid), *tree(postmaster(data_dir))])
        _leave(data_dir / "log", tenant, file)
    file.unlink()
    with bench.saying("recovering"):
        started = time.perf_counter()
        with serve(data_dir) as server:
            send_all(server.port, [request("/v1/events", _EVENT, single)], 1, 202)
            answered = time.perf_counter() - started
            database = postmaster(data_dir)
            with open_app(settings, wall_clock) as app:
                with stretch(server.pid, database) as sealing, watched_memory(server.pid, database) as memory:
                    deadline = started + SEALED_SECONDS_MAX
                    while True:
                        with app.books.read_only(tenant) as conn:
                            done = tally(conn, tenant)
                        if done["accepted"] > expected.sent:
                            break
                        if time.perf_counter() > deadline:
                            raise Wrong(f"only {done['accepted']} events in {SEALED_SECONDS_MAX:.0f} s")
                        time.sleep(_POLL_SECONDS)
                sealed = time.perf_counter() - started
                require_equal("counted events", done["counted"], expected.counted + 1)
                require_equal("duplicates", done["duplicate"], expected.duplicates)
                check_sums(app, settings.tenant, expected)
    return [
        Row("After kill -9: the first good answer", "s", series([answered]), less_is_better=True),
        Row(f"  {bench.sizes.recovery_events:,} events sealed", "s", series([sealed]), less_is_better=True),
        Row(
            "  CPU per million events",
            "s",
            series([sealing.cpu_seconds * 1e6 / expected.sent]),
            less_is_better=True,
        ),
        Row("  memory of all processes", "MiB", series([memory.peak_bytes / 2**20]), less_is_better=True),
    ]


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _leave(log_dir: Path, tenant: int, file: Path) -> None:
    """What a door that has gone leaves in the log: the events of a file, acknowledged and not sealed."""
    log = LogWriter(log_dir, "killed-server")
    with open(file, "rb") as stream:
        for piece in read_ndjson(stream, file.name, 0):
            lines = piece.lines.splitlines(keepends=True)
            for at in range(0, len(lines), 1_000):
                header = BlockHeader(
                    block=1,
                    tenant=tenant,
                    kind="events",
                    received_us=unix_microseconds(wall_clock()),
                    events=len(lines[at : at + 1_000]),
                    bytes=0,
                    origin="http",
                )
                last = log.append(encode_block(header, b"".join(lines[at : at + 1_000])))
            last.result()
    log.close()
