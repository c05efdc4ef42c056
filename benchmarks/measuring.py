"""Seconds, processor time and memory of our processes and of the servers that they use."""

import os
import statistics
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from farthing.db.embedded.place import find_place

_WATCH_SECONDS = 0.25
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


class Wrong(Exception):
    """An answer was not what the generator says. There is no figure for a wrong answer."""


def require_equal(what: str, found: object, expected: object) -> None:
    """The gate before every figure."""
    if found != expected:
        raise Wrong(f"{what}: found {str(found)[:200]}, which should be {str(expected)[:200]}")


@dataclass(slots=True)
class Stretch:
    """What a stretch of work took, filled in when it ends.

    cpu_seconds: of this process and of the processes that were named.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0


@contextmanager
def stretch(*others: int) -> Iterator[Stretch]:
    """Measure the block: its seconds, and the processor time of this process and of the trees below `others`."""
    measured = Stretch()
    cpu = time.process_time() + sum(cpu_seconds(pid) for pid in others)
    started = time.perf_counter()
    yield measured
    measured.seconds = time.perf_counter() - started
    measured.cpu_seconds = time.process_time() + sum(cpu_seconds(pid) for pid in others) - cpu


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of all that it started, those that ended included."""
    return sum(_cpu_of(one) for one in tree(pid))


def tree(pid: int) -> list[int]:
    """A process and its living descendants."""
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _cpu_of(pid: int) -> float:
    try:
        # The name, which may hold anything, ends at the last bracket. Then utime, stime, and the children's.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) * _TICK_SECONDS


def peak_bytes(pids: Iterable[int]) -> int:
    """The most memory that these processes ever held, summed; what they share is counted for each."""
    return sum(_peak_of(pid) for pid in pids)


def _peak_of(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


@dataclass(slots=True)
class Memory:
    """The most memory that some processes held together at one moment, filled in while it is watched."""

    peak_bytes: int = 0


@contextmanager
def watched_memory(*roots: int) -> Iterator[Memory]:
    """Watch the memory of the trees below these processes, PostgreSQL's as well: shared pages are counted once."""
    memory, done = Memory(), threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH_SECONDS):
            pids = {pid for root in roots for pid in tree(root)}
            memory.peak_bytes = max(memory.peak_bytes, sum(_share_of_memory(pid) for pid in pids))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        done.set()
        watcher.join()


def _share_of_memory(pid: int) -> int:
    """Its own pages, and of each shared one its part."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    return 0


def postmaster(data_dir: Path) -> int:
    """The process of the embedded PostgreSQL of a data directory."""
    return int((find_place(data_dir).cluster / "postmaster.pid").read_text().split("\n", 1)[0])


@dataclass(frozen=True, slots=True)
class Series:
    """One figure from each repetition."""

    figures: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.figures)

    @property
    def low(self) -> float:
        return min(self.figures)

    @property
    def high(self) -> float:
        return max(self.figures)

    @property
    def variation(self) -> float:
        """The coefficient of variation: standard deviation over mean. 0 for a single repetition."""
        if len(self.figures) < 2:
            return 0.0
        return statistics.stdev(self.figures) / statistics.fmean(self.figures)


def series(figures: Iterable[float]) -> Series:
    return Series(tuple(figures))


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]
