"""Faults inside a process: at the Nth call of a function of `os`, or on either side of a commit.

The harness arms a fault by putting a file `armed/<role>` into the faults directory; a process of that
role meets it at the call that the file names, leaves a file `fired/<number>` and suffers the action.
A fault fires once, in the first process that comes so far, unless it says how often.

    kill         SIGKILL before the call            kill_after   SIGKILL behind it
    torn         half of a write, then SIGKILL      EIO, ENOSPC  the call fails with it (a write: torn)
    power        a power cut: all processes of the server die at once, and of what this one wrote
                 only that is left which was synced, names of files and directories included
"""

import builtins
import errno
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

POLL_SECONDS = 0.001
DEATH_SECONDS_MAX = 10.0

SEGMENT_DELAY_SECONDS = 0.002
"""How long after a segment was begun a process is killed in the midst of writing it."""

_open, _write, _fdatasync, _fsync = os.open, os.write, os.fdatasync, os.fsync
_unlink, _rename, _mkdir = os.unlink, os.rename, os.mkdir


@dataclass(frozen=True, slots=True)
class Plan:
    """A fault that waits for its moment.

    call: write, fdatasync, fsync, open (one that makes a file), unlink, rename, copy (a segment being
    written), commit, committed (both of a transaction that wrote), or any. path: what the file's path must contain,
    or the name of the thread that commits: the engine seals in its main thread. nth counts from 1, from when it is
    armed. times: how many calls from then on fail (errors only). others: processes that a power cut takes along.
    """

    number: int
    call: str
    path: str
    nth: int
    action: str
    times: int = 1
    others: tuple[int, ...] = ()


def arm(directory: Path, role: str, plan: Plan) -> None:
    """Put a fault in the way of the processes of a role, in the place of the one before it."""
    half = directory / f"{role}.half"
    half.write_text(json.dumps(asdict(plan)))
    half.rename(directory / "armed" / role)


def disarm(directory: Path, role: str) -> None:
    """Take the fault away."""
    (directory / "armed" / role).unlink(missing_ok=True)


def fired(directory: Path, plan: Plan) -> dict[str, Any] | None:
    """What became of a fault: None as long as it has not been met."""
    with suppress(FileNotFoundError, json.JSONDecodeError):
        found: dict[str, Any] = json.loads((directory / "fired" / str(plan.number)).read_text())
        return found
    return None


def nth(random: Random, most: int) -> int:
    """Which call, from 1 to `most`; more often an early one, because not every process comes so far."""
    return 1 + int(most * random.random() ** 2)


def make_directories(directory: Path) -> None:
    """What the functions above and the processes need."""
    for name in ("armed", "fired", "synced"):
        (directory / name).mkdir(parents=True, exist_ok=True)


