"""Machine code for reading lines, from the moment it is there.

To import the compiler takes half a second, and to compile everything, once for an installation, about ten. Nobody waits
for that who does not want to: it is done beside, once much has been read, and until then, and of small texts, lines are
read the general way.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

LOADED_AFTER_BYTES = 128 * 1024 * 1024
"""Who reads as much gets back what it takes to load the code, and more."""
SCANNED_FROM_BYTES = 2048
"""Of shorter texts, what goes on around the code takes longer than what it saves."""
TEXTS = 5
"""Columns of text that `plain_fields` makes beside the wanted ones: id, source, type, subject and data."""


class Columns(NamedTuple):
    """Events as columns, row by row.

    views, present: [TEXTS and wanted columns, row], a view of each text (Arrow), two numbers each, and whether there is
        one.
    wholes, is_whole: [wanted columns of numbers, row], a number that is whole, and whether it is.
    own_us, has_own: when the event says it was, if it does.
    hashes: [4, row], of identity the last eight bytes and the first, then of content. taken: the number of the line.
    """

    views: Numbers
    present: Bytes
    wholes: Numbers
    is_whole: Bytes
    own_us: Numbers
    has_own: Bytes
    hashes: Numbers
    taken: Numbers

    @classmethod
    def of(cls, wanted: int, numbers: int, rows: int) -> "Columns":
        """Room for so many rows, of which the first `numbers` of the wanted columns are numbers."""
        return cls(
            np.empty((TEXTS + wanted, 2 * rows), dtype=np.int64),
            np.empty((TEXTS + wanted, rows), dtype=np.uint8),
            np.empty((numbers, rows), dtype=np.int64),
            np.empty((numbers, rows), dtype=np.uint8),
            np.empty(rows, dtype=np.int64),
            np.empty(rows, dtype=np.uint8),
            np.empty((4, rows), dtype=np.int64),
            np.empty(rows, dtype=np.int64),
        )


@dataclass(frozen=True, slots=True)
class Scanning:
    """The two functions and what they need room for, see `event_lines.py` and `fields.py`; and `padding`."""

    canonical_lines: Callable[..., tuple[int, int, int]]
    plain_fields: Callable[..., tuple[int, int]]
    room_for: Callable[[int], Numbers]
    lanes_for: Callable[[int], Bytes]
    padding: bytes

    def padded(self, text: bytes | memoryview) -> Bytes:
        """A text, as the end of another, that can be looked at eight bytes at a time."""
        return np.frombuffer(b"".join((text, self.padding)), dtype=np.uint8)


class _Loading:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.scanning: Scanning | None = None
        self.read_bytes = 0

    def begin(self) -> threading.Thread:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="load-scanning", daemon=True)
                self._thread.start()
            return self._thread

    def _run(self) -> None:
        from farthing.events.scanning import compiled, event_lines, fields

        try:
            event_lines.compile_now()
            fields.compile_now()
        except Exception:  # What was kept may be damaged: the next process makes it anew.
            compiled.forget()
            raise
        self.scanning = Scanning(
            event_lines.canonical_lines,
            fields.plain_fields,
            event_lines.room_for,
            fields.lanes_for,
            compiled.PADDING,
        )


_loading = _Loading()


def scanning_of(size_bytes: int) -> Scanning | None:
    """The code, for a text of this size. None: it is not there, or not worth while."""
    if _loading.scanning is None:
        _loading.read_bytes += size_bytes
        if _loading.read_bytes >= LOADED_AFTER_BYTES:
            _loading.begin()
        return None
    return _loading.scanning if size_bytes >= SCANNED_FROM_BYTES else None


def begin_loading() -> None:
    """Load the code beside, for somebody who knows that much will be read."""
    _loading.begin()


def load_scanning() -> Scanning | None:
    """Wait for the code. None: it cannot be loaded; why was said on standard error."""
    _loading.begin().join()
    return _loading.scanning
