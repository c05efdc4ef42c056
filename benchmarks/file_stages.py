"""Where the processor time of a file goes: each stage from the file to its segment by itself, in one thread.

Nothing of an import runs beside another here, so the sum is less than what an import takes. Baseline are the same
stages where lines are read the general way, without the compiled functions.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.bench import Bench
from benchmarks.measuring import require_equal, series
from benchmarks.report import Row
from benchmarks.workload import Expected, meters
from farthing.catalog.meter import parse_meter
from farthing.events.ids.deduplicate import counted_in_order, deduplicate
from farthing.events.ids.filter import id_filter
from farthing.events.ids.index import Identities, in_key_order, write_run
from farthing.events.intake import files, formats
from farthing.events.intake.scanned import scanned_lines
from farthing.events.log.files import Block, BlockHeader, encode_block, read_blocks
from farthing.events.scanning.loading import Scanning, load_scanning
from farthing.events.sealing.sealer import BATCH_BYTES_MAX
from farthing.events.sealing.typed_columns import wanted_columns
from farthing.events.store import duckdb as columns
from farthing.events.store.decoding import decode
from farthing.events.store.duckdb import EventStore, Lateness
from farthing.events.store.identities import identities
from farthing.events.store.lines import load_lines
from farthing.events.store.plain_lines import PlainLines

ABOUT = (
    "Stages: processor time of one thread, the stages one after the other. Baseline: the same where lines are read "
    "the general way, by msgspec at the door and by DuckDB in the sealer."
)
_DOOR, _LOG, _DECODE, _IDS, _SEGMENT = (
    "door",
    "log: write, read back",
    "lines as columns",
    "identities",
    "segment",
)
_STAGES = (_DOOR, _LOG, _DECODE, _IDS, _SEGMENT)
_ALL_TIMES = Lateness(10**10, 10**10)

_Made = TypeVar("_Made")


class _Stages:
    """One pass over a file. Seconds by stage."""

    def __init__(self, bench: Bench, scanning: Scanning | None) -> None:
        self.seconds = dict.fromkeys(_STAGES, 0.0)
        self.counted = 0
        self._scanning = scanning
        self._meters = [parse_meter(meter) for meter in meters()]
        self._wanted = wanted_columns(self._meters)
        self._directory = bench.directory / "stages"
        self._directory.mkdir(exist_ok=True)
        self._store = EventStore(self._directory, threads=1, memory_limit="4GB")

    def run(self, file: Path) -> None:
        log = self._directory / "stages.log"
        with file.open("rb") as stream, log.open("wb") as written:
            for chunk in formats.whole_lines(iter(lambda: stream.read(files.LINES_BYTES), b"")):
                lines = self._timed(_DOOR, lambda chunk=chunk: self._canonical(chunk))
                header = BlockHeader(1, 1, "events", 1, lines.count(b"\n"), len(lines), "file")
                self._timed(
                    _LOG, lambda header=header, lines=lines: written.write(encode_block(header, lines))
                )
        end = 0
        while blocks := self._timed(_LOG, lambda end=end: read_blocks(log, end, BATCH_BYTES_MAX)):
            end = blocks[-1].end
            self._seal(blocks)
        log.unlink()
        self._store.close()

    def _canonical(self, chunk: bytes) -> bytes:
        if self._scanning is None:
            return formats._parse_lines(chunk).lines
        return scanned_lines(self._scanning, chunk, formats._parse_lines).lines

    def _seal(self, blocks: list[Block]) -> None:
        cursor = self._store.cursor()
        payloads, received_us = [block.payload for block in blocks], [1_719_792_000_000_000] * len(blocks)

        def decoded() -> PlainLines | None:
            plain = load_lines(cursor, payloads, received_us, self._wanted, self._scanning)
            decode(cursor, self._wanted, self._meters, _ALL_TIMES)
            return plain

        plain = self._timed(_DECODE, decoded)
        known_as, faulty = self._timed(_IDS, lambda: identities(cursor, plain))
        order = self._timed(_IDS, lambda: in_key_order(known_as))
        outcomes = self._timed(_IDS, lambda: deduplicate([], known_as, faulty, order))
        segment = self._directory / "stages.parquet"
        made = self._timed(
            _SEGMENT, lambda: columns.write_counted(cursor, segment, self._wanted, outcomes, plain)
        )
        self.counted += made.events
        counted = counted_in_order(outcomes, order)
        entries = Identities(known_as.keys[counted], known_as.checks[counted], known_as.contents[counted])
        run = self._directory / "stages.ids"
        self._timed(_IDS, lambda: write_run(run, entries))
        self._timed(_IDS, lambda: id_filter(entries.keys, entries.checks))
        cursor.close()
        segment.unlink()
        run.unlink()

    def _timed(self, stage: str, work: Callable[[], _Made]) -> _Made:
        started = time.process_time()
        made = work()
        self.seconds[stage] += time.process_time() - started
        return made


def run(bench: Bench) -> list[Row]:
    """The same file through all stages, with and without compiled functions in turn."""
    scanning = load_scanning()
    file, expected = bench.event_file("stages", bench.sizes.file_events)
    ours, general = [], []
    for number in range(bench.sizes.repetitions):
        with bench.saying(f"stages of a file, {number + 1} of {bench.sizes.repetitions}"):
            ours.append(_pass(bench, file, scanning, expected))
            general.append(_pass(bench, file, None, expected))
    file.unlink()
    passes = [(sum(one.values()), sum(other.values())) for one, other in zip(ours, general, strict=True)]
    rows = [_row("Stages of a file: CPU per million", passes, expected.sent)]
    for stage in _STAGES:
        pairs = [(one[stage], other[stage]) for one, other in zip(ours, general, strict=True)]
        rows.append(_row(f"  {stage}", pairs, expected.sent))
    return rows


def _pass(bench: Bench, file: Path, scanning: Scanning | None, expected: Expected) -> dict[str, float]:
    stages = _Stages(bench, scanning)
    stages.run(file)
    # Each piece is deduplicated by itself here: repeats are next to each other only as a rule.
    if not expected.counted <= stages.counted <= expected.sent:
        require_equal("counted events", stages.counted, expected.counted)
    return stages.seconds


def _row(what: str, pairs: list[tuple[float, float]], events: int) -> Row:
    ours, general = (series(one * 1e6 / events for one in ones) for ones in zip(*pairs, strict=True))
    return Row(what, "s", ours, general, less_is_better=True)
