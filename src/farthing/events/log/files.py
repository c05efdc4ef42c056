"""The event log in local files: NDJSON in checksummed blocks, one writer per file.

A file is a row of blocks. A block is a header line, itself JSON, then `bytes` bytes of canonical
event lines:

    {"block":1,"tenant":1,"kind":"events","received_us":...,"events":2,"bytes":411,"origin":"http","crc32":...}
    {"id":"...","source":"...","type":"...","data":{...}}
    {"id":"...","source":"...","type":"...","data":{...}}

The checksum covers header and payload. A file belongs to the writer that made it and is never
written again after that writer ends, so the beginning of a block at the end of a file without a writer
was never acknowledged. Anything else that is no block is damage and raises `Corrupt`: acknowledged
events may have stood there.
"""

import errno
import fcntl
import io
import os
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from isal import isal_zlib

from farthing.db.embedded import locks
from farthing.kernel.errors import Corrupt, Unavailable

FILE_BYTES_MAX = 256 * 1024 * 1024
"""A writer starts its next file past this size."""
HEADER_BYTES_MAX = 4096
PENDING_BYTES_MAX = 64 * 1024 * 1024
"""Bytes waiting for the disk past which a writer asks its callers to come back later."""

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
_FIRST_BYTES = b'{"block":'
_FILE_NAME = re.compile(r"[0-9]{12}\.log\Z")


class BlockHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands before the lines of a block."""

    block: int
    tenant: int
    kind: str  # "events": canonical event lines; "refused": RefusedLine objects of a file import
    received_us: int
    events: int
    bytes: int
    origin: str
    import_key: str = ""
    import_read_to: int = 0
    import_complete: bool = False
    retried: int = 0  # the quarantined event that its event was, which its seal closes
    crc32: int = 0


class RefusedLine(msgspec.Struct, frozen=True):
    """A line of an imported file that is no event: accepted by its import, so it goes to quarantine."""

    place: str
    code: str
    message: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """A whole block as read back. `end` is the offset in the file just behind it."""

    header: BlockHeader
    payload: bytes
    end: int


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A place in the log: everything before `offset` of `log_file` ("writer/000000000001.log")."""

    log_file: str
    offset: int


@dataclass(slots=True)
class _Append:
    data: bytes
    done: "Future[LogPosition]"


_encoder = msgspec.json.Encoder()
_header_decoder = msgspec.json.Decoder(BlockHeader)


def encode_block(header: BlockHeader, payload: bytes) -> bytes:
    """Header line and payload, with the checksum of both in the header."""
    bare = _encoder.encode(msgspec.structs.replace(header, bytes=len(payload), crc32=0))
    checksum = isal_zlib.crc32(payload, isal_zlib.crc32(bare))
    whole = _encoder.encode(msgspec.structs.replace(header, bytes=len(payload), crc32=checksum))
    return b"".join((whole, b"\n", payload))


