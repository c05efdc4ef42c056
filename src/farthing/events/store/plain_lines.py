"""Lines of the log as columns by compiled functions: what DuckDB would make of them, of those that are as usual."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from farthing.events.ids.deduplicate import Outcome
from farthing.events.scanning.loading import TEXTS, Columns, Scanning
from farthing.events.sealing.typed_columns import TypedColumns

Numbers = npt.NDArray[np.int64]
Outcomes = npt.NDArray[np.uint8]

_ENVELOPE = (
    ("id", pa.string_view()),
    ("source", pa.string_view()),
    ("type", pa.string_view()),
    ("subject", pa.string_view()),
    ("data", pa.string_view()),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What meters want of `data`, as the compiled functions take it.

    names: of all wanted members and of the objects that these stand in, each once, one behind the other.
    tree: see `scanning/json_text.py`. nodes: the member of each wanted column, numbers before texts.
    """

    columns: TypedColumns
    names: npt.NDArray[np.uint8]
    tree: Numbers
    nodes: Numbers

    @classmethod
    def of(cls, columns: TypedColumns) -> "Wanted":
        """The members that these columns are taken from."""
        members: dict[tuple[str, ...], int] = {(): 0}
        nodes = []
        for path in (*columns.numbers, *columns.texts):
            names = tuple(path.split(".")[1:])
            for depth in range(1, len(names) + 1):
                members.setdefault(names[:depth], len(members))
            nodes.append(members[names])
        spelt = [names[-1].encode() for names in members if names]
        text = np.frombuffer(b"".join(spelt) or b"\0", dtype=np.uint8)
        begins = np.cumsum([0, *map(len, spelt)]) + text.ctypes.data
        tree = [len(spelt)]
        for names, begin, name in zip(list(members)[1:], begins.tolist(), spelt, strict=False):
            tree += (members[names[:-1]], begin, len(name))
        return cls(columns, text, np.array(tree, dtype=np.int64), np.array(nodes, dtype=np.int64))

    def schema(self) -> pa.Schema:
        """The columns of `PlainLines`."""
        return pa.schema(
            [
                ("row", pa.int64()),
                ("received_us", pa.int64()),
                ("own_us", pa.int64()),
                *((name, pa.uint64()) for name in ("key", "check_bits", "content")),
                *_ENVELOPE,
                *((f"whole_{place}", pa.int64()) for place in range(len(self.columns.numbers))),
                *((f"text_{place}", pa.string_view()) for place in range(len(self.nodes))),
            ]
        )


