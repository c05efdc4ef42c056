"""Which events have been counted: the exact, unbounded index behind law 2.

One entry per counted event, in three parallel columns:

    key      64 bits of a 128-bit hash of (source, id); entries are sorted by it
    check    the other 64 bits, which confirm a hit
    content  64 bits of a hash of what the event says, which tell a repeat from a conflict

Entries live in immutable sorted files, "runs", one per sealed batch, memory-mapped; small runs are
merged into larger ones. There is no time window: a repeat is found however late it comes. Each
tenant has runs of its own, so equal ids of two tenants never meet.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from farthing.events.log.files import make_directory, sync_directory
from farthing.kernel.errors import Corrupt

RUNS_MERGED_AT_ONCE: Final = 8
"""As many runs of one size class become one run of the next."""
RUN_IDS_MERGED_MAX: Final = 64_000_000
"""Runs larger than this are left as they are, which bounds the time and the disk of a merge."""
IDS_MERGED_AT_ONCE: Final = 2_000_000
"""How many ids of a merge are in memory at once."""

_MAGIC: Final = b"FARTHIDS2\0\0\0\0\0\0\0"
_COLUMNS: Final = 3

Hashes = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class IdRun:
    """One sorted run, mapped from its file."""

    run_id: str
    keys: Hashes
    checks: Hashes
    contents: Hashes

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Identities:
    """The hashes of a batch of events, in log order."""

    keys: Hashes
    checks: Hashes
    contents: Hashes


NO_IDENTITIES: Final = Identities(*(np.zeros(0, dtype=np.uint64) for _ in range(_COLUMNS)))


def write_run(path: Path, identities: Identities) -> bytes:
    """Write a run, sorted by key, durably. Returns the checksum of the file (blake2b, 128 bits)."""
    return _write(path, len(identities.keys), [_sorted(identities)])


def write_merged(path: Path, runs: Sequence[IdRun]) -> bytes:
    """Write the entries of several runs as one, in little memory however long they are. Returns the checksum."""
    return _write(path, sum(len(run) for run in runs), merged(runs))


def merged(runs: Sequence[IdRun], ids_at_once: int = IDS_MERGED_AT_ONCE) -> Iterator[Identities]:
    """The entries of several runs together, sorted by key, in parts of about so many."""
    places = np.zeros(len(runs), dtype=np.int64)
    ends = np.array([len(run) for run in runs])
    while np.any(left := ends - places):
        # Each run would give its share of a part: the least of the keys where they would end bounds this part.
        shares = np.maximum(1, left * ids_at_once // left.sum())
        bound = min(
            run.keys[start + min(share, more) - 1]
            for run, start, share, more in zip(runs, places, shares, left, strict=True)
            if more
        )
        stops = [np.searchsorted(run.keys, bound, side="right") for run in runs]
        parts = [slice(start, stop) for start, stop in zip(places, stops, strict=True)]
        yield _sorted(
            Identities(
                np.concatenate([run.keys[part] for run, part in zip(runs, parts, strict=True)]),
                np.concatenate([run.checks[part] for run, part in zip(runs, parts, strict=True)]),
                np.concatenate([run.contents[part] for run, part in zip(runs, parts, strict=True)]),
            )
        )
        places = np.array(stops)


def in_key_order(identities: Identities) -> Places:
    """The places of the entries in the order of their keys, in which everything here takes the least time."""
    return np.argsort(identities.keys)


def _sorted(entries: Identities) -> Identities:
    if np.all(entries.keys[:-1] <= entries.keys[1:]):
        return entries
    order = np.argsort(entries.keys)
    return Identities(entries.keys[order], entries.checks[order], entries.contents[order])


def _write(path: Path, ids: int, parts: Iterable[Identities]) -> bytes:
    make_directory(path.parent)
    with open(path, "xb+") as file:
        file.write(_MAGIC + np.uint64(ids).tobytes())
        start, written = file.tell(), 0
        for part in parts:
            for column, hashes in enumerate((part.keys, part.checks, part.contents)):
                file.seek(start + 8 * (column * ids + written))
                file.write(hashes.tobytes())
            written += len(part.keys)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    sync_directory(path.parent)
    return digest.digest()


def open_run(path: Path, run_id: str, ids: int) -> IdRun:
    """Map a run. Raises Corrupt `id_run_damaged` when the file is not what was written."""
    header = len(_MAGIC) + 8
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(header)
    except OSError as error:
        raise Corrupt("id_run_damaged", f"{path.name}: {error.strerror}") from None
    if start != _MAGIC + np.uint64(ids).tobytes() or size != header + _COLUMNS * 8 * ids:
        raise Corrupt("id_run_damaged", f"{path.name} does not hold the {ids} ids that were written to it")
    columns = np.memmap(path, dtype="<u8", mode="r", offset=header, shape=(_COLUMNS, ids))
    return IdRun(run_id, columns[0], columns[1], columns[2])


def find(
    runs: Sequence[IdRun], keys: Hashes, checks: Hashes, order: Places | None = None
) -> tuple[Flags, Hashes]:
    """For each (key, check): whether it has been counted, and the content hash it was counted with.

    order: their places in the order of the keys, where that is known.
    """
    found = np.zeros(len(keys), dtype=np.bool_)
    contents = np.zeros(len(keys), dtype=np.uint64)
    if not runs:
        return found, contents
    # In key order the probes walk through each run once, which is what makes mapped files fast.
    if order is None:
        order = np.argsort(keys)
    sorted_keys, sorted_checks = keys[order], checks[order]
    for run in runs:
        places = np.searchsorted(run.keys, sorted_keys)
        probes = np.flatnonzero(run.keys[np.minimum(places, len(run) - 1)] == sorted_keys)
        while len(probes):
            entries = places[probes]
            confirmed = run.checks[entries] == sorted_checks[probes]
            hits = probes[confirmed]
            found[order[hits]] = True
            contents[order[hits]] = run.contents[entries[confirmed]]
            # Two different events may share a key: look at the next entry for those not confirmed.
            probes = probes[~confirmed]
            places[probes] += 1
            probes = probes[places[probes] < len(run)]
            probes = probes[run.keys[places[probes]] == sorted_keys[probes]]
    return found, contents


def runs_to_merge(sizes: Sequence[tuple[str, int]]) -> list[str]:
    """Which runs (id, number of ids) to merge now, or none: eight of one size class (powers of eight)."""
    classes: dict[int, list[str]] = {}
    for run_id, ids in sizes:
        if ids <= RUN_IDS_MERGED_MAX:
            classes.setdefault((max(ids, 1).bit_length() - 1) // 3, []).append(run_id)
    for _, members in sorted(classes.items()):
        if len(members) >= RUNS_MERGED_AT_ONCE:
            return members
    return []
