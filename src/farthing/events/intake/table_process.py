"""The process that reads tables for a door: `python -m farthing.events.intake.table_process`, started by the door only.

It takes bodies on standard input and gives event lines on standard output, one after another, and ends when
its input does. Its memory is limited, so that a body that unpacks to more is refused; should one manage
to break it, the door starts another.
"""

import logging
import os
import resource
import sys
import threading
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

import msgspec

from farthing.events.model import ParsedBatch
from farthing.kernel.errors import FarthingError, Fault, InvalidInput, LimitExceeded, Unavailable

MEMORY_BYTES_MAX = 512 * 1024 * 1024
"""What one body may take beyond what the process itself takes."""
SECONDS_MAX = 20.0
"""How long one body may take."""

_LENGTH_BYTES = 8

_log = logging.getLogger("farthing.events")


class _Task(msgspec.Struct):
    body: bytes
    media_type: str
    content_encoding: str


class _Refusal(msgspec.Struct, frozen=True):
    code: str
    message: str
    path: str | None
    faults: list[tuple[str, str]]
    limit: bool


class _Result(msgspec.Struct):
    batch: ParsedBatch | None = None
    refusal: _Refusal | None = None


class TableReader:
    """Reads tables for one door, one at a time, in a process that is started when the first one comes."""

    def __init__(self, memory_bytes_max: int = MEMORY_BYTES_MAX, seconds_max: float = SECONDS_MAX) -> None:
        self._memory_bytes_max = memory_bytes_max
        self._seconds_max = seconds_max
        self._process: Popen[bytes] | None = None
        self._turn = threading.Lock()

    def read(self, body: bytes, media_type: str, content_encoding: str) -> ParsedBatch:
        """What `parse_table` says, with the same errors. Blocks: call it beside the event loop.

        Raises also:
            InvalidInput: `broken_table` where the body broke its reader.
            LimitExceeded: `table_too_large` where it took too long.
            Unavailable: `too_busy` where there is no process to be had.
        """
        task = msgspec.msgpack.encode(_Task(body, media_type, content_encoding))
        with self._turn:
            # One that died may have been killed by somebody else: the body gets a second one.
            answer = self._asked(task) or self._asked(task)
            if answer is None:
                _log.error("a table ended the processes that were reading it")
                raise InvalidInput("broken_table", "the body is not a table that can be read")
            result = msgspec.msgpack.decode(answer, type=_Result)
            if result.refusal is not None:
                if result.refusal.code == "table_too_large":
                    self._end()  # What it took it does not give back.
                raise _raised(result.refusal)
        assert result.batch is not None
        return result.batch

    def _asked(self, task: bytes) -> bytes | None:
        """The process's answer; None where it died."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def cut() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._seconds_max, cut)
        timer.start()
        try:
            process.stdin.write(len(task).to_bytes(_LENGTH_BYTES) + task)
            process.stdin.flush()
            length = process.stdout.read(_LENGTH_BYTES)
            answer = process.stdout.read(int.from_bytes(length))
            if length and len(answer) == int.from_bytes(length):
                return answer
        except OSError:  # It ended while it was written to.
            pass
        finally:
            timer.cancel()
            timer.join()
        self._end()
        if late.is_set():
            limit = f"{self._seconds_max:g} seconds"
            raise LimitExceeded("table_too_large", f"the table could not be read within {limit}")
        return None

    def _start(self) -> "Popen[bytes]":
        try:
            return Popen(
                [sys.executable, "-m", "farthing.events.intake.table_process", str(self._memory_bytes_max)],
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"},
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable("too_busy", f"no process for this table: {error.strerror}") from error

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            # What is still to be written has nowhere to go.
            with suppress(OSError), process:
                pass

    @property
    def pid(self) -> int | None:
        """The process, where there is one."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """Let the process go, whatever it is at."""
        if self._process is not None:
            self._process.kill()
        with self._turn:
            self._end()


def _raised(refusal: _Refusal) -> FarthingError:
    kind = LimitExceeded if refusal.limit else InvalidInput
    faults = [Fault(path, message) for path, message in refusal.faults]
    return kind(refusal.code, refusal.message, path=refusal.path, faults=faults)


def main() -> None:
    """Read tables until the input ends."""
    from farthing.events.intake.table_bodies import parse_table

    _limit_memory(int(sys.argv[1]))
    while head := _read(_LENGTH_BYTES):
        task = msgspec.msgpack.decode(_read(int.from_bytes(head)), type=_Task)
        try:
            result = _Result(batch=parse_table(task.body, task.media_type, task.content_encoding))
        except (InvalidInput, LimitExceeded) as error:
            faults = [(fault.path, fault.message) for fault in error.faults]
            limit = isinstance(error, LimitExceeded)
            result = _Result(refusal=_Refusal(error.code, error.message, error.path, faults, limit))
        answer = msgspec.msgpack.encode(result)
        _write(len(answer).to_bytes(_LENGTH_BYTES))
        _write(answer)


def _limit_memory(bytes_max: int) -> None:
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text().split()[0]) if statm.exists() else 0
    most = pages * os.sysconf("SC_PAGE_SIZE") + bytes_max
    _, allowed = resource.getrlimit(resource.RLIMIT_AS)
    if allowed == resource.RLIM_INFINITY or allowed > most:
        resource.setrlimit(resource.RLIMIT_AS, (most, allowed))


def _read(length: int) -> bytes:
    """So many bytes, or nothing where the input has ended."""
    parts = bytearray()
    while len(parts) < length:
        if not (part := os.read(0, min(length - len(parts), 1 << 20))):
            return b""
        parts += part
    return bytes(parts)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
