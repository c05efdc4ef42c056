"""How long one waits before anything happens."""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.measuring import require_equal, series
from benchmarks.report import Row
from farthing.app import wall_clock
from farthing.db import open_books

ABOUT = "Start: baseline of `farthing rate` is `python -c pass`, the interpreter's own start."
_LINE = b'{"price":{"model":"per_unit","unit_price":"0.0000025"},"quantity":"18059974"}\n'
_AMOUNT = b'{"amount":"45.149935",'


def run(bench: Bench) -> list[Row]:
    """New books, books that exist but do not run, and a command that needs none."""
    sizes = bench.sizes
    cold, warm, rate, bare = [], [], [], []
    for number in range(sizes.long_repetitions):
        data_dir = bench.directory / f"start-{number}"
        with bench.saying(f"starting new books, {number + 1} of {sizes.long_repetitions}"):
            cold.append(_open(data_dir))
    with bench.saying(f"starting books that exist, {sizes.repetitions} times"):
        warm = [_open(bench.directory / "start-0") for _ in range(sizes.repetitions)]
    with bench.saying(f"starting farthing rate, {sizes.repetitions} times"):
        for _ in range(sizes.repetitions):
            seconds, said = _command([sys.executable, "-m", "farthing", "rate"], _LINE)
            require_equal("the answer of farthing rate", said[: len(_AMOUNT)], _AMOUNT)
            rate.append(seconds)
            bare.append(_command([sys.executable, "-c", "pass"], b"")[0])
    return [
        Row("Start: new books, made and migrated", "s", series(cold), less_is_better=True),
        Row("Start: books that exist", "s", series(warm), less_is_better=True),
        Row("Start: farthing rate, one price", "s", series(rate), series(bare), less_is_better=True),
    ]


def _open(data_dir: Path) -> float:
    """Until the books can be read. They end again behind it, which is not counted."""
    started = time.perf_counter()
    with open_books(data_dir, None, now=wall_clock()) as books:
        with books.read_only(1) as conn:
            conn.execute("SELECT 1")
        return time.perf_counter() - started


def _command(command: list[str], given: bytes) -> tuple[float, bytes]:
    started = time.perf_counter()
    done = subprocess.run(command, input=given, capture_output=True, check=True)
    return time.perf_counter() - started, done.stdout
