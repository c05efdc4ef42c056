"""Files as a stream of events: NDJSON, CSV and Parquet, plain, gzip or zstd.

Every reader yields `Piece`s: canonical lines, the lines that are no events with their place in the
file, and how far the file has been read, so that an import can go on where it was stopped.
"""

import gzip
import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import zstandard

from farthing.events.formats import parse_lines, whole_lines
from farthing.events.log.files import RefusedLine
from farthing.events.mapping import Mapping, Taken, check_columns
from farthing.events.store.duckdb import EventStore
from farthing.events.store.rows import event_lines
from farthing.kernel.errors import InvalidInput

CHUNK_BYTES = 4 * 1024 * 1024
ROWS_AT_ONCE = 32_768

_COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some events of a file, in order.

    read_to: how far the file is read after this piece: bytes of text for NDJSON, rows for tables.
    """

    lines: bytes
    events: int
    refused: tuple[RefusedLine, ...]
    read_to: int


def file_name(path: Path) -> str:
    """The name a file goes by in event ids and sources: without its compression suffix."""
    return path.stem if path.suffix in _COMPRESSED else path.name


def guess_format(path: Path) -> str:
    """ndjson, csv or parquet, by the name."""
    suffix = Path(file_name(path)).suffix.lower()
    formats = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".ndjson": "ndjson", ".jsonl": "ndjson"}
    if suffix in formats or suffix == ".json":
        return formats.get(suffix, "ndjson")
    raise InvalidInput(
        "unknown_file_format",
        f"{path.name}: say --format ndjson, csv or parquet; the name does not tell",
        path=str(path),
    )


def read_ndjson(stream: IO[bytes], name: str, skip: int) -> Iterator[Piece]:
    """Event lines; `skip` is the number of bytes of text that an earlier run has taken."""
    position, number = 0, 0
    for chunk in whole_lines(_chunks(stream)):
        position += len(chunk)
        first, number = number, number + chunk.count(b"\n")
        if position <= skip:
            continue
        batch = parse_lines(chunk)
        places = _line_numbers(chunk, first) if batch.rejected else []
        refused = tuple(
            RefusedLine(f"{name}:{places[line.index]}", line.code, line.message, line.raw)
            for line in batch.rejected
        )
        yield Piece(batch.lines, batch.accepted, refused, position)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


def _line_numbers(chunk: bytes, first: int) -> list[int]:
    """The number in the file of each line that is not blank."""
    return [number for number, line in enumerate(chunk.split(b"\n"), start=first + 1) if line.strip()]


def read_csv(
    stream: IO[bytes], name: str, delimiter: str, mapping: Mapping, source: str, store: EventStore, skip: int
) -> Iterator[Piece]:
    """Rows of a CSV with a header line, mapped; `skip` is the number of rows that an earlier run has taken."""
    broken: list[RefusedLine] = []

    def note_broken(row: pa_csv.InvalidRow) -> str:
        place = f"{name}, after row {rows}" if row.number is None else f"{name}:{row.number}"
        complaint = f"the row has {row.actual_columns} cells instead of {row.expected_columns}"
        broken.append(RefusedLine(place, "malformed_row", complaint, (row.text or "").encode()))
        return "skip"

    rows = 0
    try:
        # A first look at the header, because every column is wanted as text.
        head = stream.read(1 << 20)
        names = pa_csv.read_csv(
            io.BytesIO(head.split(b"\n", 1)[0] + b"\n"),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter),
        ).column_names
        check_columns(mapping, names)
        reader = pa_csv.open_csv(
            _Rejoined(head, stream),
            read_options=pa_csv.ReadOptions(block_size=CHUNK_BYTES, use_threads=False),
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note_broken
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
        for batch in reader:
            first, rows = rows, rows + batch.num_rows
            if rows > skip:
                taken = batch.slice(max(0, skip - first))
                piece = _mapped(
                    pa.Table.from_batches([taken]), max(first, skip), name, mapping, source, store
                )
                yield Piece(piece.lines, piece.events, (*broken, *piece.refused), rows)
            broken.clear()
        if broken:
            yield Piece(b"", 0, tuple(broken), rows)
    except pa.ArrowInvalid as error:
        raise InvalidInput("broken_file", f"{name}, after row {rows}: {error}") from None


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were looked at already."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._rest.read(size)
        part = self._head if size < 0 else self._head[:size]
        self._head = self._head[len(part) :]
        return bytes(part)


def read_parquet(
    path: Path, name: str, mapping: Mapping | None, source: str, store: EventStore, skip: int
) -> Iterator[Piece]:
    """Rows of a Parquet file: mapped, or with the columns of an event (id, type, subject, time, source, data)."""
    try:
        file = pa_parquet.ParquetFile(path)
        names = file.schema_arrow.names
        if mapping is None:
            mapping = _event_columns(file.schema_arrow)
        check_columns(mapping, names)
        rows = 0
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
            first, rows = rows, rows + batch.num_rows
            if rows <= skip:
                continue
            cells = _as_text(pa.Table.from_batches([batch]))
            yield _mapped(cells.slice(max(0, skip - first)), max(first, skip), name, mapping, source, store)
    except pa.ArrowException as error:
        raise InvalidInput("broken_file", f"{name}: {error}") from None


def _event_columns(schema: pa.Schema) -> Mapping:
    """The map of a file whose columns are named like an event's attributes; others belong to `data`."""
    if "data" in schema.names:
        raise InvalidInput(
            "unsupported_column",
            "data must be given as columns of their own (--map data.tokens=tokens), not as one",
        )
    if "id" not in schema.names or "type" not in schema.names:
        raise InvalidInput(
            "missing_map", "the file has no columns id and type: say with --map where they come from"
        )
    attributes = ("id", "source", "type", "subject", "time")
    return Mapping(
        {name if name in attributes else f"data.{name}": Taken(column=name) for name in schema.names}
    )


def _as_text(cells: pa.Table) -> pa.Table:
    """Every column as text; times with their offset, NULL as an empty cell."""
    columns = []
    for column in cells.columns:
        if pa.types.is_floating(column.type):
            raise InvalidInput(
                "float_column", "binary floats are not exact: store the column as decimal, int or text"
            )
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", "UTC"))
        columns.append(column.cast(pa.string()).fill_null(""))
    return pa.table(dict(zip(cells.column_names, columns, strict=True)))


def _mapped(
    cells: pa.Table, first_row: int, name: str, mapping: Mapping, source: str, store: EventStore
) -> Piece:
    """The rows as canonical lines. Row numbers count from 1, the header not included."""
    numbers = pa.array(range(first_row + 1, first_row + 1 + cells.num_rows), pa.int64())
    lines = event_lines(store, cells.append_column("row_number", numbers), mapping, name, source)
    batch = parse_lines("".join(lines).encode())
    refused = tuple(
        RefusedLine(f"{name}#{first_row + 1 + line.index}", line.code, line.message, line.raw)
        for line in batch.rejected
    )
    return Piece(batch.lines, batch.accepted, refused, first_row + cells.num_rows)


def decompressed(raw: IO[bytes], path: Path, leaving: ExitStack) -> IO[bytes]:
    """A file's text, whatever it is compressed with (by its suffix)."""
    if path.suffix == ".gz":
        return cast(IO[bytes], leaving.enter_context(gzip.GzipFile(fileobj=raw)))
    if path.suffix == ".zst":
        return leaving.enter_context(zstandard.ZstdDecompressor().stream_reader(raw))
    return raw
