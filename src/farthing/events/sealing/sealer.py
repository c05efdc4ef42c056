"""The sealer: the one process part that turns the event log into counted events.

One sealer works on a data directory at a time (a file lock says which); it takes a piece of one log
file, seals it for each tenant in it and commits all of that in one transaction. Where the log is behind, a few pieces
are committed together, so that what a transaction costs for each customer in it is spent once for all of them.
"""

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from farthing.catalog.service import all_meters
from farthing.db import Books
from farthing.db.embedded import locks
from farthing.db.pool import bind_tenant
from farthing.events.full_disk import full_disk_named
from farthing.events.ids.index import IdRun, open_run, runs_to_merge, write_run
from farthing.events.ids.run_merging import RunMerge, RunMerger
from farthing.events.log.files import (
    Block,
    LogPosition,
    is_finished,
    list_log_files,
    read_blocks,
    sync_directory,
    sync_file,
)
from farthing.events.sealing.ahead import ReadAhead
from farthing.events.sealing.corrections import KnownCorrections
from farthing.events.sealing.piece import Piece, SealReport, by_tenant, commit_piece, may_join, new_runs
from farthing.events.sealing.seal import DecodedBlocks, decode_blocks, run_path, seal_blocks
from farthing.events.segments.damage import check_segments, forget_missing, known_damage
from farthing.events.segments.removal import removing
from farthing.events.segments.verified import VerifiedFiles
from farthing.events.store import books as rows
from farthing.events.store import corrections as correction_rows
from farthing.events.store.books import RunRow
from farthing.events.store.duckdb import EventStore, Lateness
from farthing.events.store.erased import erased_subject_hashes
from farthing.events.store.identities import segment_identities
from farthing.events.store.removed import removed_events
from farthing.kernel.errors import Conflict, Corrupt, Unavailable
from farthing.kernel.ids import ENTROPY_BYTES, time_ordered_id
from farthing.kernel.instant import unix_microseconds

BATCH_BYTES_MAX = 64 * 1024 * 1024
"""How much of a log file is sealed at once. Two such pieces are in memory: one is written, the next one decoded."""
PARTS_OF_A_BATCH = 8
"""A piece of at least such a part of a batch is read ahead of its turn."""
PIECES_TOGETHER_MAX = 4
"""How many pieces are committed together at most, when the first of them is a whole batch: whoever keeps up with the
log never finds so much of it, and what comes in then counts as soon as it is written."""

IDS_MERGED_HERE_MAX = 2_000_000
"""Id runs with more ids than this together are merged beside the sealer, which takes a second or more."""

IDS_REBUILT_AT_ONCE = 4_000_000
"""Ids of one run when the index is made anew, which bounds the memory that takes."""


@contextmanager
def only_sealer(data_dir: Path) -> Iterator[bool]:
    """Hold the sealer's place on a data directory. Yields False when another process holds it."""
    with locks.held(data_dir / "sealer.lock", locks.EXCLUSIVE) as alone:
        yield alone


