"""Sealing: from acknowledged log lines to a segment that counts.

    log blocks -> decode in columns -> identities, faults -> deduplicate -> segment + id run
               -> one transaction: segment, id run, account, quarantine, import progress, log cursor

Files are written and made durable first; they mean nothing until the transaction that names them
commits (law 4). A crash before that leaves debris, which `sweep` removes, and the log cursor where
it was, so the same lines are sealed again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count
from operator import attrgetter
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from duckdb import DuckDBPyConnection

from farthing.catalog.model import Meter
from farthing.db.secret import load_secret
from farthing.events.correcting.rules import Correcting, Identity, judged
from farthing.events.erasing.erased import ERASED_SUBJECT
from farthing.events.ids.deduplicate import Outcome, counted_in_order, deduplicate
from farthing.events.ids.filter import id_filter
from farthing.events.ids.index import (
    NO_IDENTITIES,
    Flags,
    Identities,
    IdRun,
    Places,
    in_key_order,
    open_run,
    write_run,
)
from farthing.events.log.files import Block, RefusedLine
from farthing.events.scanning.loading import scanning_of
from farthing.events.sealing.corrections import NO_EFFECT, CorrectionEffect, KnownCorrections
from farthing.events.sealing.typed_columns import TypedColumns, wanted_columns
from farthing.events.store import duckdb as columns
from farthing.events.store.books import QuarantineEntry, RunRow
from farthing.events.store.correcting import add_faults, all_corrections
from farthing.events.store.decoding import decode
from farthing.events.store.duckdb import EventStore, Lateness
from farthing.events.store.erased import put_out_erased
from farthing.events.store.identities import identities
from farthing.events.store.lines import load_lines
from farthing.events.store.plain_lines import PlainLines
from farthing.events.store.segment_file import SegmentFile
from farthing.kernel.instant import from_unix_microseconds

JUDGED_AGAIN_MAX = 16
"""After so many rounds, all corrections of a batch under the id of a refused one are refused with it."""


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
    # Of every event of the batch, place by place:
    identities: Identities
    outcomes: npt.NDArray[np.uint8]
    corrections: CorrectionEffect


def segment_path(tenant_id: int, segment_id: str) -> str:
    """Where a segment lies, relative to the data directory."""
    return f"segments/{tenant_id}/{segment_id}.parquet"


def run_path(tenant_id: int, run_id: str) -> str:
    """Where an id run lies, relative to the data directory."""
    return f"ids/{tenant_id}/{run_id}.ids"


@dataclass(frozen=True, slots=True)
class DecodedBlocks:
    """One tenant's blocks in columns: all that can be said of them before repeats are known. Close it after use."""

    tenant_id: int
    blocks: Sequence[Block]
    wanted: TypedColumns
    cursor: DuckDBPyConnection | None  # holds the decoded table; None where no block has events
    identities: Identities
    key_order: Places  # the events' places in the order of the keys of their identities
    faulty: Flags
    corrects: bool = False  # whether events in it correct others
    plain: PlainLines | None = None  # what was decoded by compiled functions, see `load_lines`

    @property
    def event_blocks(self) -> list[Block]:
        """The blocks of events, in log order."""
        return _of_kind(self.blocks, "events")

    def close(self) -> None:
        """Let the decoded table go."""
        if self.cursor is not None:
            self.cursor.close()


def decode_blocks(
    store: EventStore,
    tenant_id: int,
    blocks: Sequence[Block],
    meters: Sequence[Meter],
    lateness: Lateness,
    erased_subjects: Collection[bytes] = (),
) -> DecodedBlocks:
    """Decode one tenant's blocks: their identities, their typed columns and what is wrong with them.

    erased_subjects: by what the subjects of erased customers are known. Their events do not count.
    """
    events = _of_kind(blocks, "events")
    wanted = wanted_columns(meters)
    if not events:
        nowhere, none = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
        return DecodedBlocks(tenant_id, blocks, wanted, None, NO_IDENTITIES, nowhere, none)
    cursor = store.cursor()
    try:
        received_us = [block.header.received_us for block in events]
        payloads = [block.payload for block in events]
        plain = load_lines(cursor, payloads, received_us, wanted, scanning_of(sum(map(len, payloads))))
        corrects = decode(cursor, wanted, meters, lateness)
        if erased_subjects:
            put_out_erased(cursor, erased_subjects, load_secret(store.data_dir), tenant_id)
        known_as, faulty = identities(cursor, plain)
        order = in_key_order(known_as)
        return DecodedBlocks(tenant_id, blocks, wanted, cursor, known_as, order, faulty, corrects, plain)
    except BaseException:
        cursor.close()
        raise


