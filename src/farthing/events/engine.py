"""The engine: seals the event log as it grows, and keeps what is sealed in good order.

It runs beside the doors in a process of its own. It may be killed at any moment: what it had not
committed it does again (law 4), and the doors go on acknowledging without it.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from farthing.db import Books
from farthing.events.horizon import REMEMBERED_SECONDS, check_horizon
from farthing.events.log.files import FULL_DISK, list_log_files, read_blocks
from farthing.events.pace import Pace
from farthing.events.sealing.memory import give_back_freed_memory
from farthing.events.sealing.sealer import Sealer, only_sealer, seal_here, sweep
from farthing.events.segments.rewrite import back_fill, compact
from farthing.events.store import books as rows
from farthing.events.store.duckdb import EventStore, Lateness
from farthing.events.trouble import report_trouble
from farthing.kernel.errors import Corrupt, Unavailable

IDLE_SECONDS = 0.2
"""How long it sleeps when everything is sealed: about the time from an event to its being counted."""
SMALL_BATCH_EVENTS = 20_000
GATHER_SECONDS = 0.4
"""After sealing less than that, it waits for more to come: a trickle must not make a segment for every event."""
UPKEEP_SECONDS = 10
"""How often typed columns are filled in and small segments put together."""
UPKEEP_MEMORY = "1GB"
CLEANING_SECONDS = 60
"""How often files that nobody needs are removed."""
DEBRIS_KEPT_SECONDS = 3600
"""How old a file without a row must be to be removed; whoever may still read or commit it is done by then."""
PAUSE_SECONDS_MAX = 10.0
"""Longest pause after a failure; the first is IDLE_SECONDS, each further one twice as long."""

NO_TENANT = 0
"""How far the log is sealed is no tenant's."""

Clock = Callable[[], datetime]


def run_engine(
    books: Books,
    store: EventStore,
    lateness: Lateness,
    stop: threading.Event,
    clock: Clock,
    tenant_ids: Callable[[], Sequence[int]],
    keep_log_seconds: int,
) -> None:
    """Seal until `stop` is set. While another process seals (an import), wait for its place.

    Raises:
        InvalidInput: `horizon_too_short`, ids would be forgotten before their events are too late.
        Corrupt: the log or the id index is not what was written. Nothing may be computed from them.
        OSError: the disk failed at a write or a sync, after which nothing is known about the file.
            (A full disk is waited out.)
    """
    check_horizon(lateness.too_late_seconds, REMEMBERED_SECONDS)
    engine = _Engine(books, store, lateness, stop, clock, tenant_ids, keep_log_seconds)
    upkeep = threading.Thread(target=engine.keep_up, name="upkeep")
    upkeep.start()
    try:
        while not stop.is_set():
            with only_sealer(store.data_dir) as alone:
                if alone:
                    engine.work()
            stop.wait(IDLE_SECONDS)
    finally:
        stop.set()
        upkeep.join()