@dataclass(slots=True)
class Sealer:
    """Seals a data directory's log. Create it only inside `only_sealer`."""

    books: Books
    store: EventStore
    log_dir: Path
    lateness: Lateness
    on_rebuilt: Callable[[int, Corrupt], None] = lambda _tenant_id, _damage: None
    """Told when a tenant's id index was damaged and has been made anew."""
    _runs: dict[int, dict[str, IdRun]] = field(default_factory=dict)
    _corrections: dict[int, KnownCorrections] = field(default_factory=dict)
    _cursors: dict[str, int] | None = None
    _sealed_last: str = ""
    _reading: ReadAhead = field(init=False)
    _merger: RunMerger = field(init=False)

    def __post_init__(self) -> None:
        self._merger = RunMerger(self.store.data_dir)
        self._reading = ReadAhead(self.log_dir, BATCH_BYTES_MAX, self._decode)

    def seal_standing(self, clock: Callable[[], datetime]) -> Iterator[SealReport]:
        """Seal what stands in the log now, piece by piece. Others may go on appending: that is not waited for."""
        ends = {name: (self.log_dir / name).stat().st_size for name in list_log_files(self.log_dir)}
        while report := self.seal_next(clock(), ends):
            yield report

    def seal_next(self, now: datetime, ends: Mapping[str, int] | None = None) -> SealReport | None:
        """Seal the next piece of the log, whole and committed. None when everything is sealed.

        ends: how far each log file is to be sealed, where it need not be to its end.
        Raises Corrupt `log_damaged`, once all that is not damaged is sealed; Unavailable `disk_full`.
        """
        self.take_merged(now)
        if self._cursors is None:
            with self.books.operator_transaction() as conn:
                self._cursors = rows.cursors(conn)
        damage: Corrupt | None = None
        for log_file in self._in_turn(self._sealed_last):
            done = self._cursors.get(log_file, 0)
            try:
                blocks = self._reading.blocks(log_file, done) if self._end(log_file, ends) > done else []
            except Corrupt as error:
                damage = error
                continue
            if blocks:
                with full_disk_named():
                    pieces: list[Piece] = []
                    self._write(pieces, log_file, done, blocks, self._reading.decoded(blocks), ends, now)
                    del blocks  # They are large, and the pieces behind them come now.
                    return self._commit_together(pieces, ends, now)
        if damage is not None:
            raise damage
        return None

    def _end(self, log_file: str, ends: Mapping[str, int] | None) -> int:
        """Up to where a log file is to be sealed."""
        return (self.log_dir / log_file).stat().st_size if ends is None else ends.get(log_file, 0)

    def _in_turn(self, sealed_last: str) -> list[str]:
        """All log files, beginning behind the one sealed last, so that a busy writer cannot hold up the others."""
        log_files = list_log_files(self.log_dir)
        turn = bisect_right(log_files, sealed_last)
        return log_files[turn:] + log_files[:turn]

    def _standing_behind(
        self, pieces: Sequence[Piece], ends: Mapping[str, int] | None
    ) -> tuple[str, int] | None:
        """Where the piece begins that comes behind these. What is still small is left to grow until its turn."""
        assert self._cursors is not None
        done = self._cursors | {piece.log_file: piece.end for piece in pieces}
        for following in self._in_turn(pieces[-1].log_file):
            start = done.get(following, 0)
            if self._end(following, ends) - start >= BATCH_BYTES_MAX // PARTS_OF_A_BATCH:
                return following, start
        return None

    def _decode(self, blocks: Sequence[Block]) -> list[DecodedBlocks]:
        by_tenant: dict[int, list[Block]] = {}
        for block in blocks:
            by_tenant.setdefault(block.header.tenant, []).append(block)
        return [self._decode_of(tenant_id, tenant_blocks) for tenant_id, tenant_blocks in by_tenant.items()]

    def _decode_of(self, tenant_id: int, blocks: Sequence[Block]) -> DecodedBlocks:
        # Asked anew for each piece: who is erased meanwhile waits until what was read before is sealed.
        with self.books.read_only(tenant_id) as conn:
            erased = erased_subject_hashes(conn, tenant_id)
        return decode_blocks(
            self.store, tenant_id, blocks, all_meters(self.books, tenant_id), self.lateness, erased
        )

    def _commit_together(
        self, pieces: list[Piece], ends: Mapping[str, int] | None, now: datetime
    ) -> SealReport:
        """Commit a piece and, where it is a whole batch, with it some of those that stand behind it."""
        more = pieces[0].end - pieces[0].start >= BATCH_BYTES_MAX
        try:
            with full_disk_named():
                while more and len(pieces) < PIECES_TOGETHER_MAX:
                    more = self._write_behind(pieces, ends, now)
        except OSError:
            raise  # Of a disk that failed nothing is known, so nothing is committed.
        except Exception:
            # What is written counts, whatever keeps the next piece from being written.
            self._commit(pieces, now)
            raise
        return self._commit(pieces, now)

    def _write_behind(self, pieces: list[Piece], ends: Mapping[str, int] | None, now: datetime) -> bool:
        """Write the piece that comes behind these, if one is there and may be committed with them."""
        behind = None if pieces[-1].corrects else self._standing_behind(pieces, ends)
        if behind is None:
            return False
        log_file, start = behind
        try:
            blocks = self._reading.blocks(log_file, start)
        except Corrupt:  # It is met again at its turn.
            return False
        if not blocks:
            return False
        decoded = self._reading.decoded(blocks)
        if not may_join(pieces, decoded):
            self._reading.put_back(log_file, start, blocks, decoded)
            return False
        self._write(pieces, log_file, start, blocks, decoded, ends, now)
        return True

    def _write(
        self,
        pieces: list[Piece],
        log_file: str,
        start: int,
        blocks: Sequence[Block],
        decoded: Sequence[DecodedBlocks],
        ends: Mapping[str, int] | None,
        now: datetime,
    ) -> None:
        """Write a piece, the next after these, to files. What is in these counts as soon as it does, so it repeats."""
        corrects = any(one.corrects for one in decoded)
        wanted = {one.tenant_id: one.wanted for one in decoded}
        piece = Piece(log_file, start, blocks[-1].end, [], corrects, wanted)
        if behind := self._standing_behind([*pieces, piece], ends):
            self._reading.begin(*behind)
        try:
            for one in decoded:
                runs = [*self._tenant_runs(one.tenant_id, now).values(), *new_runs(pieces, one.tenant_id)]
                known = self._corrections_of(one.tenant_id)
                seal_id = _new_id("seg", now)
                piece.batches.append(seal_blocks(self.store, one.tenant_id, seal_id, one, runs, known))
        finally:
            for one in decoded:
                one.close()
        pieces.append(piece)

    def _commit(self, pieces: Sequence[Piece], now: datetime) -> SealReport:
        batches = by_tenant(pieces)
        beside = self.store.beside_sealing
        effects = {} if beside is None else {tenant: beside(some, now) for tenant, some in batches.items()}
        for log_file in {piece.log_file for piece in pieces}:
            # Its writer may not have synced it yet, and what is counted must not be missing from the log.
            sync_file(self.log_dir / log_file)
        with self.books.operator_transaction() as conn:
            for piece in pieces:
                commit_piece(conn, piece, now)
            for tenant_id, effect in effects.items():
                bind_tenant(conn, tenant_id)
                effect(conn)
        assert self._cursors is not None
        self._cursors |= {piece.log_file: piece.end for piece in pieces}
        self._sealed_last = pieces[-1].log_file
        for tenant_id, some in batches.items():
            self._runs[tenant_id] |= {run.run_id: run for run in new_runs(pieces, tenant_id)}
            for batch in some:
                self._corrections_of(tenant_id).committed(batch.corrections)
        # Only now: a merge that fails must not keep a committed run from being known.
        for tenant_id in batches:
            self._merge_runs(tenant_id, now)
        return SealReport.of(pieces)

    def _corrections_of(self, tenant_id: int) -> KnownCorrections:
        if tenant_id not in self._corrections:
            self._corrections[tenant_id] = KnownCorrections(self.books, self.store, tenant_id)
        return self._corrections[tenant_id]

    def _tenant_runs(self, tenant_id: int, now: datetime) -> dict[str, IdRun]:
        if tenant_id not in self._runs:
            with self.books.read_only(tenant_id) as conn:
                in_force = rows.id_runs(conn, tenant_id)
            self._runs[tenant_id] = {run.run_id: run for run in self._opened(tenant_id, in_force, now)}
        return self._runs[tenant_id]

    def _opened(self, tenant_id: int, in_force: Sequence[RunRow], now: datetime) -> list[IdRun]:
        """The id runs of a tenant, each verified; made anew from the segments where one is not what it was."""
        data_dir = self.store.data_dir
        try:
            if damaged := self.store.verified.complaints({run.path: run.checksum for run in in_force}):
                raise Corrupt("id_run_damaged", "; ".join(f"{path} {said}" for path, said in damaged.items()))
            return [open_run(data_dir / run.path, run.run_id, run.ids) for run in in_force]
        except Corrupt as damage:
            made = rebuild_index(self.books, self.store, tenant_id, now)
            self.on_rebuilt(tenant_id, damage)
            return [open_run(data_dir / run.path, run.run_id, run.ids) for run in made]

    def _merge_runs(self, tenant_id: int, now: datetime) -> None:
        """Keep the number of runs, and so the cost of a look-up, logarithmic. What takes long is done beside."""
        runs = self._runs[tenant_id]
        while True:
            busy = self._merger.busy_with(tenant_id)
            free = [(run.run_id, len(run)) for run in runs.values() if run.run_id not in busy]
            chosen = runs_to_merge(free)
            if not chosen:
                return
            run_id = _new_id("run", now)
            merge = RunMerge(
                tenant_id, run_id, run_path(tenant_id, run_id), tuple(runs[old] for old in chosen)
            )
            if merge.ids <= IDS_MERGED_HERE_MAX:
                self._put_in_force(merge, merge.write(self.store.data_dir), now)
            elif not self._merger.begin(merge):
                return

    def take_merged(self, now: datetime, *, wait: bool = False) -> None:
        """Put a run in force that was merged beside. wait: for one that is still being merged."""
        finished = self._merger.finished(wait=wait)
        if finished is not None:
            self._put_in_force(*finished, now)

    def _put_in_force(self, merge: RunMerge, checksum: bytes, now: datetime) -> None:
        row = RunRow(merge.run_id, merge.path, merge.ids, checksum)
        with self.books.transaction(merge.tenant_id) as conn:
            if rows.delete_runs(conn, merge.tenant_id, merge.old_ids) != len(merge.old):
                raise Conflict("sealed_elsewhere", "another process merged the id runs of this tenant")
            rows.insert_run(conn, merge.tenant_id, row, now)
        runs = self._runs[merge.tenant_id]
        runs[merge.run_id] = open_run(self.store.data_dir / merge.path, merge.run_id, row.ids)
        for old in merge.old_ids:
            del runs[old]
        _remove_runs(self.store.data_dir, [run_path(merge.tenant_id, old) for old in merge.old_ids])

    def remove_sealed_logs(self, now: datetime, keep_seconds: int) -> int:
        """Remove log files whose writer has gone and whose every block is sealed and old enough."""
        with removing(self.store.data_dir) as allowed:
            return self._remove_sealed_logs(now, keep_seconds) if allowed else 0

    def _remove_sealed_logs(self, now: datetime, keep_seconds: int) -> int:
        assert self._cursors is not None, "seal first"
        removed = 0
        for log_file in list_log_files(self.log_dir):
            path = self.log_dir / log_file
            age_seconds = unix_microseconds(now) / 1_000_000 - path.stat().st_mtime
            if age_seconds < keep_seconds or not is_finished(path):
                continue
            done = self._cursors.get(log_file, 0)
            if path.stat().st_size > done and read_blocks(path, done, 1):
                continue
            path.unlink()
            # A file that came back after its cursor had gone would be sealed again.
            sync_directory(path.parent)
            with self.books.operator_transaction() as conn:
                rows.drop_cursor(conn, log_file)
            self._cursors.pop(log_file, None)
            removed += 1
            with suppress(OSError):  # not empty: it has younger files
                path.parent.rmdir()
        return removed


