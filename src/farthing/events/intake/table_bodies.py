"""Arrow and Parquet bodies as canonical event lines, within bounds.

A few bytes of such a body can claim to be gigabytes (a page that unpacks to zeros, one long text said by
every row), and their libraries believe what they read. So a body is read in a process of its own
(`table_process.py`), which has little memory to give and not long to live.
"""

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from farthing.events.intake.formats import (
    ARROW_STREAM,
    BODY_BYTES_MAX,
    EVENTS_PER_REQUEST_MAX,
    PARQUET,
    decompress,
    parse_lines,
)
from farthing.events.intake.tables import check_columns_of_events, lines_of_table
from farthing.events.model import ParsedBatch, Rejected
from farthing.kernel.errors import InvalidInput, LimitExceeded

_ROWS_AT_ONCE = 8192
_THRIFT_BYTES_MAX = 4 * 1024 * 1024


def parse_table(body: bytes, media_type: str, content_encoding: str) -> ParsedBatch:
    """A table as events, one for each row; rows that are none are named with their index.

    Raises:
        InvalidInput: `broken_table`, what `check_columns_of_events` refuses, what `decompress` refuses.
        LimitExceeded: `too_many_events`, `body_too_large`, `table_too_large`.
    """
    plain = decompress(body, content_encoding)
    lines: list[bytes] = []
    rejected: list[Rejected] = []
    accepted, left = 0, BODY_BYTES_MAX
    try:
        for batch in _batches(plain, media_type):
            text = lines_of_table(batch, left)
            left -= len(text)
            parsed = parse_lines(text)
            before = accepted + len(rejected)
            rejected += [replace(one, index=before + one.index) for one in parsed.rejected]
            lines.append(parsed.lines)
            accepted += parsed.accepted
    except (MemoryError, pa.ArrowMemoryError):
        raise LimitExceeded(
            "table_too_large", "the table takes more memory than a request may have"
        ) from None
    except (pa.ArrowException, OSError, KeyError, IndexError, ValueError) as error:
        raise InvalidInput("broken_table", f"the body is not a table: {str(error)[:200]}") from None
    return ParsedBatch(b"".join(lines), accepted, tuple(rejected))


def _batches(plain: bytes, media_type: str) -> Iterator[pa.RecordBatch]:
    """The rows in batches, whole and checked: what Arrow reads is not validated by itself."""
    source = pa.BufferReader(plain)
    if media_type == PARQUET:
        file = _parquet(source)
        check_columns_of_events(file.schema_arrow, source_needed=True)
        _check_rows(file.metadata.num_rows)
        batches: Iterator[pa.RecordBatch] = file.iter_batches(batch_size=_ROWS_AT_ONCE, use_threads=False)
    else:
        batches = _arrow(source, media_type)
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        _check_rows(rows)
        batch.validate(full=True)
        yield batch


def _arrow(source: pa.BufferReader, media_type: str) -> Iterator[pa.RecordBatch]:
    if media_type == ARROW_STREAM:
        stream = pa.ipc.open_stream(source)
        check_columns_of_events(stream.schema, source_needed=True)
        yield from stream
    else:
        file = pa.ipc.open_file(source)
        check_columns_of_events(file.schema, source_needed=True)
        if file.num_record_batches > EVENTS_PER_REQUEST_MAX:
            _check_rows(file.num_record_batches)
        for number in range(file.num_record_batches):
            yield file.get_batch(number)


def _parquet(source: pa.BufferReader) -> pa_parquet.ParquetFile:
    limits = {"thrift_string_size_limit": _THRIFT_BYTES_MAX, "thrift_container_size_limit": _THRIFT_BYTES_MAX}
    schema = pa_parquet.ParquetFile(source, **limits).metadata.schema
    # Texts that repeat are left as they are stored, and so are counted before they are written out.
    texts = [
        schema.column(place).path
        for place in range(len(schema))
        if schema.column(place).physical_type == "BYTE_ARRAY"
    ]
    source.seek(0)
    return pa_parquet.ParquetFile(source, read_dictionary=texts, **limits)


def _check_rows(rows: int) -> None:
    if rows > EVENTS_PER_REQUEST_MAX:
        raise LimitExceeded("too_many_events", f"more than {EVENTS_PER_REQUEST_MAX} rows in one request")
