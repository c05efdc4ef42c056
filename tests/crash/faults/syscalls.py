"""SIGKILL and errors at the Nth system call of processes that run already: strace attaches, injects, and goes.

Nothing in the process is changed for it, so this also reaches what Python does not call by itself: the
writes of DuckDB, the messages to PostgreSQL, and PostgreSQL.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.crash.faults.calls import GO_SECONDS_MAX, choose
from tests.crash.injection import is_alive, nth, state_of
from tests.crash.site import Broken, Fault, Hit, Site
from tests.crash.waiting import eventually, until

MEET_SECONDS_MAX = 5.0
ATTACH_SECONDS_MAX = 5.0
DETACH_SECONDS_MAX = 3.0

# One name for one purpose: the kernel has several calls for it.
_CALLS = {
    "write": "write,pwrite64,writev",
    "sync": "fdatasync,fsync",
    "open": "openat",
    "unlink": "unlink,unlinkat",
    "send": "sendto,sendmsg",
}


def kill(role: str, purpose: str, most: int) -> Fault:
    """SIGKILL at the Nth call."""
    name = f"strace: kill {role} at {purpose}"

    def strike(site: Site, random: Random) -> Hit | None:
        pids = _of(site, random, role)
        if not pids:
            return None
        what = f"signal=SIGKILL:when={random.randint(1, most)}"
        with _Strace(site, pids, _CALLS[purpose], what) as strace:
            gone = eventually(lambda: not all(is_alive(pid) for pid in pids), MEET_SECONDS_MAX)
            return Hit(name, time.monotonic()) if gone and strace.injected() else None

    return Fault(name, _lane(role), strike, frozenset({"strace"}))


def fail(role: str, purpose: str, error: str, most: int, *, ends: bool) -> Fault:
    """An error at the Nth call. `ends`: the process must not go on after it."""
    name = f"strace: {role} {error} at {purpose}"

    def strike(site: Site, random: Random) -> Hit | None:
        pids = _of(site, random, role)
        if not pids:
            return None
        what = f"error={error}:when={random.randint(1, most)}"
        with _Strace(site, pids, _CALLS[purpose], what) as strace:
            if not eventually(strace.injected, MEET_SECONDS_MAX):
                return None
            at = time.monotonic()
            # Whoever finds PostgreSQL gone writes its settings and starts it, and strace follows. If that fails, it is
            # tried again: nothing that was acknowledged depends on it.
            if role != "postgres" and strace.injected_below(site.house.data / "postgres"):
                return None
        if ends and not eventually(lambda: not all(is_alive(pid) for pid in pids), GO_SECONDS_MAX):
            raise Broken(f"{name}: {pids} go on; {site.house.last_words()}")
        return Hit(name, at)

    return Fault(name, _lane(role), strike, frozenset({"strace"}))


def kill_ingest(purpose: str, most: int) -> Fault:
    """SIGKILL at the Nth call of an import, traced from its first step on."""
    name = f"strace: kill ingest at {purpose}"

    def strike(site: Site, random: Random) -> Hit | None:
        command = site.import_now(random, held=True)
        until(lambda: state_of(command.pid) == "T", "it stops before its first step")
        what = f"signal=SIGKILL:when={nth(random, most)}"
        with _Strace(site, [command.pid], _CALLS[purpose], what):
            command.send_signal(signal.SIGCONT)
            code = command.wait()
        site.imports.end(code)
        return Hit(name, time.monotonic()) if code == -signal.SIGKILL else None

    return Fault(name, "ingest", strike, frozenset({"strace"}))


def _lane(role: str) -> str:
    return "server" if role == "postgres" else role


def _of(site: Site, random: Random, role: str) -> list[int]:
    if role == "postgres":
        return site.house.postgres_processes()
    pid = choose(site, random, role)
    return [] if pid is None else [pid]


class _Strace:
    """strace, attached to processes for as long as the block lasts."""

    def __init__(self, site: Site, pids: list[int], calls: str, what: str) -> None:
        self._note = site.house.place / f"strace.{next(site.plans)}"
        self._pids = pids
        self._process = subprocess.Popen(
            [
                "strace",
                "-f",
                "-qq",
                "-y",
                "-o",
                str(self._note),
                "-e",
                f"trace={calls}",
                "-e",
                f"inject={calls}:{what}",
                *(word for pid in pids for word in ("-p", str(pid))),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> "_Strace":
        eventually(lambda: all(map(_is_traced, self._pids)), ATTACH_SECONDS_MAX)
        return self

    def __exit__(self, *_: object) -> None:
        if all(map(is_alive, self._pids)):
            self._process.send_signal(signal.SIGTERM)  # it detaches
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(DETACH_SECONDS_MAX)
        # Of processes that have died, strace waits for the first thread, which waits for the others.
        self._process.kill()
        self._process.wait()
        self._note.unlink(missing_ok=True)

    def injected(self) -> bool:
        """Whether it has done it."""
        try:
            text = self._note.read_text(errors="replace")
        except FileNotFoundError:
            return False
        return "(INJECTED)" in text or "killed by SIGKILL" in text

    def injected_below(self, directory: Path) -> bool:
        """Whether the call that it did it to was about a file below this directory."""
        lines = [line for line in self._note.read_text(errors="replace").splitlines() if "(INJECTED)" in line]
        return any(f"<{directory}/" in line or f"<{directory}>" in line for line in lines)


def _is_traced(pid: int) -> bool:
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        return all(
            "TracerPid:\t0" not in Path(f"/proc/{pid}/task/{task}/status").read_text() for task in tasks
        )
    except OSError:  # it is gone, or just going
        return True


FAULTS = (
    *(
        kill("worker", purpose, most)
        for purpose, most in (("write", 12), ("sync", 4), ("open", 1), ("send", 6))
    ),
    *(
        kill("engine", purpose, most)
        for purpose, most in (("write", 20), ("sync", 8), ("open", 30), ("unlink", 2), ("send", 12))
    ),
    *(kill("postgres", purpose, most) for purpose, most in (("write", 6), ("sync", 3), ("send", 10))),
    *(
        kill_ingest(purpose, most)
        for purpose, most in (("write", 30), ("sync", 8), ("open", 120), ("send", 40))
    ),
    fail("worker", "sync", "EIO", 4, ends=True),
    fail("worker", "write", "ENOSPC", 8, ends=False),
    fail("engine", "sync", "EIO", 6, ends=True),
    fail("engine", "write", "ENOSPC", 12, ends=False),
    fail("postgres", "sync", "EIO", 2, ends=True),
)
