"""The door for files: read, append to the event log, seal, and say what became of every line.

An import takes responsibility for each line of the file: it is counted, a duplicate, or in
quarantine with its place in the file. It can be stopped anywhere and started again; how far it came
is committed together with the events themselves.
"""

import gzip
import hashlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec
import zstandard

from farthing.db import Books
from farthing.events.doors.access_logs import ACCESS_FORMATS, AccessLog
from farthing.events.intake import files
from farthing.events.intake.compression import GzipError
from farthing.events.intake.files import Piece
from farthing.events.intake.mapping import parse_mapping
from farthing.events.log.files import BlockHeader, LogPosition, LogWriter, encode_block
from farthing.events.scanning.loading import LOADED_AFTER_BYTES, begin_loading
from farthing.events.sealing.sealer import Sealer, is_sealed, only_sealer, seal_here
from farthing.events.segments.rewrite import gather_small
from farthing.events.store import books as rows
from farthing.events.store.duckdb import EventStore, Lateness
from farthing.kernel.errors import InvalidInput, NotFound, Unavailable
from farthing.kernel.instant import unix_microseconds

APPENDS_IN_FLIGHT_MAX = 16
LOG_KEPT_SECONDS = 86_400
"""How long a log file stays after all of it is sealed, where no server sets another time."""
_POLL_SECONDS = 0.05

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """Where an import stands. bytes_total is None where it cannot be known."""

    bytes_read: int
    bytes_total: int | None
    events_read: int
    events_sealed: int


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of a file: accepted = counted + duplicate + quarantined."""

    file: str
    accepted: int
    counted: int
    duplicate: int
    quarantined: int
    by_reason: dict[str, int]
    resumed_at: int
    seconds: float
    events_per_second: int


@dataclass(slots=True)
class _Counts:
    """Shared between the reading and the sealing thread; each field has one writer."""

    raw: IO[bytes] | None = None
    bytes_total: int | None = None
    events_read: int = 0
    events_sealed: int = 0
    log_files: set[str] = field(default_factory=set)


def ingest_file(
    books: Books,
    store: EventStore,
    tenant_id: int,
    path: Path | None,
    *,
    mapping: str | None = None,
    file_format: str | None = None,
    source: str | None = None,
    subject: str | None = None,
    keep: tuple[str, ...] = (),
    lateness: Lateness,
    clock: Clock,
    progress: Callable[[IngestProgress], None] | None = None,
) -> IngestReport:
    """Bring a file (or standard input, `path=None`) in through the event log and have it sealed.

    subject, keep: for access logs, see `AccessLog`.

    Raises:
        NotFound: `file_not_found`.
        InvalidInput: the format, the map or the file as a whole is wrong; what was read before is kept.
        Unavailable: the disk is full or the log failed; run it again to go on.
    """
    started = time.monotonic()
    counts = _Counts()
    read_as = _ReadAs(mapping, file_format, source, subject, keep)
    file_key, resumed_at = "", 0
    with ExitStack() as leaving:
        sealing = leaving.enter_context(_sealing(books, store, lateness, clock, counts))
        if path is not None:
            if not path.is_file():
                raise NotFound("file_not_found", f"there is no file {path}", path=str(path))
            file_key = _file_key(path, read_as)
            _, was_complete = _import_progress(books, tenant_id, file_key)
            sealing.catch_up()  # What an import that was killed left in the log says how far it came.
            read_to, complete = _import_progress(books, tenant_id, file_key)
            # To its end by the one that was killed: nothing is left to read. By an earlier one: it is read again.
            resumed_at = 0 if complete and was_complete else read_to
        sealing.start()
        pieces = _pieces(path, read_as, store, resumed_at, counts, leaving)
        if (counts.bytes_total or 0) >= LOADED_AFTER_BYTES:
            begin_loading()
        name = "stdin" if path is None else path.name
        last = _append_all(store.data_dir / "log", tenant_id, name, pieces, file_key, clock, counts, progress)
        sealing.wait(last, lambda: progress and progress(_snapshot(counts)))
        sealing.clean_up(tenant_id)
    return _report(books, tenant_id, name, counts, resumed_at, time.monotonic() - started)


@dataclass(frozen=True, slots=True)
class _ReadAs:
    """How a file is read, as it was asked for."""

    mapping: str | None
    file_format: str | None
    source: str | None
    subject: str | None
    keep: tuple[str, ...]

    def facts(self) -> list[object]:
        """What of it makes another import of the same file."""
        facts: list[object] = [self.mapping, self.file_format, self.source]
        return [*facts, self.subject, self.keep] if self.subject or self.keep else facts

    def access_log(self, kind: str) -> AccessLog | None:
        """The access log that it is, if it is one. Raises `unexpected_option` where it is not and is read so."""
        if kind in ACCESS_FORMATS:
            if self.mapping is not None:
                raise InvalidInput("unexpected_map", "a map is for tables, not for access logs", path="map")
            return AccessLog(kind, self.source or f"access-log:{kind}", self.subject, self.keep)
        if self.subject or self.keep:
            wanted = ", ".join(ACCESS_FORMATS)
            raise InvalidInput("unexpected_option", f"subject and keep are for access logs: {wanted}")
        return None


def _pieces(
    path: Path | None,
    read_as: _ReadAs,
    store: EventStore,
    skip: int,
    counts: _Counts,
    leaving: ExitStack,
) -> Iterator[Piece]:
    kind = read_as.file_format or ("ndjson" if path is None else files.guess_format(path))
    name = "stdin" if path is None else files.file_name(path)
    mapping, source = read_as.mapping, read_as.source
    if (log := read_as.access_log(kind)) is not None:
        ends_whole = path is None or files.is_compressed(path)
        requests = files.read_access_log(_open(path, counts, leaving), name, log, skip, ends_whole=ends_whole)
        return _readable(requests, name)
    if kind == "ndjson":
        if mapping is not None:
            raise InvalidInput(
                "unexpected_map", "a map is for tables; NDJSON lines are events already", path="map"
            )
        return _readable(files.read_ndjson(_open(path, counts, leaving), name, skip), name)
    if kind == "csv":
        if mapping is None:
            raise InvalidInput(
                "missing_map", "say with --map which column is what: id=#,type='...',...", path="map"
            )
        fields = parse_mapping(mapping)
        stream = _open(path, counts, leaving)
        delimiter = "\t" if name.endswith(".tsv") else ","
        return _readable(
            files.read_csv(stream, name, delimiter, fields, source or fields.source(name), store, skip), name
        )
    if kind == "parquet":
        if path is None:
            raise InvalidInput("unsupported_input", "Parquet cannot be read from standard input")
        columns = None if mapping is None else parse_mapping(mapping)
        fixed = source or (f"file:{name}" if columns is None else columns.source(name))
        return files.read_parquet(path, name, columns, fixed, store, skip)
    raise InvalidInput(
        "unknown_file_format", f"{kind[:40]!r} is not ndjson, csv, parquet or an access log's", path="format"
    )


def _open(path: Path | None, counts: _Counts, leaving: ExitStack) -> IO[bytes]:
    if path is None:
        return sys.stdin.buffer
    counts.bytes_total = path.stat().st_size
    raw = counts.raw = leaving.enter_context(path.open("rb"))
    return files.decompressed(raw, path, leaving)


def _readable(pieces: Iterator[Piece], name: str) -> Iterator[Piece]:
    """The same pieces; broken compression becomes an error that names the file."""
    try:
        yield from pieces
    except (gzip.BadGzipFile, EOFError, GzipError, zstandard.ZstdError) as error:
        raise InvalidInput(
            "broken_compression", f"{name} cannot be decompressed: {error}", path=name
        ) from None


def _append_all(
    log_dir: Path,
    tenant_id: int,
    origin: str,
    pieces: Iterator[Piece],
    file_key: str,
    clock: Clock,
    counts: _Counts,
    progress: Callable[[IngestProgress], None] | None,
) -> LogPosition | None:
    """Append every piece; the last block of a file says that the file is complete."""
    log = LogWriter(log_dir, f"import-{os.getpid()}-{os.urandom(4).hex()}", gaps=False)
    in_flight: deque[Future[LogPosition]] = deque()
    last: LogPosition | None = None
    try:
        held: Piece | None = None
        for piece in pieces:
            if held is not None:
                _append(log, in_flight, _blocks(held, tenant_id, origin, file_key, False, clock()))
            held = piece
            counts.events_read += piece.events + len(piece.refused)
            while len(in_flight) > APPENDS_IN_FLIGHT_MAX:
                last = in_flight.popleft().result()
                counts.log_files.add(last.log_file)
            if progress:
                progress(_snapshot(counts))
        if held is not None:
            _append(log, in_flight, _blocks(held, tenant_id, origin, file_key, True, clock()))
        for future in in_flight:
            last = future.result()
            counts.log_files.add(last.log_file)
    finally:
        log.close()
    return last


def _append(log: LogWriter, in_flight: "deque[Future[LogPosition]]", blocks: bytes) -> None:
    """Append some blocks. Where the log takes no more, what ended it is told, and not only that it ended."""
    try:
        in_flight.append(log.append(blocks))
    except Unavailable:
        for future in in_flight:
            future.result()
        raise


def _blocks(piece: Piece, tenant_id: int, origin: str, file_key: str, complete: bool, now: datetime) -> bytes:
    """A piece as log blocks. Only the last of them moves the import on, so that none of the piece can be skipped."""
    header = BlockHeader(
        block=1,
        tenant=tenant_id,
        kind="events",
        received_us=unix_microseconds(now),
        events=0,
        bytes=0,
        origin=origin,
    )
    headers = [(msgspec.structs.replace(header, events=piece.events), piece.lines)] if piece.events else []
    if piece.refused or not headers:
        lines = msgspec.json.Encoder().encode_lines(piece.refused)
        headers.append((msgspec.structs.replace(header, kind="refused", events=len(piece.refused)), lines))
    if file_key:
        last, payload = headers[-1]
        last = msgspec.structs.replace(
            last, import_key=file_key, import_read_to=piece.read_to, import_complete=complete
        )
        headers[-1] = (last, payload)
    return b"".join(encode_block(*block) for block in headers)


class _Sealing:
    """Whoever seals: a thread of this process, or the engine of a running server."""

    def __init__(
        self,
        books: Books,
        store: EventStore,
        lateness: Lateness,
        clock: Clock,
        counts: _Counts,
        *,
        alone: bool,
    ) -> None:
        self._books = books
        self._store = store
        self._lateness = lateness
        self._sealer = Sealer(books, store, store.data_dir / "log", lateness) if alone else None
        self._clock = clock
        self._counts = counts
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def catch_up(self) -> None:
        """Seal what earlier processes left, then go on sealing beside the reader."""
        if self._sealer is not None:
            for _ in self._sealer.seal_standing(self._clock):
                pass

    def start(self) -> None:
        """Seal in a thread of its own, beside the reader."""
        if self._sealer is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sealer", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        assert self._sealer is not None
        try:
            while not self._stop.is_set():
                if report := self._sealer.seal_next(self._clock()):
                    self._counts.events_sealed += report.accepted
                else:
                    self._stop.wait(_POLL_SECONDS)
            for report in self._sealer.seal_standing(self._clock):
                self._counts.events_sealed += report.accepted
        except BaseException as error:  # noqa: BLE001  it is raised again in the thread that waits
            self._failure = error

    def wait(self, last: LogPosition | None, tick: Callable[[], object]) -> None:
        """Return when everything up to `last` is sealed."""
        if last is None:
            return
        self._stop.set()
        if self._thread is not None:
            while self._thread.is_alive():
                self._thread.join(_POLL_SECONDS)
                tick()
            if self._failure is not None:
                raise self._failure
            return
        while not is_sealed(self._books, self._store.data_dir / "log", last):
            # The server that was sealing may end at any time; then it is for us to do.
            if not seal_here(self._books, self._store, self._lateness, self._clock):
                time.sleep(_POLL_SECONDS)
            tick()

    def clean_up(self, tenant_id: int) -> None:
        """What the engine of a server does now and then, for installations that never run one."""
        if self._sealer is not None:
            now = self._clock()
            self._sealer.take_merged(now, wait=True)
            gather_small(self._books, self._store, tenant_id, now)
            self._sealer.remove_sealed_logs(now, LOG_KEPT_SECONDS)

    def close(self) -> None:
        """Let the thread finish what it is at."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()