def rebuild_index(books: Books, store: EventStore, tenant_id: int, now: datetime) -> list[RunRow]:
    """Make a tenant's id index anew from its segments. For whoever is the only sealer. Gives the runs in force.

    Raises Corrupt `segment_damaged`, `id_run_damaged` (segments were removed because of their age): without all of
        its segments nobody can say what has been counted.
    """
    with books.read_only(tenant_id) as conn:
        old = rows.id_runs(conn, tenant_id)
        segments = rows.segments(conn, tenant_id, with_voids=False)
        removed = removed_events(conn, tenant_id)
        corrections = correction_rows.correction_identities(conn, tenant_id)
    if removed:
        raise Corrupt(
            "id_run_damaged",
            f"the id index of tenant {tenant_id} is damaged, and cannot be made anew: the segments of {removed:,} "
            "events were removed after their time. Put the files in ids/ back from a backup",
        )
    check_segments(store, tenant_id, segments)
    made = []
    while segments:
        events, taken = 0, list[Path]()
        while segments and (not taken or events + segments[0].events <= IDS_REBUILT_AT_ONCE):
            events += segments[0].events
            taken.append(store.data_dir / segments.pop(0).path)
        cursor = store.cursor()
        try:
            with full_disk_named():
                entries = segment_identities(cursor, taken, corrections)
        finally:
            cursor.close()
        run_id = _new_id("run", now)
        path = run_path(tenant_id, run_id)
        made.append(RunRow(run_id, path, len(entries.keys), write_run(store.data_dir / path, entries)))
    with books.transaction(tenant_id) as conn:
        if rows.delete_runs(conn, tenant_id, [run.run_id for run in old]) != len(old):
            raise Conflict("sealed_elsewhere", "another process changed the id runs of this tenant")
        for run in made:
            rows.insert_run(conn, tenant_id, run, now)
    _remove_runs(store.data_dir, [run.path for run in old])
    return made


