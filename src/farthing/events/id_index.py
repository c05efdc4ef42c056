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
from collections.abc import Sequence
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
"""Runs larger than this are left as they are, which bounds the memory of a merge."""

_MAGIC: Final = b"FARTHIDS2\0\0\0\0\0\0\0"
_COLUMNS: Final = 3

Hashes = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]


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
    order = np.argsort(identities.keys)
    digest = hashlib.blake2b(digest_size=16)
    make_directory(path.parent)
    columns = (identities.keys, identities.checks, identities.contents)
    with open(path, "xb") as file:
        for part in (
            _MAGIC,
            np.uint64(len(order)).tobytes(),
            *(column[order].tobytes() for column in columns),
        ):
            file.write(part)
            digest.update(part)
        file.flush()
        os.fsync(file.fileno())
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


def find(runs: Sequence[IdRun], keys: Hashes, checks: Hashes) -> tuple[Flags, Hashes]:
    """For each (key, check): whether it has been counted, and the content hash it was counted with."""
    found = np.zeros(len(keys), dtype=np.bool_)
    contents = np.zeros(len(keys), dtype=np.uint64)
    # In key order the probes walk through each run once, which is what makes mapped files fast.
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


def merged(runs: Sequence[IdRun]) -> Identities:
    """The entries of several runs together."""
    return Identities(
        np.concatenate([run.keys for run in runs]),
        np.concatenate([run.checks for run in runs]),
        np.concatenate([run.contents for run in runs]),
    )