@contextmanager
def _sealing(
    books: Books, store: EventStore, lateness: Lateness, clock: Clock, counts: _Counts
) -> Iterator[_Sealing]:
    """Take the sealer's place where it is free; where it is not, the server that holds it seals for us."""
    with only_sealer(store.data_dir) as alone:
        sealing = _Sealing(books, store, lateness, clock, counts, alone=alone)
        try:
            yield sealing
        finally:
            sealing.close()


def _import_progress(books: Books, tenant_id: int, file_key: str) -> tuple[int, bool]:
    with books.read_only(tenant_id) as conn:
        return rows.import_progress(conn, tenant_id, file_key)


def _file_key(path: Path, read_as: _ReadAs) -> str:
    """The same file, unchanged, read the same way."""
    status = path.stat()
    facts = [str(path.resolve()), status.st_size, status.st_mtime_ns, *read_as.facts()]
    return hashlib.blake2b(msgspec.json.encode(facts), digest_size=16).hexdigest()


def _snapshot(counts: _Counts) -> IngestProgress:
    at = counts.raw.tell() if counts.raw is not None and not counts.raw.closed else counts.bytes_total or 0
    return IngestProgress(at, counts.bytes_total, counts.events_read, counts.events_sealed)


def _report(
    books: Books, tenant_id: int, name: str, counts: _Counts, resumed_at: int, seconds: float
) -> IngestReport:
    with books.read_only(tenant_id) as conn:
        account = rows.tally(conn, tenant_id, counts.log_files)
        reasons = rows.quarantine_reasons(conn, tenant_id, counts.log_files)
    return IngestReport(
        file=name,
        **account,
        by_reason=reasons,
        resumed_at=resumed_at,
        seconds=round(seconds, 3),
        events_per_second=int(account["accepted"] / seconds) if seconds else 0,
    )