class PlainLines:
    """The usual events among the lines of some texts, as columns. The texts are kept as they are: columns are views of
    them."""

    def __init__(self, scanning: Scanning, wanted: Wanted, lines: int, line_bytes_max: int) -> None:
        """lines: of all texts at most; line_bytes_max: of the longest of them."""
        self._scanning, self._wanted = scanning, wanted
        self._numbers = len(wanted.columns.numbers)
        self._columns = Columns.of(len(wanted.nodes), self._numbers, lines)
        self._room, self._lanes = scanning.room_for(int(wanted.tree[0])), scanning.lanes_for(line_bytes_max)
        self._texts: list[bytes] = []
        self._rows = 0
        self._received_us: Numbers = np.zeros(0, dtype=np.int64)

    def add(self, text: bytes, begins: Numbers, first_line: int) -> Numbers:
        """Read the lines of a text; the places of those that are still to be read.

        begins: where each line begins, and behind them where the last one ends. first_line: the number of the first.
        """
        odd = np.empty(len(begins) - 1, dtype=np.int64)
        behind = np.searchsorted(begins, len(text) - len(self._scanning.padding), side="right")
        last = max(int(behind) - 1, 0)
        self._rows, odd_ones = self._scanning.plain_fields(
            np.frombuffer(text, dtype=np.uint8),
            self._scanning.padded(text[begins[last] :]),
            last,
            len(self._texts),
            begins,
            first_line,
            self._wanted.tree,
            self._wanted.nodes,
            self._numbers,
            self._room,
            self._lanes,
            self._rows,
            self._columns,
            odd,
        )
        self._texts.append(text)
        return odd[:odd_ones]

    def received(self, received_us: Numbers) -> None:
        """Say when each line of all texts was received."""
        self._received_us = received_us[self._columns.taken[: self._rows]]

    def __len__(self) -> int:
        return self._rows

    def table(self) -> pa.Table:
        """The columns, see `Wanted.schema`."""
        made, rows = self._columns, self._rows
        views = self._views(slice(rows))
        arrays = [
            pa.array(made.taken[:rows]),
            pa.array(self._received_us),
            _array(pa.int64(), made.has_own[:rows], made.own_us),
            *(pa.array(column[:rows].view(np.uint64)) for column in made.hashes[:3]),
            *views[:TEXTS],
            *(
                _array(pa.int64(), present[:rows], whole)
                for present, whole in zip(made.is_whole, made.wholes, strict=True)
            ),
            *views[TEXTS:],
        ]
        batch = pa.record_batch(arrays, self._wanted.schema())
        # DuckDB scans batches in parallel.
        return pa.Table.from_batches(
            [batch.slice(begin, ROWS_AT_ONCE) for begin in range(0, rows, ROWS_AT_ONCE)], batch.schema
        )

    def hashes_into(self, hashes: npt.NDArray[np.uint64]) -> None:
        """Put what the events are known by into a table [key, check and content, line]."""
        made = self._columns
        hashes[:, made.taken[: self._rows]] = made.hashes[:3, : self._rows].view(np.uint64)

    def with_fractions(self, outcomes: Outcomes) -> set[str]:
        """Those of the numbers that some rows that count have with a fraction. outcomes: of every line."""
        made, rows = self._columns, self._counted(outcomes)
        pairs = zip(made.is_whole, made.present[TEXTS:], strict=False)
        return {
            path
            for path, (whole, present) in zip(self._wanted.columns.numbers, pairs, strict=True)
            if not np.array_equal(_taken(whole[: self._rows], rows), _taken(present[: self._rows], rows))
        }

    def segment(self, outcomes: Outcomes, fractions: Collection[str]) -> pa.Table:
        """The rows that count, as a segment has them. outcomes: of every line. fractions: numbers that are not all
        whole."""
        made, columns = self._columns, self._wanted.columns
        rows = self._counted(outcomes)
        id_, source, type_, subject, data, *wanted = self._views(rows)
        has_own, received_us = _taken(made.has_own[: self._rows], rows), _taken(self._received_us, rows)
        time_us = np.where(has_own.view(np.bool_), _taken(made.own_us[: self._rows], rows), received_us)
        every = np.ones(len(time_us), dtype=np.uint8)
        numbers = [
            _exact(spelt)
            if path in fractions
            else _array(
                pa.decimal64(WHOLE_DIGITS),
                _taken(present[: self._rows], rows),
                _taken(whole[: self._rows], rows),
            )
            for path, spelt, present, whole in zip(
                columns.numbers, wanted, made.is_whole, made.wholes, strict=False
            )
        ]
        arrays = {
            "source": source,
            "id": id_,
            "type": type_,
            "subject": subject,
            "time": _array(pa.timestamp("us"), every, time_us),
            "own_time": _array(pa.bool_(), every, np.packbits(has_own, bitorder="little")),
            "received_at": _array(pa.timestamp("us"), every, received_us),
            "data": data,
        }
        return pa.table(arrays | dict(zip(columns.names(), [*numbers, *wanted[len(numbers) :]], strict=True)))

    def _counted(self, outcomes: Outcomes) -> slice | npt.NDArray[np.bool_]:
        counted = outcomes[self._columns.taken[: self._rows]] == Outcome.COUNTED
        return slice(self._rows) if np.all(counted) else counted

    def _views(self, rows: slice | npt.NDArray[np.bool_]) -> list[pa.Array]:
        """Of these rows, the envelope and what is wanted as text."""
        texts = [pa.py_buffer(text) for text in self._texts]
        return [
            _array(
                pa.string_view(),
                _taken(present[: self._rows], rows),
                # Both halves of a view at once.
                _taken(view.view(np.complex128)[: self._rows], rows),
                *texts,
            )
            for present, view in zip(self._columns.present, self._columns.views, strict=True)
        ]


def _exact(spelt: pa.Array) -> pa.Array:
    """Numbers that may have a fraction, as they are spelt: at most 18 digits, 12 of them after the point."""
    return spelt.cast(pa.string()).cast(pa.decimal128(*EXACT_DIGITS))


def _taken(column: npt.NDArray[Any], rows: slice | npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    return column[rows]


ROWS_AT_ONCE = 16_384
WHOLE_DIGITS, EXACT_DIGITS = 18, (38, 12)
"""Of a number of a segment where all are whole, and where not (`meter_sql`)."""


def _array(kind: pa.DataType, present: npt.NDArray[np.uint8], *buffers: object) -> pa.Array:
    """An array of these bytes, with nothing where none is present."""
    bits = np.packbits(present, bitorder="little")
    return pa.Array.from_buffers(kind, len(present), [pa.py_buffer(bits), *map(pa.py_buffer, buffers)])