def _remove_runs(data_dir: Path, paths: Sequence[str]) -> None:
    """Only the sealer reads id runs, so nobody has these files open; where a copy is under way, the sweep does it."""
    with removing(data_dir) as allowed:
        if allowed:
            for path in paths:
                (data_dir / path).unlink(missing_ok=True)


def repair_index(books: Books, store: EventStore, tenant_id: int, now: datetime) -> int | None:
    """Make the id index anew if a run is damaged or ids are missing. How many ids it has now; None: all was well.

    Raises Unavailable `sealer_busy` where another process seals: it makes the index anew when it begins.
    """
    with only_sealer(store.data_dir) as alone:
        if not alone:
            raise Unavailable("sealer_busy", "a server or an import is sealing; stop it first")
        with books.read_only(tenant_id) as conn:
            runs = rows.id_runs(conn, tenant_id)
            counted = rows.tally(conn, tenant_id)["counted"]
        # What is remembered as verified is read again: this was asked for because something is off.
        verified = VerifiedFiles(store.data_dir, 1, recall=False)
        if sum(run.ids for run in runs) == counted and not verified.complaints(
            {run.path: run.checksum for run in runs}
        ):
            return None
        return sum(run.ids for run in rebuild_index(books, store, tenant_id, now))


def sweep(
    books: Books, data_dir: Path, tenant_ids: Sequence[int], now: datetime, keep_seconds: int | None
) -> int:
    """Remove files of these tenants that no row names: debris of a crash, or replaced and no longer read.

    keep_seconds: how old they must be; None: of any age, for whoever is the only sealer and knows of no reader.
    Removes nothing while somebody copies the files.
    """
    with removing(data_dir) as allowed:
        return _sweep(books, data_dir, tenant_ids, now, keep_seconds) if allowed else 0