class LogWriter:
    """Appends blocks to this writer's own file; one fdatasync for all that wait (group commit).

    Laws: a future resolves only after its bytes and all before them are on disk. A write that fails
    (a full disk) refuses its batch and the next batch tries again; a sync that fails, of the file or
    of its name, ends this writer, because after it nothing can be known (`failure` says so).
    """

    def __init__(self, log_dir: Path, writer: str, *, gaps: bool = True) -> None:
        """gaps: whether a batch is taken after one that was refused. An import that goes on later, where the
        last of its blocks says, must not have any."""
        self._directory = log_dir / writer
        make_directory(self._directory)
        self._writer = writer
        self._gaps = gaps
        self._waiting: list[_Append] = []
        self._waiting_bytes = 0
        self._wake = threading.Condition()
        self._closing = False
        self._failure: str | None = None
        self._number = max(
            (int(name[:-4]) for name in os.listdir(self._directory) if _FILE_NAME.match(name)), default=0
        )
        self._open_next()
        self._thread = threading.Thread(target=self._run, name=f"event-log-{writer}", daemon=True)
        self._thread.start()

    def append(self, data: bytes) -> "Future[LogPosition]":
        """Queue one encoded block. The future gives the position behind it once it is durable.

        Raises:
            Unavailable: `log_busy` when too much waits for the disk, `log_failed` after a failed write.
        """
        with self._wake:
            if self._failure is not None:
                raise Unavailable("log_failed", f"the event log stopped taking events: {self._failure}")
            if self._closing:
                raise Unavailable("shutting_down", "this server is shutting down")
            if self._waiting_bytes > PENDING_BYTES_MAX:
                raise Unavailable("log_busy", "the disk cannot keep up; send again in a moment")
            entry = _Append(data, Future())
            # From here on nobody can cancel it: a client that has gone must not keep the others from an answer.
            entry.done.set_running_or_notify_cancel()
            self._waiting.append(entry)
            self._waiting_bytes += len(data)
            self._wake.notify()
            return entry.done

    def close(self) -> None:
        """Write what waits, then give the file up."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        os.close(self._file)

    def _open_next(self) -> None:
        number = self._number + 1
        path = self._directory / f"{number:012d}.log"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._number = number  # The name is taken, whatever follows.
        try:
            # Held for as long as this process may append: readers take an unlocked file as finished.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with _sync_of(self._writer):
                sync_directory(self._directory)
        except BaseException:
            os.close(descriptor)
            raise
        self._file, self.log_file = descriptor, f"{self._writer}/{number:012d}.log"
        self._size, self._abandoned = 0, False

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                if not self._waiting:
                    return
                batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
            try:
                positions = self._write(batch)
                with _sync_of(self.log_file):
                    os.fdatasync(self._file)
            except _SyncFailed as failed:
                self._stop(batch, "log_failed", failed.error, failed.what)
                return
            except OSError as error:
                self._drop_torn_block()
                code = "disk_full" if error.errno in FULL_DISK else "log_failed"
                if not self._gaps:
                    self._stop(batch, code, error, f"write to {self.log_file}")
                    return
                self._refuse(batch, code, error)
                continue
            for entry, position in zip(batch, positions, strict=True):
                entry.done.set_result(position)

    def _write(self, batch: Sequence[_Append]) -> list[LogPosition]:
        if self._abandoned or self._size > FILE_BYTES_MAX:
            previous = self._file
            self._open_next()
            os.close(previous)
        positions = []
        for entry in batch:
            view = memoryview(entry.data)
            while view:
                view = view[os.write(self._file, view) :]
            self._size += len(entry.data)
            positions.append(LogPosition(self.log_file, self._size))
        return positions

    def _drop_torn_block(self) -> None:
        """Its space may be what is missing. Whole blocks may have been sealed: they stay."""
        if not self._abandoned:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)

    def _refuse(self, batch: Sequence[_Append], code: str, error: OSError) -> None:
        """None of this batch is acknowledged. The file may end in a torn block, so the next batch starts a new one."""
        self._abandoned = True
        for entry in batch:
            entry.done.set_exception(Unavailable(code, f"the events were not stored: {error.strerror}"))

    def _stop(self, batch: Sequence[_Append], code: str, error: OSError, what: str) -> None:
        with self._wake:
            self._failure = f"{error.strerror} at {what}"
            batch = [*batch, *self._waiting]
            self._waiting, self._waiting_bytes = [], 0
        self._refuse(batch, code, error)

    @property
    def failure(self) -> str | None:
        """Why this writer stopped, or None while it works."""
        return self._failure


class _SyncFailed(Exception):
    """The kernel may have dropped the pages: to sync again would claim what is not so."""

    def __init__(self, what: str, error: OSError) -> None:
        super().__init__(what)
        self.what = what
        self.error = error


@contextmanager
def _sync_of(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _SyncFailed(f"sync of {name}", error) from error


def make_directory(directory: Path) -> None:
    """Make a directory, and those above it that are missing, so that they are there after a power cut."""
    if not directory.is_dir():
        make_directory(directory.parent)
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


def sync_file(path: Path) -> None:
    """Make what was written to a file durable, whoever wrote it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_log_files(log_dir: Path) -> list[str]:
    """All log files, "writer/000000000001.log", oldest first within a writer."""
    if not log_dir.is_dir():
        return []
    found: list[str] = []
    for writer in log_dir.iterdir():
        with suppress(FileNotFoundError, NotADirectoryError):  # Its last file was removed a moment ago.
            found += [f"{writer.name}/{name}" for name in os.listdir(writer) if _FILE_NAME.match(name)]
    return sorted(found)


def is_finished(path: Path) -> bool:
    """Whether no writer can append to this file any more (its lock went with its process)."""
    with open(path, "rb") as file:
        return locks.takes(file.fileno(), locks.SHARED)


def read_blocks(path: Path, offset: int, bytes_max: int) -> list[Block]:
    """Whole blocks from `offset` on, until `bytes_max` is passed; at least one where one is there.

    Raises:
        Corrupt: what follows is neither a block nor the beginning of one (`log_damaged`).
    """
    blocks: list[Block] = []
    with open(path, "rb") as file:
        file.seek(offset)
        taken = 0
        while taken < bytes_max:
            block = _read_block(file.readline(HEADER_BYTES_MAX), file, offset)
            if block is None:
                _check_tail(path, offset)
                break
            blocks.append(block)
            taken += block.end - offset
            offset = block.end
    return blocks


def _read_block(header_line: bytes, file: "object", offset: int) -> Block | None:
    if not header_line.endswith(b"\n"):
        return None
    try:
        header = _header_decoder.decode(header_line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    payload: bytes = file.read(header.bytes)  # type: ignore[attr-defined]
    bare = _encoder.encode(msgspec.structs.replace(header, crc32=0))
    if len(payload) != header.bytes or isal_zlib.crc32(payload, isal_zlib.crc32(bare)) != header.crc32:
        return None
    return Block(header, payload, offset + len(header_line) + len(payload))


def _check_tail(path: Path, offset: int) -> None:
    """Return where the file ends at `offset` or in the beginning of a block: a write that was cut off.

    Anything else there is damage, because no write has ever left it. The file is read once: a writer may
    be going on with it.
    """
    with open(path, "rb") as file:
        file.seek(offset)
        rest = file.read().rstrip(b"\0")  # A power cut may have left zeros where bytes were to come.
    stream = io.BytesIO(rest)
    if _read_block(stream.readline(HEADER_BYTES_MAX), stream, 0) is None and not _is_beginning(rest):
        raise Corrupt("log_damaged", f"{path.parent.name}/{path.name} is damaged behind byte {offset}")


def _is_beginning(rest: bytes) -> bool:
    """Whether these are the first bytes of a block, and not all of it."""
    header_line, newline, payload = rest.partition(b"\n")
    if not newline:
        return len(rest) < HEADER_BYTES_MAX and _FIRST_BYTES.startswith(rest[: len(_FIRST_BYTES)])
    try:
        header = _header_decoder.decode(header_line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    # The length may be what is damaged: then all lines are there, although there seem to be too few bytes.
    return len(payload) < header.bytes and payload.count(b"\n") < header.events
