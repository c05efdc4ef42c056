"""The machine that a figure belongs to. Without it, and without what a sync costs there, it says nothing."""

import importlib.metadata
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from farthing.db.embedded.account import account_of, server_account
from farthing.db.embedded.binaries import programs_for

SYNCS = 200
_SMALL, _LARGE = 4 * 1024, 1024 * 1024


def describe(directory: Path, sync_count: int = SYNCS) -> dict[str, Any]:
    """What there is to know. Syncs are measured in `directory`, where the benchmarks write."""
    return {
        "cpu": _from_proc("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "duckdb": importlib.metadata.version("duckdb"),
        "postgres": _postgres_version(),
        "git": _git_state(),
        "fdatasync_4k_us": _sync_us(directory, _SMALL, sync_count),
        "fdatasync_1m_us": _sync_us(directory, _LARGE, sync_count),
    }


def lines(machine: dict[str, Any]) -> str:
    """The machine as it stands above the table."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"Linux {machine['kernel']}, load {machine['load_average']} at the start\n"
        f"Python {machine['python']}, DuckDB {machine['duckdb']}, PostgreSQL {machine['postgres']}, "
        f"Farthing {machine['git']}\n"
        f"fdatasync after 4 KiB {machine['fdatasync_4k_us']:,} us, after 1 MiB {machine['fdatasync_1m_us']:,} us "
        "(medians)"
    )


def _from_proc(path: str, name: str) -> str:
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return ""


def _postgres_version() -> str:
    account = account_of(os.geteuid()) if os.geteuid() else server_account()
    program = programs_for(account) / "postgres"
    said = subprocess.run(
        [program, "--version"], cwd="/", check=True, capture_output=True, **account.identity()
    )
    return str(said.stdout.decode().split()[-1])


def _git_state() -> str:
    """The commit, with a plus where files differ from it."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "../src", ".")
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "of no known commit"


def _sync_us(directory: Path, size: int, count: int) -> int:
    """The median time of writing so many bytes to the end of a file and waiting until they are on disk."""
    content = os.urandom(size)
    path = directory / f"sync-{size}"
    took = []
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for _ in range(count):
            started = time.perf_counter()
            os.write(file, content)
            os.fdatasync(file)
            took.append(time.perf_counter() - started)
    finally:
        os.close(file)
        path.unlink()
    return round(statistics.median(took) * 1_000_000)
