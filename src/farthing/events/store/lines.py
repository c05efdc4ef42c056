"""The lines of log blocks as columns for DuckDB, made of the bytes of the log themselves."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from farthing.events.scanning.loading import Scanning
from farthing.events.sealing.typed_columns import TypedColumns
from farthing.events.store.plain_lines import PlainLines, Wanted

LOADED_AT_ONCE_BYTES = 1024 * 1024
"""Smaller blocks are put together, so that each of DuckDB's threads finds enough to do in one go."""


def load_lines(
    cursor: duckdb.DuckDBPyConnection,
    payloads: Sequence[bytes],
    received_us: Sequence[int],
    columns: TypedColumns,
    scanning: Scanning | None,
) -> PlainLines | None:
    """Make the lines of some blocks the table `lines (row, line, shifted, received_us)`.

    `shifted` is the line without the brace that closes it, behind the end of the line before: so both columns are
    the bytes of the log themselves, and what stands behind the name `data` in `shifted` is the event's data.

    Those of them that are still to be read are the table `unread` as well; what was read is the table `plain`, see
    `Wanted`, and is given back.
    """
    wanted = Wanted.of(columns)
    # Memory that is asked for anew costs the system as much as finding the newlines does.
    room = np.empty(LOADED_AT_ONCE_BYTES + max(map(len, payloads), default=0), dtype=np.bool_)
    every = (
        _lines_of(text, received_us[place], payloads[place], room)
        for place, text in _loaded_at_once(payloads)
    )
    loaded = [one for one in every if len(one)]
    lines = [
        pa.record_batch(one.columns(row), _LINES) for one, row in zip(loaded, _firsts(loaded), strict=True)
    ]
    unread, read = lines, None
    if scanning is not None and loaded:
        longest = max(int(np.diff(one.begins).max()) for one in loaded)
        read = PlainLines(scanning, wanted, sum(len(one) for one in loaded), longest)
        odd = [read.add(one.text, one.begins, row) for one, row in zip(loaded, _firsts(loaded), strict=True)]
        unread = [
            batch.take(pa.array(places)) for batch, places in zip(lines, odd, strict=True) if len(places)
        ]
        read.received(np.concatenate([one.received_us for one in loaded]))
    # DuckDB scans batches in parallel.
    cursor.register("lines", pa.Table.from_batches(lines, _LINES))
    cursor.register("unread", pa.Table.from_batches(unread, _LINES))
    cursor.register("plain", wanted.schema().empty_table() if read is None else read.table())
    return read


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Some lines. begins: where each of them begins, and behind them where the last one ends. received_us: of each."""

    text: bytes
    begins: npt.NDArray[np.int64]
    line: pa.Array
    received_us: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.line)

    def columns(self, first: int) -> list[pa.Array]:
        """The columns of `lines`; first: the number of the first of them."""
        numbers = np.arange(first, first + len(self), dtype=np.int64)
        shifted = _slices(self.text, np.maximum(self.begins[1:] - 2, 0))
        return [pa.array(numbers), self.line, shifted, pa.array(self.received_us)]


def _firsts(loaded: Sequence[_Loaded]) -> list[int]:
    """The number of the first line of each."""
    return [0, *accumulate(len(one) for one in loaded)][:-1]


def _lines_of(
    text: bytes, received_us: Sequence[int], payloads: Sequence[bytes], room: npt.NDArray[np.bool_]
) -> _Loaded:
    """The lines of a text that is put together of some payloads. room: as many flags as it has bytes, or more."""
    newlines = np.flatnonzero(np.equal(np.frombuffer(text, dtype=np.uint8), ord("\n"), out=room[: len(text)]))
    try:
        line = _slices(text, newlines + 1)
        line.validate(full=True)
    except pa.ArrowInvalid:  # The door lets only UTF-8 in.
        text = _without_broken_bytes(text)
        line = _slices(text, newlines + 1)
    lines_of_each = np.diff(
        np.searchsorted(newlines, np.cumsum([len(payload) for payload in payloads])), prepend=0
    )
    received = np.repeat(np.asarray(received_us, dtype=np.int64), lines_of_each)
    return _Loaded(text, np.concatenate(([0], newlines + 1)), line, received)


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
