"""Lines of events to canonical lines by the compiled functions; what is odd among them goes the general way."""

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from farthing.events.model import EVENT_BYTES_MAX, ParsedBatch, Rejected
from farthing.events.scanning.loading import Scanning

_ADDED_BYTES_MAX = 100
"""What a canonical line may have more than the line that it is of; lines that come so close to the bound are odd."""
_BYTES_A_RUN = 64
"""Texts with more runs of odd lines than one in so many bytes go the general way from there on."""


def scanned_lines(scanning: Scanning, chunk: bytes, general: Callable[[bytes], ParsedBatch]) -> ParsedBatch:
    """What `general` makes of NDJSON, most of it made by compiled functions."""
    last_begin = chunk.rfind(b"\n", 0, max(len(chunk) - len(scanning.padding), 0)) + 1
    out = _scratch(3 * len(chunk) + len(scanning.padding))
    odd = np.empty((len(chunk) // _BYTES_A_RUN + 1, 4), dtype=np.int64)
    events, written, runs = scanning.canonical_lines(
        np.frombuffer(chunk, dtype=np.uint8),
        scanning.padded(chunk[last_begin:]),
        last_begin,
        EVENT_BYTES_MAX - _ADDED_BYTES_MAX,
        scanning.room_for(0),
        out,
        odd,
    )
    lines = out[:written].tobytes()
    if not runs:
        return ParsedBatch(lines, events, ())
    parts: list[bytes] = []
    rejected: list[Rejected] = []
    copied = taken = 0  # bytes of `lines`; events of odd runs that were taken
    for begin, end, at, before in odd[:runs].tolist():
        batch = general(chunk[begin:end])
        parts += (lines[copied:at], batch.lines)
        copied = at
        place = before + taken + len(rejected)
        rejected += [replace(one, index=place + one.index) for one in batch.rejected]
        taken += batch.accepted
    return ParsedBatch(b"".join((*parts, lines[copied:])), events + taken, tuple(rejected))


_SCRATCH_BYTES_MAX = 16 * 1024 * 1024
_kept = threading.local()


def _scratch(size_bytes: int) -> npt.NDArray[np.uint8]:
    """Memory of this thread's, used over and over: to get it anew each time takes as long as what is done with it."""
    kept: npt.NDArray[np.uint8] | None = getattr(_kept, "scratch", None)
    if kept is None or len(kept) < size_bytes:
        kept = np.empty(size_bytes, dtype=np.uint8)
        if size_bytes <= _SCRATCH_BYTES_MAX:
            _kept.scratch = kept
    return kept
