"""The engine: what stands in the log gets counted, one tenant's trouble stays its own, damage ends it."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from farthing.catalog.service import put_meter
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.events.engine import run_engine, seal_what_waits
from farthing.events.log.files import BlockHeader, LogWriter, encode_block
from farthing.events.sealing.sealer import only_sealer
from farthing.events.store import books as rows
from farthing.events.store.duckdb import EventStore, Lateness
from farthing.kernel.errors import Corrupt, Unavailable

LATENESS = Lateness(too_late_seconds=86_400, too_early_seconds=3600)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY_SECONDS = 86_400

Eventually = Callable[[Callable[[], object]], None]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    store = EventStore(tmp_path, threads=1, memory_limit="500MB")
    yield store
    store.close()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    # The books of all tests know log files by name: a writer's name is used once.
    writer = LogWriter(tmp_path / "log", f"api-{uuid.uuid4().hex}")
    yield writer
    writer.close()


def append(writer: LogWriter, tenant_id: int, ids: range) -> str:
    """Acknowledge one event for each id; gives the log file."""
    lines = b"".join(
        b'{"id":"%d","source":"test","type":"call","specversion":"1.0","subject":"acme","data":{"bytes":%d}}\n'
        % (number, number)
        for number in ids
    )
    header = BlockHeader(
        block=1,
        tenant=tenant_id,
        kind="events",
        received_us=int(NOW.timestamp() * 1_000_000),
        events=len(ids),
        bytes=len(lines),
        origin="test",
    )
    return writer.append(encode_block(header, lines)).result(timeout=10).log_file


def tally(books: Books, tenant_id: int) -> dict[str, int]:
    with books.read_only(tenant_id) as conn:
        return rows.tally(conn, tenant_id)


@contextmanager
def engine(
    books: Books,
    store: EventStore,
    tenant_ids: list[int],
    now: datetime = NOW,
    keep_log_seconds: int = DAY_SECONDS,
) -> Iterator[list[BaseException]]:
    """The engine at work in a thread; whatever ended it before it was stopped is in the list."""
    stop, ended_by = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            run_engine(books, store, LATENESS, stop, lambda: now, lambda: tenant_ids, keep_log_seconds)
        except BaseException as error:  # noqa: BLE001  told to the test
            ended_by.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ended_by
    finally:
        stop.set()
        thread.join(timeout=30)
        assert not thread.is_alive()


def test_counts_what_is_appended_while_it_runs(
    books: Books, store: EventStore, writer: LogWriter, tenant_id: int, eventually: Eventually
) -> None:
    append(writer, tenant_id, range(100))
    with engine(books, store, [tenant_id]) as ended_by:
        eventually(lambda: tally(books, tenant_id)["counted"] == 100)
        append(writer, tenant_id, range(50, 150))
        eventually(lambda: tally(books, tenant_id)["accepted"] == 200)
    assert tally(books, tenant_id) == {"accepted": 200, "counted": 150, "duplicate": 50, "quarantined": 0}
    assert ended_by == []


def test_waits_for_the_place_of_another_sealer(
    books: Books, store: EventStore, writer: LogWriter, tenant_id: int, eventually: Eventually
) -> None:
    append(writer, tenant_id, range(3))
    with only_sealer(store.data_dir) as alone:
        assert alone
        with engine(books, store, [tenant_id]):
            pass
        assert tally(books, tenant_id)["accepted"] == 0
    with engine(books, store, [tenant_id]):
        eventually(lambda: tally(books, tenant_id)["counted"] == 3)


def test_fills_in_what_a_new_meter_wants_though_another_tenant_is_in_trouble(
    books: Books,
    store: EventStore,
    writer: LogWriter,
    now: datetime,
    eventually: Eventually,
    capfd: pytest.CaptureFixture[str],
) -> None:
    troubled = create_tenant(books, f"troubled-{uuid.uuid4().hex}", "Troubled", now)
    healthy = create_tenant(books, f"healthy-{uuid.uuid4().hex}", "Healthy", now)
    for tenant in (troubled, healthy):
        append(writer, tenant, range(10))
    with engine(books, store, [troubled, healthy]):
        eventually(lambda: tally(books, healthy)["counted"] == 10 == tally(books, troubled)["counted"])
    for path in (store.data_dir / "segments" / str(troubled)).iterdir():
        path.unlink()
    meter = {"key": "bytes", "event_type": "call", "aggregation": "sum", "value": "data.bytes"}
    for tenant in (troubled, healthy):
        put_meter(books, tenant, meter, now)

    def healthy_has_the_column() -> bool:
        with books.read_only(healthy) as conn:
            return all("num:data.bytes" in segment.columns for segment in rows.segments(conn, healthy))

    with engine(books, store, [troubled, healthy]) as ended_by:
        eventually(healthy_has_the_column)
    assert ended_by == []
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert {(line["task"], line["tenant_id"], line["level"]) for line in lines} == {
        ("back fill", troubled, "error")
    }


def test_ends_where_acknowledged_events_are_damaged(
    books: Books,
    store: EventStore,
    writer: LogWriter,
    tenant_id: int,
    eventually: Eventually,
    capfd: pytest.CaptureFixture[str],
) -> None:
    append(writer, tenant_id, range(10))
    log_file = append(writer, tenant_id, range(10, 20))
    path = store.data_dir / "log" / log_file
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with engine(books, store, [tenant_id]) as ended_by:
        eventually(lambda: ended_by)
    assert isinstance(ended_by[0], Corrupt)
    assert ended_by[0].code == "log_damaged"
    (line,) = capfd.readouterr().err.splitlines()
    assert json.loads(line).items() >= {"level": "error", "task": "sealing", "code": "log_damaged"}.items()
    assert tally(books, tenant_id)["accepted"] == 0


def test_removes_log_files_whose_writer_has_gone(
    books: Books, store: EventStore, tenant_id: int, eventually: Eventually
) -> None:
    gone = LogWriter(store.data_dir / "log", f"api-{uuid.uuid4().hex}")
    path = store.data_dir / "log" / append(gone, tenant_id, range(5))
    gone.close()
    with engine(books, store, [tenant_id], now=datetime.now(UTC), keep_log_seconds=0):
        eventually(lambda: not path.exists())
    assert tally(books, tenant_id)["counted"] == 5


def test_what_waits_is_sealed_by_whoever_needs_it(
    books: Books, store: EventStore, writer: LogWriter, tenant_id: int
) -> None:
    log_file = append(writer, tenant_id, range(7))
    seal_what_waits(books, store, LATENESS, lambda: NOW, wait_seconds=0)
    assert tally(books, tenant_id)["counted"] == 7
    with open(store.data_dir / "log" / log_file, "ab") as file:
        file.write(b'{"block":1,"torn')
    with only_sealer(store.data_dir):  # an engine that has sealed everything: the torn end does not count
        seal_what_waits(books, store, LATENESS, lambda: NOW, wait_seconds=0)


def test_an_engine_that_does_not_seal_is_not_waited_for_without_end(
    books: Books, store: EventStore, writer: LogWriter, tenant_id: int
) -> None:
    append(writer, tenant_id, range(7))
    with only_sealer(store.data_dir), pytest.raises(Unavailable) as refused:
        seal_what_waits(books, store, LATENESS, lambda: NOW, wait_seconds=0)
    assert refused.value.code == "not_sealed"
