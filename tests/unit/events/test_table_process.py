"""The process that reads tables: bombs take nothing from the door, what breaks the process breaks nobody else."""

import os
import signal
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from farthing.events.intake.formats import ARROW_STREAM, PARQUET
from farthing.events.intake.table_process import TableReader
from farthing.kernel.errors import FarthingError, InvalidInput, LimitExceeded

MEMORY_BYTES = 64 * 1024 * 1024
TABLE = pa.table({"id": ["1", "2"], "source": ["s", "s"], "type": ["t", None], "n": [1, 2]})


def stream(table: pa.Table, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(
        sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
    ) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pa_parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


@pytest.fixture
def reader() -> Iterator[TableReader]:
    reader = TableReader(MEMORY_BYTES)
    yield reader
    reader.close()


def refused(reader: TableReader, body: bytes, media_type: str) -> FarthingError:
    with pytest.raises(FarthingError) as caught:
        reader.read(body, media_type, "")
    return caught.value


def reads(reader: TableReader) -> None:
    for media_type, body in ((ARROW_STREAM, stream(TABLE, "zstd")), (PARQUET, parquet(TABLE))):
        batch = reader.read(body, media_type, "")
        assert batch.accepted == 1
        assert [(one.index, one.code) for one in batch.rejected] == [(1, "missing_attribute")]


def test_it_reads_one_table_after_another(reader: TableReader) -> None:
    reads(reader)
    reads(reader)


def test_errors_come_through_whole(reader: TableReader) -> None:
    table = pa.table({"type": ["t"], "x": [0.5], "y": [0.5]})
    error = refused(reader, stream(table), ARROW_STREAM)
    assert isinstance(error, InvalidInput)
    assert (error.code, [fault.path for fault in error.faults]) == ("float_column", ["x", "y"])


def test_a_page_that_unpacks_to_more_than_there_is(reader: TableReader) -> None:
    body = parquet(TABLE.slice(0, 1).append_column("x", pa.array(["0" * 300_000_000])))
    assert len(body) < 100_000
    assert refused(reader, body, PARQUET).code in ("table_too_large", "broken_table")
    reads(reader)


def test_a_buffer_that_claims_to_be_enormous(reader: TableReader) -> None:
    zeros = "0" * 1_000_000
    body = stream(TABLE.slice(0, 1).append_column("x", pa.array([zeros])), "zstd")
    claim = len(zeros).to_bytes(8, "little")
    assert body.count(claim) >= 1
    enormous = body.replace(claim, (2**40).to_bytes(8, "little"))
    assert refused(reader, enormous, ARROW_STREAM).code in ("table_too_large", "broken_table")
    reads(reader)


def test_one_that_takes_too_long() -> None:
    reader = TableReader(MEMORY_BYTES, seconds_max=0.0)
    error = refused(reader, stream(TABLE), ARROW_STREAM)
    assert (type(error), error.code) == (LimitExceeded, "table_too_large")


def test_a_reader_that_is_killed_is_replaced(reader: TableReader) -> None:
    reads(reader)
    assert reader.pid is not None
    os.kill(reader.pid, signal.SIGKILL)
    reads(reader)


def test_bytes_turned_at_random_break_nothing(reader: TableReader) -> None:
    good = {ARROW_STREAM: stream(TABLE), PARQUET: parquet(TABLE)}
    for media_type, body in good.items():
        for place in range(0, len(body), 9):
            turned = bytearray(body)
            turned[place] ^= 0xFF
            try:
                batch = reader.read(bytes(turned), media_type, "")
                assert batch.accepted + len(batch.rejected) <= 50_000
            except (InvalidInput, LimitExceeded):
                pass
    reads(reader)
