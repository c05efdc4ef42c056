"""The index of counted events at a hundred million ids: disk, memory, look-ups, and what merging writes.

It is made as the sealer makes it: sorted runs of a batch each, merged by the same rule. Ids are random, which is
the worst case: hashes of real ids are as random.
"""

import os
import shutil
import time
from pathlib import Path

import numpy as np

from benchmarks.bench import Bench
from benchmarks.measuring import require_equal, series, stretch
from benchmarks.report import Row
from farthing.events.ids.index import (
    Hashes,
    Identities,
    IdRun,
    find,
    open_run,
    runs_to_merge,
    write_merged,
    write_run,
)

ABOUT = (
    "Id index: look-ups are of batches of 280,000 ids, as one piece of the log has. Memory: of the process that "
    "builds it, without pages of mapped files, which the system takes back when it needs them; those beside it."
)
IDS_OF_A_BATCH = 280_000
LOOKED_UP = 10
_SEED = 20240229


def run(bench: Bench) -> list[Row]:
    """Built once; looked up in many times."""
    directory = bench.directory / "ids"
    ids = bench.sizes.index_ids
    with bench.saying(f"building an index of {ids:,} ids"), stretch() as building:
        runs, written, slowest_merge, own_bytes = _build(directory, ids)
    require_equal("ids in the index", sum(map(len, runs.values())), ids)
    new, known = [], []
    with bench.saying("looking up"):
        for number in range(LOOKED_UP):
            new.append(
                _look_up(list(runs.values()), _batch(ids + number * IDS_OF_A_BATCH, IDS_OF_A_BATCH), 0)
            )
            at = number * (ids - IDS_OF_A_BATCH) // LOOKED_UP
            known.append(_look_up(list(runs.values()), _batch(at, IDS_OF_A_BATCH), IDS_OF_A_BATCH))
    size = sum(path.stat().st_size for path in directory.iterdir())
    rows = [
        Row(f"Id index of {ids:,}: new ids", "ids/s", series(IDS_OF_A_BATCH / one for one in new)),
        Row("  ids that are known", "ids/s", series(IDS_OF_A_BATCH / one for one in known)),
        Row("  disk", "B/id", series([size / ids]), less_is_better=True),
        Row("  runs to look through", "", series([len(runs)]), less_is_better=True),
        Row("  written for each byte that stays", "x", series([written / size]), less_is_better=True),
        Row("  built", "ids/s", series([ids / building.seconds])),
        Row("  longest merge", "s", series([slowest_merge]), less_is_better=True),
        Row("  memory of its own", "MiB", series([own_bytes / 2**20]), less_is_better=True),
        Row("  mapped pages in memory", "MiB", series([_resident("RssFile") / 2**20]), less_is_better=True),
    ]
    runs.clear()
    shutil.rmtree(directory)
    return rows


def _build(directory: Path, ids: int) -> tuple[dict[str, IdRun], int, float, int]:
    """The runs, the bytes written, the seconds of the longest merge, and the most memory of its own."""
    runs: dict[str, IdRun] = {}
    written, slowest, most = 0, 0.0, 0

    def add(name: str) -> None:
        nonlocal written, most
        path = directory / name
        written += path.stat().st_size
        runs[name] = open_run(path, name, (path.stat().st_size - 24) // 24)
        most = max(most, _resident("RssAnon"))

    for number, at in enumerate(range(0, ids, IDS_OF_A_BATCH)):
        name = f"run-{number:06d}"
        write_run(directory / name, _batch(at, min(IDS_OF_A_BATCH, ids - at)))
        add(name)
        while chosen := runs_to_merge([(one, len(run)) for one, run in runs.items()]):
            started = time.perf_counter()
            name = f"merged-{written:015d}"
            write_merged(directory / name, [runs[one] for one in chosen])
            add(name)
            for one in chosen:
                del runs[one]
                (directory / one).unlink()
            slowest = max(slowest, time.perf_counter() - started)
    return runs, written, slowest, most


def _batch(first: int, ids: int) -> Identities:
    """The identities numbered from `first` on: the same numbers always give the same hashes, without repeats."""
    numbers = np.arange(first, first + ids, dtype=np.uint64) + np.uint64(_SEED)
    key = _mixed(numbers)
    return Identities(key, _mixed(key), numbers)


def _mixed(numbers: Hashes) -> Hashes:
    """A bijection of 64 bits whose results look random (splitmix64)."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _look_up(runs: list[IdRun], batch: Identities, expected: int) -> float:
    started = time.perf_counter()
    found, contents = find(runs, batch.keys, batch.checks)
    seconds = time.perf_counter() - started
    require_equal("known ids", int(np.count_nonzero(found & (contents == batch.contents))), expected)
    return seconds


def _resident(what: str) -> int:
    """Memory of this process now: `RssAnon` is its own, `RssFile` that of mapped files."""
    for line in Path(f"/proc/{os.getpid()}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    return 0