def _sweep(
    books: Books, data_dir: Path, tenant_ids: Sequence[int], now: datetime, keep_seconds: int | None
) -> int:
    removed = 0
    for tenant_id in tenant_ids:
        with books.read_only(tenant_id) as conn:
            named = {segment.path for segment in rows.segments(conn, tenant_id, with_voids=False)}
            named |= {run.path for run in rows.id_runs(conn, tenant_id)}
        for kind in ("segments", "ids"):
            for path in (data_dir / kind / str(tenant_id)).glob("*"):
                age_seconds = unix_microseconds(now) / 1_000_000 - path.stat().st_mtime
                old = keep_seconds is None or age_seconds >= keep_seconds
                if old and str(path.relative_to(data_dir)) not in named:
                    path.unlink()
                    removed += 1
        for lost in known_damage(data_dir, tenant_id):
            if lost not in named:
                forget_missing(data_dir, lost)
    return removed


def _new_id(prefix: str, now: datetime) -> str:
    return time_ordered_id(prefix, unix_microseconds(now) // 1000, os.urandom(ENTROPY_BYTES))


def seal_here(books: Books, store: EventStore, lateness: Lateness, clock: Callable[[], datetime]) -> bool:
    """Seal everything that stands in the log now. False where another process is the sealer."""
    with only_sealer(store.data_dir) as alone:
        if alone:
            for _ in Sealer(books, store, store.data_dir / "log", lateness).seal_standing(clock):
                pass
        return alone


def is_sealed(books: Books, log_dir: Path, position: LogPosition) -> bool:
    """Whether the log has been sealed up to a place, by whichever process."""
    with books.operator_transaction() as conn:
        if rows.cursor_of(conn, position.log_file) >= position.offset:
            return True
    return not (log_dir / position.log_file).exists()  # only what is sealed is removed