def seal_blocks(
    store: EventStore,
    tenant_id: int,
    seal_id: str,
    decoded: DecodedBlocks,
    runs: Sequence[IdRun],
    known: KnownCorrections,
) -> SealedBatch:
    """Deduplicate and write one tenant's blocks. `seal_id` names the segment and the run as well."""
    blocks, events = decoded.blocks, decoded.event_blocks
    quarantine = [entry for block in _of_kind(blocks, "refused") for entry in _refused_lines(block)]
    refused = len(quarantine)
    outcomes, standing = _decided(decoded, runs, known)
    effect = NO_EFFECT
    segment, run, opened = None, None, None
    if decoded.cursor is not None:
        quarantine += _faulty_entries(columns.faulty_events(decoded.cursor, outcomes), events)
        if np.any(outcomes == Outcome.COUNTED):
            path = store.data_dir / segment_path(tenant_id, seal_id)
            segment = columns.write_counted(decoded.cursor, path, decoded.wanted, outcomes, decoded.plain)
            entries = _counted_identities(decoded, outcomes)
            segment = replace(segment, id_filter=id_filter(entries.keys, entries.checks))
            effect = known.effect_of(decoded.cursor, standing, outcomes)
            run, opened = _write_run(store.data_dir, tenant_id, seal_id, entries)
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
        identities=decoded.identities,
        outcomes=outcomes,
        corrections=effect,
    )


def _decided(
    decoded: DecodedBlocks, runs: Sequence[IdRun], known: KnownCorrections
) -> tuple[npt.NDArray[np.uint8], list[Correcting]]:
    """The outcome of each event, and the corrections that stand among those that count."""
    outcomes = deduplicate(runs, decoded.identities, decoded.faulty, decoded.key_order)
    if not decoded.corrects or decoded.cursor is None:
        return outcomes, []
    everyone: dict[Identity, list[Correcting]] = {}
    for one in all_corrections(decoded.cursor):
        everyone.setdefault(one.identity, []).append(one)
    for passes in count():
        some = (one for alike in everyone.values() for one in alike if outcomes[one.row] == Outcome.COUNTED)
        counted = sorted(some, key=attrgetter("row"))
        targets = [one.target for one in counted if one.target]
        standing, faults = judged(counted, *known.about(targets), known.removed_among(targets, runs))
        if not faults:
            break
        # What repeats a refused one is a repeat of nothing that counts, so it is refused as well. Another event of
        # the same id may now be the first of that id, and is judged in its turn.
        refused = {
            other.row: fault
            for one, fault in faults.items()
            for other in everyone[one.identity]
            if other.says_as(one) or passes >= JUDGED_AGAIN_MAX
        }
        decoded.faulty[list(refused)] = True
        add_faults(decoded.cursor, refused)
        outcomes = deduplicate(runs, decoded.identities, decoded.faulty, decoded.key_order)
    return outcomes, standing


def _counted_identities(decoded: DecodedBlocks, outcomes: npt.NDArray[np.uint8]) -> Identities:
    """The identities of the events that count, in the order of their keys."""
    counted, known_as = counted_in_order(outcomes, decoded.key_order), decoded.identities
    return Identities(known_as.keys[counted], known_as.checks[counted], known_as.contents[counted])


def _of_kind(blocks: Sequence[Block], kind: str) -> list[Block]:
    return [block for block in blocks if block.header.kind == kind]


def _write_run(data_dir: Path, tenant_id: int, run_id: str, entries: Identities) -> tuple[RunRow, IdRun]:
    path, ids = run_path(tenant_id, run_id), len(entries.keys)
    checksum = write_run(data_dir / path, entries)
    return RunRow(run_id, path, ids, checksum), open_run(data_dir / path, run_id, ids)


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
            raw=b"" if event.reason == ERASED_SUBJECT else event.line,
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
