"""Files as a stream of events: NDJSON, CSV and Parquet, plain, gzip or zstd.

Every reader yields `Piece`s: canonical lines, the lines that are no events with their place in the
file, and how far the file has been read, so that an import can go on where it was stopped.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
from isal import igzip

from farthing.events.doors.access_logs import AccessLog, fingerprint, read_line
from farthing.events.doors.translated import Untranslatable, as_batch
from farthing.events.intake.compression import ChunkStream, unzstd
from farthing.events.intake.formats import REJECTED_RAW_BYTES_MAX, count_lines, parse_lines, whole_lines
from farthing.events.intake.mapping import Mapping, check_columns
from farthing.events.intake.tables import check_columns_of_events, lines_of_table
from farthing.events.log.files import RefusedLine
from farthing.events.model import ParsedBatch
from farthing.events.store.duckdb import EventStore
from farthing.events.store.rows import event_lines
from farthing.kernel.errors import InvalidInput

CHUNK_BYTES = 4 * 1024 * 1024
"""Read of a file at once. A row of a CSV must fit into it."""
LINES_BYTES = 2 * 1024 * 1024
"""Lines are read by less: so little is on its way through the door that its memory is used over and over."""
HEADER_BYTES = 1024 * 1024
"""The longest header line of a CSV."""
ROWS_AT_ONCE = 32_768
TABLE_BYTES_MAX = 1024 * 1024 * 1024
"""So many rows of a Parquet file, as event lines."""

Numbers: TypeAlias = npt.NDArray[np.int64]
"""Where rows stand in their file, from 1, the header not included."""

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


def is_compressed(path: Path) -> bool:
    """Whether it is, by its suffix."""
    return path.suffix in _COMPRESSED


def guess_format(path: Path) -> str:
    """ndjson, csv or parquet, by the name."""
    suffix = Path(file_name(path)).suffix.lower()
    formats = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".ndjson": "ndjson", ".jsonl": "ndjson"}
    if suffix in formats or suffix == ".json":
        return formats.get(suffix, "ndjson")
    raise InvalidInput(
        "unknown_file_format",
        f"{path.name}: say --format ndjson, csv or parquet, or whose access log it is; the name does not tell",
        path=str(path),
    )


def read_ndjson(stream: IO[bytes], name: str, skip: int) -> Iterator[Piece]:
    """Event lines; `skip` is the number of bytes of text that an earlier run has taken."""
    position, number = 0, 0
    for chunk in whole_lines(_chunks(stream)):
        position += len(chunk)
        first, number = number, number + count_lines(chunk)
        if position <= skip:
            continue
        batch = parse_lines(chunk)
        places = _line_numbers(chunk, first) if batch.rejected else []
        refused = tuple(
            RefusedLine(f"{name}:{places[line.index]}", line.code, line.message, line.raw)
            for line in batch.rejected
        )
        yield Piece(batch.lines, batch.accepted, refused, position)


def read_access_log(
    stream: IO[bytes], name: str, log: AccessLog, skip: int, *, ends_whole: bool
) -> Iterator[Piece]:
    """Requests; `skip` is the number of bytes of text that an earlier run has taken.

    A last line without its newline is still being written, unless the text `ends_whole`.
    """
    position, number, file = 0, 0, ""
    for chunk in whole_lines(_chunks(stream)):
        translated, places = [], []
        for line in _lines(chunk):
            begin, position, number = position, position + len(line), number + 1
            if not line.strip():
                continue
            file = file or fingerprint(line)
            if begin < skip:
                continue
            if ends_whole or line.endswith(b"\n"):
                translated.append(read_line(line, log, file, begin))
            else:
                translated.append(
                    Untranslatable(
                        "unfinished_line", "the line has no end yet: read the log again", None, line
                    )
                )
            places.append(number)
        if not places:
            continue
        batch = as_batch(translated, {})
        refused = tuple(
            RefusedLine(f"{name}:{places[line.index]}", line.code, line.message, line.raw)
            for line in batch.rejected
        )
        yield Piece(batch.lines, batch.accepted, refused, position)


def _lines(chunk: bytes) -> Iterator[bytes]:
    """Lines with their ends, cut at newlines only."""
    start = 0
    while start < len(chunk):
        end = chunk.find(b"\n", start) + 1 or len(chunk)
        yield chunk[start:end]
        start = end


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(min(CHUNK_BYTES, LINES_BYTES)):
        yield chunk


def _line_numbers(chunk: bytes, first: int) -> list[int]:
    """The number in the file of each line that is not blank."""
    return [number for number, line in enumerate(chunk.split(b"\n"), start=first + 1) if line.strip()]


def read_csv(
    stream: IO[bytes], name: str, delimiter: str, mapping: Mapping, source: str, store: EventStore, skip: int
) -> Iterator[Piece]:
    """Rows of a CSV with a header line, mapped; `skip` is the number of rows that an earlier run has taken."""
    broken: dict[int, RefusedLine] = {}

    def note_broken(row: pa_csv.InvalidRow) -> str:
        number = row.number - 1  # The header is no row. (The number is known because one thread reads.)
        complaint = f"the row has {row.actual_columns} cells instead of {row.expected_columns}"
        broken[number] = _refused(name, number, "malformed_row", complaint, (row.text or "").encode())
        return "skip"

    read_to = 0
    try:
        for cells in _csv_batches(stream, delimiter, mapping, note_broken):
            # The reader looks ahead: some of the broken rows belong to a batch that is still to come.
            numbers = np.setdiff1d(np.arange(1, len(cells) + len(broken) + 1) + read_to, [*broken])
            numbers = numbers[: len(cells)]
            read_to = int(numbers[-1]) if len(numbers) else read_to
            refused = {number: broken.pop(number) for number in sorted(broken) if number < read_to}
            if read_to > skip:
                lines, unusable = _mapped(cells, numbers, name, mapping, source, store, skip)
                unusable += [line for number, line in refused.items() if number > skip]
                yield Piece(lines.lines, lines.accepted, tuple(unusable), read_to)
        if refused := {number: line for number, line in broken.items() if number > skip}:
            yield Piece(b"", 0, tuple(refused.values()), max(refused))
    except pa.ArrowInvalid as error:
        raise InvalidInput("broken_file", f"{name}, after row {read_to}: {error}") from None


def _csv_batches(
    stream: IO[bytes], delimiter: str, mapping: Mapping, note_broken: Callable[[pa_csv.InvalidRow], str]
) -> Iterator[pa.Table]:
    """The columns that the map takes (of a map that takes none, the first), as bytes."""
    # A first look at the header, because every column is wanted as it is written.
    head = stream.read(HEADER_BYTES)
    header = head.lstrip(b"\r\n").split(b"\n", 1)[0] + b"\n"
    parse = {"delimiter": delimiter, "newlines_in_values": True}
    names = pa_csv.read_csv(io.BytesIO(header), parse_options=pa_csv.ParseOptions(**parse)).column_names
    check_columns(mapping, names)
    columns = mapping.columns() or names[:1]
    reader = pa_csv.open_csv(
        ChunkStream(chain([head], _chunks(stream))),
        read_options=pa_csv.ReadOptions(block_size=CHUNK_BYTES, use_threads=False),
        parse_options=pa_csv.ParseOptions(**parse, invalid_row_handler=note_broken),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.binary()),
            include_columns=columns,
            strings_can_be_null=False,
        ),
    )
    for batch in reader:
        yield pa.Table.from_batches([batch])


def read_parquet(
    path: Path, name: str, mapping: Mapping | None, source: str, store: EventStore, skip: int
) -> Iterator[Piece]:
    """Rows of a Parquet file: mapped, or with the columns of an event (see `tables.py`)."""
    try:
        file = pa_parquet.ParquetFile(path)
        columns = None
        if mapping is None:
            _check_event_columns(file.schema_arrow)
        else:
            check_columns(mapping, file.schema_arrow.names)
            columns = mapping.columns() or None
        read_to = 0
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
            numbers = np.arange(1, batch.num_rows + 1) + read_to
            before, read_to = read_to, read_to + batch.num_rows
            if read_to <= skip:
                continue
            if mapping is None:
                wanted = batch.slice(max(skip - before, 0))
                lines, refused = _as_events(wanted, numbers[-wanted.num_rows :], name, source)
            else:
                cells = _as_text(pa.Table.from_batches([batch]), mapping.columns())
                lines, refused = _mapped(cells, numbers, name, mapping, source, store, skip)
            yield Piece(lines.lines, lines.accepted, tuple(refused), read_to)
    except pa.ArrowException as error:
        raise InvalidInput("broken_file", f"{name}: {error}") from None


def _check_event_columns(schema: pa.Schema) -> None:
    if "id" not in schema.names or "type" not in schema.names:
        raise InvalidInput(
            "missing_map", "the file has no columns id and type: say with --map where they come from"
        )
    check_columns_of_events(schema, source_needed=False)


def _as_events(
    batch: pa.RecordBatch, numbers: Numbers, name: str, source: str
) -> tuple[ParsedBatch, list[RefusedLine]]:
    """Rows that are events already, as canonical lines, and those that are none."""
    batch.validate(full=True)
    # A batch that was cut keeps what was cut off it; put together anew it does not.
    whole = pa.Table.from_batches([batch]).combine_chunks().to_batches()[0]
    parsed = parse_lines(lines_of_table(whole, TABLE_BYTES_MAX, source))
    refused = [
        _refused(name, int(numbers[line.index]), line.code, line.message, line.raw)
        for line in parsed.rejected
    ]
    return parsed, refused


def _as_text(cells: pa.Table, names: Sequence[str]) -> pa.Table:
    """These columns as text; times with their offset, NULL as an empty cell."""
    columns = {"": pa.array([""] * len(cells), pa.string())}  # A table without columns would have no rows.
    for name in names:
        column = cells.column(name)
        if pa.types.is_floating(column.type):
            raise InvalidInput(
                "float_column",
                f"{name}: binary floats are not exact; store the column as decimal, int or text",
            )
        if pa.types.is_decimal(column.type):  # Arrow would write small ones with an exponent.
            spelt = (None if number is None else f"{number:f}" for number in column.to_pylist())
            column = pa.array(spelt, pa.string())
        if pa.types.is_timestamp(column.type):  # Digits beyond microseconds are dropped.
            column = column.cast(pa.timestamp("us", "UTC"), safe=False)
        columns[name] = column.cast(pa.string()).fill_null("")
    return pa.table(columns)


def _mapped(
    cells: pa.Table, numbers: Numbers, name: str, mapping: Mapping, source: str, store: EventStore, skip: int
) -> tuple[ParsedBatch, list[RefusedLine]]:
    """The rows numbered behind `skip` as canonical lines, and those that cannot be."""
    wanted = numbers > skip
    cells, numbers = cells.filter(pa.array(wanted)), numbers[wanted]
    unreadable = _rows_that_are_no_text(cells)
    refused = [
        _refused(name, int(numbers[row]), "invalid_utf8", "the row is not UTF-8", raw)
        for row, raw in unreadable.items()
    ]
    if unreadable:
        readable = np.isin(np.arange(len(numbers)), [*unreadable], invert=True)
        cells, numbers = cells.filter(pa.array(readable)), numbers[readable]
    texts = pa.schema([(column, pa.string()) for column in cells.column_names])
    batch = parse_lines(event_lines(store, cells.cast(texts), pa.array(numbers), mapping, name, source))
    refused += [
        _refused(name, int(numbers[line.index]), line.code, line.message, line.raw) for line in batch.rejected
    ]
    return batch, refused


def _rows_that_are_no_text(cells: pa.Table) -> dict[int, bytes]:
    """The rows of a CSV with bytes that are not UTF-8, and what stands in them."""
    try:
        for column in cells.columns:
            column.cast(pa.string())
    except pa.ArrowInvalid:
        rows = zip(*(column.to_pylist() for column in cells.columns), strict=True)
        joined = {row: b",".join(values) for row, values in enumerate(rows)}
        return {row: raw for row, raw in joined.items() if not _is_utf8(raw)}
    return {}


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refused(name: str, number: int, code: str, message: str, raw: bytes) -> RefusedLine:
    return RefusedLine(f"{name}#{number}", code, message, raw[:REJECTED_RAW_BYTES_MAX])


def decompressed(raw: IO[bytes], path: Path, leaving: ExitStack) -> IO[bytes]:
    """A file's text, whatever it is compressed with (by its suffix)."""
    if path.suffix == ".gz":
        unpacked = igzip.IGzipFile(fileobj=raw)  # type: ignore[no-untyped-call]
        return cast(IO[bytes], leaving.enter_context(unpacked))
    if path.suffix == ".zst":
        return cast(IO[bytes], ChunkStream(unzstd(_chunks(raw))))
    return raw
