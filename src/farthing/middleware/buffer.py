"""Events on disk until the server has them: a directory of small files of lines, shared by all processes of an API.

A process writes into a file that it holds locked. Once the file is full or old enough it lets go of it, and from
then on whoever locks it first sends it: this process, another one, or the next one after a crash, because a lock
ends with its process. A line that a crash cut short is left out and counted.
"""

import fcntl
import os
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FILE_BYTES_MAX = 256 * 1024
FILE_EVENTS_MAX = 1000
REFUSED_BYTES_MAX = 16 * 1024 * 1024
"""What the server refused is kept to be looked at, up to this size."""
SUFFIX = ".ndjson"
REFUSED = "refused.ndjson"

_OPEN_PREFIX = ".open-"


@dataclass(slots=True)
class _Open:
    """The file that is being written."""

    fd: int
    path: Path
    size: int
    events: int
    since: float
    unsynced: bool


@dataclass(frozen=True, slots=True)
class Appended:
    """How many lines were written, and what the disk had against the next one, if it was the disk."""

    taken: int
    error: OSError | None


class Buffer:
    """The directory, as one process uses it. One thread writes, one sends."""

    def __init__(self, directory: Path, bytes_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._clock = clock
        self._open: _Open | None = None
        self._count = 0
        self._used = 0
        self._used_at = self._synced_at = float("-inf")

    # ---- The writer's side

    def append(self, lines: list[bytes]) -> "Appended":
        """Write lines, whole ones only, as far as there is room for them."""
        room = self._bytes_max - self._used_now()
        taken = 0
        for line in lines:
            if len(line) > room:
                break
            try:
                self._write(line)
            except OSError as error:
                return Appended(taken, error)
            room -= len(line)
            taken += 1
        return Appended(taken, None)

    def _write(self, line: bytes) -> None:
        current = self._open or self._begin()
        try:
            written = os.write(current.fd, line)
        except OSError:
            written = -1
        if written < len(line):  # The disk is full: nothing of a half line may stay.
            os.ftruncate(current.fd, current.size)
            raise OSError("the line was not written whole")
        current.size += len(line)
        current.events += 1
        current.unsynced = True
        self._used += len(line)
        if current.size >= FILE_BYTES_MAX or current.events >= FILE_EVENTS_MAX:
            self.let_go()

    def _begin(self) -> _Open:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._count += 1
        name = f"{time.time_ns():020d}-{os.getpid()}-{self._count}{SUFFIX}"
        # Under another name until it is locked, so that nobody takes it for one that was let go.
        hidden = self._directory / f"{_OPEN_PREFIX}{name}"
        fd = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        hidden.rename(self._directory / name)
        self._open = _Open(fd, self._directory / name, 0, 0, self._clock(), unsynced=False)
        return self._open

    def sync(self, not_within_seconds: float = 0.0) -> None:
        """What was written is on the disk; or, so soon after the last time, will be with the next."""
        now = self._clock()
        if self._open is None or not self._open.unsynced or now - self._synced_at < not_within_seconds:
            return
        os.fdatasync(self._open.fd)
        self._open.unsynced = False
        self._synced_at = now

    def let_go(self) -> bool:
        """Whether a file is now there to be sent."""
        if self._open is None:
            return False
        with suppress(OSError):
            self.sync()
        fd, self._open = self._open.fd, None
        _unlock_and_close(fd)
        return True

    def age_seconds(self) -> float:
        """How long the open file has been so; 0 where there is none."""
        return 0.0 if self._open is None else self._clock() - self._open.since

    def forget(self) -> None:
        """After a fork: the parent's open file is the parent's."""
        if self._open is not None:
            fd, self._open = self._open.fd, None
            os.close(fd)  # Not unlocked: the lock is the parent's.

    def _used_now(self) -> int:
        """The bytes in the directory, looked at once in a second."""
        if self._clock() - self._used_at >= 1.0:
            self._used_at = self._clock()
            self._used = sum(self._size(path) for path in self._files())
        return self._used

    # ---- The sender's side

    def claims(self) -> "Generator[Claim]":
        """Files that nobody writes or sends, oldest first, each locked until the next is asked for."""
        for path in self._files():
            try:
                fd = os.open(path, os.O_RDWR)
            except OSError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_nlink:  # Else another sent and removed it meanwhile.
                    yield Claim(path, fd)
            except BlockingIOError:
                continue
            finally:
                _unlock_and_close(fd)

    def keep_refused(self, lines: list[bytes]) -> None:
        """Put what the server will never take aside, as long as there is room for it."""
        path = self._directory / REFUSED
        with suppress(OSError):
            if self._size(path) < REFUSED_BYTES_MAX:
                with path.open("ab") as file:
                    file.writelines(lines)

    def _files(self) -> list[Path]:
        try:
            names = sorted(os.listdir(self._directory))
        except OSError:
            return []
        return [
            self._directory / name
            for name in names
            if name.endswith(SUFFIX) and name != REFUSED and not name.startswith(".")
        ]

    @staticmethod
    def _size(path: Path) -> int:
        try:
            return path.stat().st_size
        except OSError:
            return 0


def _unlock_and_close(fd: int) -> None:
    """Said, because a child that was forked meanwhile has the file open as well and would go on holding it."""
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


@dataclass(frozen=True, slots=True)
class Claim:
    """A file that is ours to send."""

    path: Path
    fd: int

    def lines(self) -> tuple[list[bytes], int]:
        """Its whole lines, and how many were cut short (none or one)."""
        with os.fdopen(os.dup(self.fd), "rb") as file:
            file.seek(0)
            *whole, rest = file.read().split(b"\n")
        return [line + b"\n" for line in whole], 1 if rest else 0

    def remove(self) -> None:
        """It is sent."""
        with suppress(FileNotFoundError):
            self.path.unlink()
