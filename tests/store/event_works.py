"""Events on their whole way, from a request body to a quantity, in a directory of one test's own."""

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from farthing.db import Books
from farthing.events.checks import check_conservation, check_counted_once, check_files
from farthing.events.ids.checks import check_index, check_segments_hold
from farthing.events.intake.formats import parse_events
from farthing.events.log.files import BlockHeader, LogPosition, LogWriter, encode_block
from farthing.events.model import ParsedBatch
from farthing.events.sealing.sealer import Sealer, SealReport
from farthing.events.store import books as rows
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore, Lateness
from farthing.kernel.instant import unix_microseconds

NDJSON = "application/x-ndjson"
LATENESS = Lateness(too_late_seconds=10 * 366 * 86_400, too_early_seconds=3600)

Body = bytes | str | Mapping[str, Any] | Iterable[str | Mapping[str, Any]]


def event(event_id: str, data: object = None, **attributes: object) -> dict[str, object]:
    """A CloudEvent with what a test does not care about filled in."""
    return {"id": event_id, "source": "test", "type": "call", **attributes, "data": data}


def ndjson(body: Body) -> bytes:
    """Events as the lines of a body; what is bytes or text already stays as it is."""
    match body:
        case bytes():
            return body
        case str():
            return body.encode()
        case Mapping():
            return ndjson([body])
        case _:
            lines = (line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in body)
            return "".join(line + "\n" for line in lines).encode()


@dataclass
class EventWorks:
    """A log, a sealer and a store. The books are shared between tests, the tenants in them are not."""

    books: Books
    store: EventStore
    now: datetime
    lateness: Lateness = LATENESS

    def __post_init__(self) -> None:
        self.log_dir = self.store.data_dir / "log"
        self.log = self.new_writer()
        self.sealer = Sealer(self.books, self.store, self.log_dir, self.lateness)

    def new_writer(self) -> LogWriter:
        """A writer whose name the books have never seen."""
        return LogWriter(self.log_dir, f"test-{uuid.uuid4().hex}")

    def restart(self) -> None:
        """What a new process knows: nothing but the books and the files."""
        self.sealer = Sealer(self.books, self.store, self.log_dir, self.lateness)

    def append(self, tenant_id: int, body: Body, *, received_at: datetime | None = None) -> ParsedBatch:
        """Through the door into the log; nothing is sealed yet."""
        batch = parse_events(ndjson(body), NDJSON, "")
        if batch.accepted:
            self.append_lines(tenant_id, batch.lines, batch.accepted, received_at=received_at)
        return batch

    def append_lines(
        self, tenant_id: int, lines: bytes, count: int, *, received_at: datetime | None = None
    ) -> LogPosition:
        """Past the door: these lines stand in the log whatever they are."""
        header = BlockHeader(
            block=1,
            tenant=tenant_id,
            kind="events",
            received_us=unix_microseconds(received_at or self.now),
            events=count,
            bytes=len(lines),
            origin="http",
        )
        return self.log.append(encode_block(header, lines)).result()

    def seal(self) -> list[SealReport]:
        """Seal all that stands in the log."""
        reports = []
        while report := self.sealer.seal_next(self.now):
            assert report.accepted == report.counted + report.duplicate + report.quarantined
            reports.append(report)
        return reports

    def take(
        self, tenant_id: int, body: Body, *, received_at: datetime | None = None
    ) -> tuple[int, int, int]:
        """Append and seal one body; how many of its events were (counted, duplicate, quarantined)."""
        self.append(tenant_id, body, received_at=received_at)
        (report,) = self.seal()
        self.check(tenant_id)
        return report.counted, report.duplicate, report.quarantined

    def check(self, tenant_id: int) -> None:
        """Laws 2, 3 and 4, whatever the test was about."""
        for checked in (
            check_conservation(self.books, tenant_id),
            check_files(self.books, self.store.data_dir, tenant_id),
            check_counted_once(self.books, self.store, tenant_id),
            check_index(self.books, self.store, tenant_id, lambda _done, _total: None),
            check_segments_hold(self.books, self.store, tenant_id, lambda _done, _total: None),
        ):
            assert checked.findings == ()

    def settled(self) -> bool:
        """Whether no transaction of a process that was killed is still under way."""
        with self.books.operator_transaction() as conn:
            busy = conn.execute(
                "SELECT count(*) AS busy FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database() AND state <> 'idle'"
            ).fetchone()
        assert busy is not None
        return not busy["busy"]

    def tally(self, tenant_id: int) -> dict[str, int]:
        """accepted, counted, duplicate and quarantined so far."""
        with self.books.read_only(tenant_id) as conn:
            return rows.tally(conn, tenant_id)

    def quarantine(self, tenant_id: int) -> list[tuple[str, str, bytes]]:
        """(reason, detail, raw) of each quarantined event, oldest first."""
        with self.books.read_only(tenant_id) as conn:
            page = conn.execute(
                "SELECT reason, detail, raw FROM quarantine ORDER BY quarantine_id"
            ).fetchall()
        return [(entry["reason"], entry["detail"], bytes(entry["raw"])) for entry in page]

    def reasons(self, tenant_id: int) -> dict[str, int]:
        """How many events stand in quarantine for each reason."""
        with self.books.read_only(tenant_id) as conn:
            return rows.quarantine_reasons(conn, tenant_id)

    def segments(self, tenant_id: int) -> list[Segment]:
        """The segments in force."""
        with self.books.read_only(tenant_id) as conn:
            return rows.segments(conn, tenant_id)

    def stored(self, tenant_id: int, columns: str = "id") -> list[Any]:
        """What the segments in force hold, in order."""
        paths = [str(self.store.data_dir / segment.path) for segment in self.segments(tenant_id)]
        if not paths:
            return []
        cursor = self.store.cursor()
        try:
            found = cursor.execute(f"SELECT {columns} FROM read_parquet(?) ORDER BY ALL", [paths]).fetchall()
        finally:
            cursor.close()
        return [row[0] if len(row) == 1 else row for row in found]


@contextmanager
def open_event_works(
    books: Books, now: datetime, lateness: Lateness = LATENESS, data_dir: Path | None = None
) -> Iterator[EventWorks]:
    """In a directory of its own, which is gone afterwards, or in the one given."""
    directory = data_dir or Path(tempfile.mkdtemp(prefix="farthing-events-"))
    store = EventStore(directory, threads=2, memory_limit="1GB")
    works = EventWorks(books, store, now, lateness)
    try:
        yield works
    finally:
        works.log.close()
        store.close()
        if data_dir is None:
            shutil.rmtree(directory)