@dataclass(slots=True)
class _Engine:
    books: Books
    store: EventStore
    lateness: Lateness
    stop: threading.Event
    clock: Clock
    tenant_ids: Callable[[], Sequence[int]]
    keep_log_seconds: int
    disk_failure: Exception | None = None
    pace: Pace = field(default_factory=Pace)
    _cleaning_due: datetime | None = None

    def work(self) -> None:
        """Seal until told to stop; after a failure pause, and begin again from what the books say."""
        pause_seconds = IDLE_SECONDS
        while not self.stop.is_set():
            sealer = Sealer(
                self.books, self.store, self.store.data_dir / "log", self.lateness, self._say_rebuilt
            )
            try:
                while not self.stop.is_set():
                    report = sealer.seal_next(self.clock())
                    self.pace.note(0 if report is None else report.accepted, time.monotonic())
                    if report is None:
                        self.stop.wait(IDLE_SECONDS)
                    elif report.accepted < SMALL_BATCH_EVENTS:
                        self.stop.wait(GATHER_SECONDS)
                    pause_seconds = IDLE_SECONDS
                    self._clean_up(sealer, resting=report is None or report.accepted < SMALL_BATCH_EVENTS)
            except Exception as error:
                report_trouble("sealing", error, self.clock())
                if isinstance(error, Corrupt) or _is_of_the_disk(error):
                    raise
                self.stop.wait(pause_seconds)
                pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)

    def _say_rebuilt(self, tenant_id: int, damage: Corrupt) -> None:
        report_trouble("id index made anew", damage, self.clock(), tenant_id)

    def keep_up(self) -> None:
        """Beside sealing, in a thread of its own: rewrite segments as it is due, until told to stop.

        It uses one processor at most, so that sealing has the others.
        """
        with closing(EventStore(self.store.data_dir, threads=1, memory_limit=UPKEEP_MEMORY)) as store:
            while not self.stop.is_set():
                try:
                    self._for_each_tenant("back fill", lambda tenant: self._back_fill(store, tenant))
                    self._for_each_tenant("compaction", lambda tenant: self._compact(store, tenant))
                except Exception as error:  # noqa: BLE001  it is reported, and tried again or raised by the sealer
                    report_trouble("upkeep", error, self.clock())
                    if _is_of_the_disk(error):
                        self.disk_failure = error
                        return
                self.stop.wait(UPKEEP_SECONDS)

    def _back_fill(self, store: EventStore, tenant_id: int) -> None:
        back_fill(self.books, store, tenant_id, self.clock())

    def _compact(self, store: EventStore, tenant_id: int) -> None:
        def must_end() -> bool:
            return self.stop.is_set() or self.pace.is_behind(time.monotonic())

        while not must_end() and compact(self.books, store, tenant_id, self.clock(), must_end):
            pass

    def _clean_up(self, sealer: Sealer, *, resting: bool) -> None:
        now = self.clock()
        if self.disk_failure is not None:
            raise self.disk_failure
        if self._cleaning_due is None or now >= self._cleaning_due:
            sweep(self.books, self.store.data_dir, self.tenant_ids(), now, DEBRIS_KEPT_SECONDS)
            sealer.remove_sealed_logs(now, self.keep_log_seconds)
            if resting:
                give_back_freed_memory()
            self._cleaning_due = now + timedelta(seconds=CLEANING_SECONDS)

    def _for_each_tenant(self, task: str, work: Callable[[int], object]) -> None:
        """One tenant's trouble is written down and does not keep the work of the others."""
        for tenant_id in self.tenant_ids():
            if self.stop.is_set():
                return
            try:
                work(tenant_id)
            except Exception as error:
                if _is_of_the_disk(error):
                    raise
                report_trouble(task, error, self.clock(), tenant_id)


def _is_of_the_disk(error: Exception) -> bool:
    """Whether the disk failed, after which nothing is known about what was written. A full one has not failed."""
    return isinstance(error, OSError) and error.errno not in FULL_DISK


def seal_what_waits(
    books: Books, store: EventStore, lateness: Lateness, clock: Clock, wait_seconds: float
) -> None:
    """Have everything sealed that stands in the log now: by the running engine or, where none runs, here.

    For whoever is about to bill: an event that was acknowledged must not miss its invoice because a
    server was stopped before it had sealed it.

    Raises Unavailable `not_sealed` where the engine that runs does not come as far in time.
    """
    ends = {log_file: _end_of(store, log_file) for log_file in list_log_files(store.data_dir / "log")}
    deadline = time.monotonic() + wait_seconds
    while not seal_here(books, store, lateness, clock):
        with books.read_only(NO_TENANT) as conn:
            sealed_to = rows.cursors(conn)
        if not any(
            _waits(store, log_file, sealed_to.get(log_file, 0), end) for log_file, end in ends.items()
        ):
            return
        if time.monotonic() > deadline:
            raise Unavailable(
                "not_sealed", "events wait in the log and the engine does not seal them: see its log"
            )
        time.sleep(IDLE_SECONDS)


def _end_of(store: EventStore, log_file: str) -> int:
    try:
        return (store.data_dir / "log" / log_file).stat().st_size
    except FileNotFoundError:  # sealed, and removed by the engine
        return 0


def _waits(store: EventStore, log_file: str, sealed_to: int, end: int) -> bool:
    """Whether a block that stood in the file is not sealed. What a killed writer left torn does not count."""
    try:
        return sealed_to < end and bool(read_blocks(store.data_dir / "log" / log_file, sealed_to, 1))
    except FileNotFoundError:
        return False
