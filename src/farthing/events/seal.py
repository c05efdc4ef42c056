"""Sealing: from acknowledged log lines to a segment that counts.

    log blocks -> decode in columns -> faults -> deduplicate -> typed columns -> segment + id run
               -> one transaction: segment, id run, account, quarantine, import progress, log cursor

Files are written and made durable first; they mean nothing until the transaction that names them
commits (law 4). A crash before that leaves debris, which `sweep` removes, and the log cursor where
it was, so the same lines are sealed again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from farthing.catalog.model import Meter
from farthing.events.deduplicate import Outcome, deduplicate
from farthing.events.id_index import Identities, IdRun, open_run, write_run
from farthing.events.log.files import Block, RefusedLine
from farthing.events.store import duckdb as columns
from farthing.events.store.books import QuarantineEntry, RunRow
from farthing.events.store.duckdb import EventStore, Lateness, SegmentFile
from farthing.events.typed_columns import wanted_columns
from farthing.kernel.instant import from_unix_microseconds


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far the sealed blocks carried a file import."""

    file_key: str
    read_to: int
    complete: bool


@dataclass(frozen=True, slots=True)
class SealedBatch:
    """A tenant's share of a piece of the log, written to files and ready to be committed."""

    tenant_id: int
    seal_id: str
    accepted: int
    counted: int
    duplicate: int
    quarantine: list[QuarantineEntry]
    segment: SegmentFile | None
    segment_path: str
    run: RunRow | None
    opened_run: IdRun | None
    imports: list[ImportProgress]
    retried: list[int]


def segment_path(tenant_id: int, segment_id: str) -> str:
    """Where a segment lies, relative to the data directory."""
    return f"segments/{tenant_id}/{segment_id}.parquet"


def run_path(tenant_id: int, run_id: str) -> str:
    """Where an id run lies, relative to the data directory."""
    return f"ids/{tenant_id}/{run_id}.ids"


def seal_blocks(
    store: EventStore,
    tenant_id: int,
    seal_id: str,
    blocks: Sequence[Block],
    meters: Sequence[Meter],
    runs: Sequence[IdRun],
    lateness: Lateness,
) -> SealedBatch:
    """Decode, deduplicate and write one tenant's blocks. `seal_id` names the segment and the run as well."""
    events = [block for block in blocks if block.header.kind == "events"]
    quarantine = [
        entry for block in blocks if block.header.kind == "refused" for entry in _refused_lines(block)
    ]
    refused = len(quarantine)
    outcomes = np.zeros(0, dtype=np.uint8)
    segment, run, opened = None, None, None
    if events:
        cursor = store.cursor()
        try:
            wanted = wanted_columns(meters)
            columns.load_lines(
                cursor, [block.payload for block in events], [block.header.received_us for block in events]
            )
            columns.decode(cursor, wanted, meters, lateness)
            identities, faulty = columns.identities(cursor)
            outcomes = deduplicate(runs, identities, faulty)
            quarantine += _faulty_entries(columns.faulty_events(cursor, outcomes), events)
            if np.any(outcomes == Outcome.COUNTED):
                path = store.data_dir / segment_path(tenant_id, seal_id)
                segment = columns.write_counted(cursor, path, wanted, outcomes)
                run, opened = _write_run(store.data_dir, tenant_id, seal_id, identities, outcomes)
        finally:
            cursor.close()
    return SealedBatch(
        tenant_id=tenant_id,
        seal_id=seal_id,
        accepted=len(outcomes) + refused,
        counted=int(np.count_nonzero(outcomes == Outcome.COUNTED)),
        duplicate=int(np.count_nonzero(outcomes == Outcome.DUPLICATE)),
        quarantine=quarantine,
        segment=segment,
        segment_path=segment_path(tenant_id, seal_id),
        run=run,
        opened_run=opened,
        imports=_import_progress(blocks),
        retried=[block.header.retried for block in events if block.header.retried],
    )


def _write_run(
    data_dir: Path, tenant_id: int, run_id: str, identities: Identities, outcomes: npt.NDArray[np.uint8]
) -> tuple[RunRow, IdRun]:
    counted = np.flatnonzero(outcomes == Outcome.COUNTED)
    entries = Identities(identities.keys[counted], identities.checks[counted], identities.contents[counted])
    path = run_path(tenant_id, run_id)
    checksum = write_run(data_dir / path, entries)
    return RunRow(run_id, path, len(counted), checksum), open_run(data_dir / path, run_id, len(counted))


def _refused_lines(block: Block) -> list[QuarantineEntry]:
    received_at = from_unix_microseconds(block.header.received_us)
    return [
        QuarantineEntry(line.code, line.message, line.place, line.raw, received_at)
        for line in msgspec.json.Decoder(RefusedLine).decode_lines(block.payload)
    ]


def _faulty_entries(faulty: Sequence[columns.FaultyEvent], blocks: Sequence[Block]) -> list[QuarantineEntry]:
    """Name where each faulty event came from: its block's origin."""
    ends = np.cumsum([block.header.events for block in blocks])
    return [
        QuarantineEntry(
            reason=event.reason,
            detail=event.detail,
            origin=blocks[int(np.searchsorted(ends, event.row, side="right"))].header.origin,
            raw=event.line,
            received_at=from_unix_microseconds(event.received_us),
        )
        for event in faulty
    ]


def _import_progress(blocks: Sequence[Block]) -> list[ImportProgress]:
    last = {block.header.import_key: block.header for block in blocks if block.header.import_key}
    return [
        ImportProgress(file_key, header.import_read_to, header.import_complete)
        for file_key, header in last.items()
    ]