class Injector:
    """One process's share: counts its calls, and meets the fault when it is due."""

    def __init__(self, directory: Path, role: str) -> None:
        self._directory = directory
        self.begin_as(role)

    def begin_as(self, role: str) -> None:
        """Be in a process that has not done anything yet: a fork begins anew, in a role of its own."""
        self.role = role
        self._lock = threading.RLock()
        self._seen: tuple[int, int] | None = None
        self._plan: Plan | None = None
        self._count = 0
        self._left = 0
        self._written: dict[str, int] = {}
        self._unnamed: set[str] = set()

    def meet(self, call: str, path: str) -> str | None:
        """The error that this call should fail with, if any. May not return."""
        with self._lock:
            plan = self._armed()
            if plan is None or plan.call not in (call, "any") or plan.path not in path:
                return None
            self._count += 1
            if self._count == plan.nth and self._fire(plan, call, path):
                self._left = plan.times
            if self._count < plan.nth or self._left <= 0:
                return None
            self._left -= 1
            if plan.action == "kill":
                die()
            if plan.action == "power":
                self._cut_power(plan)
            return plan.action

    def awaits(self, calls: Collection[str], path: str) -> bool:
        """Whether a fault waits for one of these calls."""
        with self._lock:
            plan = self._armed()
            return plan is not None and plan.call in (*calls, "any") and plan.path in path

    def _armed(self) -> Plan | None:
        try:
            status = os.stat(self._directory / "armed" / self.role)
        except FileNotFoundError:
            self._seen = self._plan = None
            return None
        if (status.st_ino, status.st_mtime_ns) != self._seen:
            with suppress(FileNotFoundError):
                text = (self._directory / "armed" / self.role).read_text()
                self._plan = Plan(**json.loads(text))
                self._seen, self._count, self._left = (status.st_ino, status.st_mtime_ns), 0, 0
        return self._plan

    def _fire(self, plan: Plan, call: str, path: str) -> bool:
        """Whether this process is the first to come so far."""
        try:
            mark = _open(self._directory / "fired" / str(plan.number), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return False
        found = {"pid": os.getpid(), "call": call, "path": path, "at": time.monotonic()}
        _write(mark, json.dumps(found).encode())
        os.close(mark)
        return True

    # What a power cut leaves

    def wrote(self, path: str) -> None:
        """A file was written to, and not all of it is on disk."""
        self._written.setdefault(path, 0)

    def made(self, path: str) -> None:
        """A file or directory was made, and its name is not on disk."""
        self._unnamed.add(path)

    def synced(self, path: str) -> None:
        """All of a file, or all names in a directory, are on disk."""
        if os.path.isdir(path):
            self._unnamed = {name for name in self._unnamed if os.path.dirname(name) != path}
            return
        self._written[path] = size = os.stat(path).st_size
        if path.endswith(".log"):  # The sealer syncs what the doors have written.
            half = f"{self._note(path)}.{os.getpid()}-{threading.get_ident()}"
            Path(half).write_text(str(size))
            _rename(half, self._note(path))

    def _note(self, path: str) -> Path:
        return self._directory / "synced" / path.replace("/", "|")

    def _cut_power(self, plan: Plan) -> None:
        supervisor = os.getppid() if self.role in ("worker", "engine") else os.getpid()
        others = {*plan.others, supervisor, *children(supervisor)} - {os.getpid()}
        for pid in others:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + DEATH_SECONDS_MAX
        while any(is_alive(pid) for pid in others) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        for path, own in self._written.items():
            with suppress(FileNotFoundError):
                size = max(own, int(self._note(path).read_text())) if self._note(path).exists() else own
                if os.path.getsize(path) > size:
                    os.truncate(path, size)
        for path in self._unnamed:
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.exists(path):
                _unlink(path)
        die()


def die() -> None:
    """SIGKILL, to ourselves."""
    os.kill(os.getpid(), signal.SIGKILL)


def children(pid: int) -> list[int]:
    """The children of a process that is there."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def state_of(pid: int) -> str:
    """What the kernel says of a process, in a letter: R, S, D, T (stopped), Z (nobody has waited for it), X (gone)."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"


def is_alive(pid: int) -> bool:
    """Whether a process is there and does something."""
    return state_of(pid) not in "ZX"


def install(injector: Injector) -> None:
    """From here on, what this process and its forks ask of the system goes past the injector."""
    _install_files(injector)
    _install_syncs(injector)
    _install_names(injector)
    _install_in_books(injector)
    _install_in_store(injector)


def _path_of(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def _is_kept(path: str) -> bool:
    """Whether it is one of the files that hold events; PostgreSQL looks after its own."""
    return any(f"/{kind}/" in path for kind in ("log", "segments", "ids")) and "/postgres/" not in path


def _failed(action: str | None) -> None:
    if action in ("EIO", "ENOSPC"):
        number = getattr(errno, action)
        raise OSError(number, os.strerror(number))


def _after(action: str | None) -> None:
    if action == "kill_after":
        die()


def _install_files(injector: Injector) -> None:
    def write(descriptor: int, data: Any) -> int:
        path = _path_of(descriptor)
        action = injector.meet("write", path) if path.startswith("/") else None
        if action in ("torn", "ENOSPC") and len(data) > 1:
            _write(descriptor, bytes(data)[: len(data) // 2])
        if action == "torn":
            die()
        _failed(action)
        done = _write(descriptor, data)
        if path.endswith(".log"):
            injector.wrote(path)
        _after(action)
        return done

    def open_(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if not flags & os.O_CREAT:
            return _open(path, flags, *rest, **named)
        action = injector.meet("open", str(path))
        _failed(action)
        descriptor = _open(path, flags, *rest, **named)
        if _is_kept(str(path)):
            injector.made(str(path))
        _after(action)
        return descriptor

    plain_open = builtins.open

    def open_file(path: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if "x" not in mode:
            return plain_open(path, mode, *rest, **named)
        action = injector.meet("open", str(path))
        _failed(action)
        file = plain_open(path, mode, *rest, **named)
        if _is_kept(str(path)):
            injector.made(str(path))
            injector.wrote(str(path))
        _after(action)
        return file

    os.write, os.open, builtins.open = write, open_, open_file  # type: ignore[assignment]


def _install_syncs(injector: Injector) -> None:
    def wrap(call: str, original: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            path = _path_of(descriptor)
            action = injector.meet(call, path)
            _failed(action)
            original(descriptor)
            injector.synced(path)
            _after(action)

        return sync

    os.fdatasync, os.fsync = wrap("fdatasync", _fdatasync), wrap("fsync", _fsync)


def _install_names(injector: Injector) -> None:
    def wrap(call: str, original: Callable[..., None]) -> Callable[..., None]:
        def change(path: Any, *rest: Any, **named: Any) -> None:
            action = injector.meet(call, str(path))
            _failed(action)
            original(path, *rest, **named)
            _after(action)

        return change

    def mkdir(path: Any, *rest: Any, **named: Any) -> None:
        _mkdir(path, *rest, **named)
        if _is_kept(f"{path}/"):
            injector.made(str(path))

    os.mkdir = mkdir  # type: ignore[assignment]
    os.unlink = wrap("unlink", os.unlink)  # type: ignore[assignment]
    os.rename = wrap("rename", os.rename)  # type: ignore[assignment]
    os.replace = wrap("rename", os.replace)  # type: ignore[assignment]


def _install_in_books(injector: Injector) -> None:
    """The same around every commit of what was written; in place of a path, the name of the thread.

    Imports the database driver.
    """
    from psycopg import Connection
    from psycopg.rows import scalar_row

    commit = Connection.commit

    def has_written(conn: Connection[Any]) -> bool:
        asking = conn.cursor(row_factory=scalar_row)
        return asking.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL").fetchone() is True

    def committed(self: Connection[Any]) -> None:
        thread = threading.current_thread().name
        # A transaction that only read has nothing to lose: killing it would be a point that proves nothing.
        counts = injector.awaits(("commit", "committed"), thread) and has_written(self)
        if counts:
            injector.meet("commit", thread)
        commit(self)
        if counts:
            injector.meet("committed", thread)

    Connection.commit = committed  # type: ignore[method-assign]


def _install_in_store(injector: Injector) -> None:
    """The same in the midst of writing a segment, a moment after it was begun. Imports the event store."""
    from farthing.events.store import duckdb

    def in_its_midst(write: Callable[..., Any], path_of: Callable[..., Path]) -> Callable[..., Any]:
        def written(*given: Any, **named: Any) -> Any:
            path = str(path_of(*given))
            if injector.meet("copy", path) is not None:
                threading.Timer(SEGMENT_DELAY_SECONDS, die).start()
            injector.made(path)
            injector.wrote(path)
            return write(*given, **named)

        return written

    # What is sealed, and what is rewritten.
    duckdb.write_table = in_its_midst(duckdb.write_table, lambda _table, path: path)
    duckdb.write_segment = in_its_midst(duckdb.write_segment, lambda _cursor, path, *_: path)
