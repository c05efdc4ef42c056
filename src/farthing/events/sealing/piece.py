"""A piece of the log: written to files by the sealer, and what the books say once it counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from farthing.db.pool import BooksConnection, bind_tenant
from farthing.events.ids.index import IdRun
from farthing.events.sealing.seal import DecodedBlocks, SealedBatch
from farthing.events.sealing.typed_columns import TypedColumns
from farthing.events.store import books as rows
from farthing.events.store import corrections as correction_rows
from farthing.events.store import quarantine as quarantine_rows
from farthing.events.store.books import Seal
from farthing.kernel.errors import Conflict


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a log file, written to files and not yet committed.

    corrects: whether events in it correct others. wanted: the columns of meters that were read, for each tenant.
    """

    log_file: str
    start: int
    end: int
    batches: list[SealedBatch]
    corrects: bool
    wanted: Mapping[int, TypedColumns]


@dataclass(frozen=True, slots=True)
class SealReport:
    """What one step of the sealer did."""

    accepted: int
    counted: int
    duplicate: int
    quarantined: int

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> "SealReport":
        """What was committed with these pieces."""
        batches = [batch for piece in pieces for batch in piece.batches]
        return cls(
            accepted=sum(batch.accepted for batch in batches),
            counted=sum(batch.counted for batch in batches),
            duplicate=sum(batch.duplicate for batch in batches),
            quarantined=sum(len(batch.quarantine) for batch in batches),
        )


def may_join(pieces: Sequence[Piece], decoded: Sequence[DecodedBlocks]) -> bool:
    """Whether what was decoded may be committed with these pieces.

    What a correction corrects is looked up in what is committed; and what one meter has counted in some of them and not
    in others could not be reckoned up together.
    """
    alike = all(
        piece.wanted.get(one.tenant_id, one.wanted) == one.wanted for piece in pieces for one in decoded
    )
    return alike and not any(one.corrects for one in decoded)


def by_tenant(pieces: Sequence[Piece]) -> dict[int, list[SealedBatch]]:
    """The batches of each tenant, in the order in which they stand in the log."""
    batches: dict[int, list[SealedBatch]] = {}
    for piece in pieces:
        for batch in piece.batches:
            batches.setdefault(batch.tenant_id, []).append(batch)
    return batches


def new_runs(pieces: Sequence[Piece], tenant_id: int) -> list[IdRun]:
    """The ids of a tenant that these pieces count."""
    batches = (batch for piece in pieces for batch in piece.batches if batch.tenant_id == tenant_id)
    return [batch.opened_run for batch in batches if batch.opened_run is not None]


def commit_piece(conn: BooksConnection, piece: Piece, now: datetime) -> None:
    """What the books say once a piece counts. Raises Conflict `sealed_elsewhere` where another process sealed it."""
    log_file, start, end = piece.log_file, piece.start, piece.end
    if not rows.move_cursor(conn, log_file, start, end, now):
        raise Conflict("sealed_elsewhere", f"{log_file} was sealed from {start} by another process")
    for batch in piece.batches:
        seal = Seal(
            seal_id=batch.seal_id,
            log_file=log_file,
            log_from=start,
            log_to=end,
            accepted=batch.accepted,
            counted=batch.counted,
            duplicate=batch.duplicate,
            quarantined=len(batch.quarantine),
        )
        _commit_batch(conn, batch, seal, now)


def _commit_batch(conn: BooksConnection, batch: SealedBatch, seal: Seal, now: datetime) -> None:
    bind_tenant(conn, batch.tenant_id)
    rows.insert_seal(conn, batch.tenant_id, seal, now)
    if batch.segment is not None and batch.run is not None:
        rows.insert_segment(conn, batch.tenant_id, batch.seal_id, batch.segment_path, batch.segment, now)
        rows.insert_run(conn, batch.tenant_id, batch.run, now)
    if batch.quarantine:
        rows.insert_quarantine(conn, batch.tenant_id, batch.seal_id, batch.quarantine)
    if batch.corrections.corrections:
        correction_rows.insert_corrections(
            conn, batch.tenant_id, batch.seal_id, batch.corrections.corrections, now
        )
    if batch.corrections.voided:
        correction_rows.insert_voided(conn, batch.tenant_id, batch.corrections.voided, now)
    if batch.retried:
        quarantine_rows.insert_retried(conn, batch.tenant_id, batch.retried, batch.seal_id, now)
    for progress in batch.imports:
        rows.put_import(conn, batch.tenant_id, progress.file_key, progress.read_to, progress.complete, now)
