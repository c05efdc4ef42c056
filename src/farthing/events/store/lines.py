"""The lines of log blocks as columns for DuckDB, made of the bytes of the log themselves."""

import re
from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

LOADED_AT_ONCE_BYTES = 1024 * 1024
"""Smaller blocks are put together, so that each of DuckDB's threads finds enough to do in one go."""


def load_lines(
    cursor: duckdb.DuckDBPyConnection, payloads: Sequence[bytes], received_us: Sequence[int]
) -> int:
    """Make the lines of some blocks the table `lines (row, line, shifted, received_us)`. Returns how many there are.

    `shifted` is the line without the brace that closes it, behind the end of the line before: so both columns are
    the bytes of the log themselves, and what stands behind the name `data` in `shifted` is the event's data.
    """
    batches = []
    row = 0
    for place, text in _loaded_at_once(payloads):
        newlines = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
        try:
            line = _slices(text, newlines + 1)
            line.validate(full=True)
        except pa.ArrowInvalid:  # The door lets only UTF-8 in.
            text = _without_broken_bytes(text)
            line = _slices(text, newlines + 1)
        sizes = [len(payload) for payload in payloads[place]]
        lines_of_each = np.diff(np.searchsorted(newlines, np.cumsum(sizes)), prepend=0)
        batches.append(
            pa.record_batch(
                [
                    pa.array(np.arange(row, row + len(line), dtype=np.int64)),
                    line,
                    _slices(text, np.maximum(newlines - 1, 0)),
                    pa.array(np.repeat(np.asarray(received_us[place], dtype=np.int64), lines_of_each)),
                ],
                _LINES,
            )
        )
        row += len(line)
    # DuckDB scans batches in parallel.
    cursor.register("lines", pa.Table.from_batches(batches, _LINES))
    return row


def _loaded_at_once(payloads: Sequence[bytes]) -> Iterator[tuple[slice, bytes]]:
    """Blocks next to each other, put together so that none of the texts is very small."""
    first, size = 0, 0
    for place, payload in enumerate(payloads, start=1):
        size += len(payload)
        if size >= LOADED_AT_ONCE_BYTES or place == len(payloads):
            yield slice(first, place), b"".join(payloads[first:place])
            first, size = place, 0


def _slices(text: bytes, ends: npt.NDArray[np.int64]) -> pa.Array:
    """The pieces of a text up to each of these places, none of them copied."""
    offsets = np.zeros(len(ends) + 1, dtype=np.int32)
    offsets[1:] = ends
    return pa.Array.from_buffers(pa.utf8(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def _without_broken_bytes(text: bytes) -> bytes:
    """NUL for each byte that is not UTF-8, which makes its line no JSON, and so an event for quarantine."""
    return _BROKEN_BYTE.sub("\0", text.decode(errors="surrogateescape")).encode()


_BROKEN_BYTE = re.compile("[\udc80-\udcff]")
_LINES = pa.schema(
    [("row", pa.int64()), ("line", pa.utf8()), ("shifted", pa.utf8()), ("received_us", pa.int64())]
)
