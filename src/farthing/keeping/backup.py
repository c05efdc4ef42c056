"""Taking a backup while everything goes on: ingest, sealing, billing.

First the books, all of one moment; then the files that the books name at that moment, which never change; then the
log, which has at least everything that was acknowledged by then. What the log has beyond the moment is sealed after
restoring, by the same rules that seal it here, so it counts once.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from farthing.db import Books
from farthing.db.dump import Moment, books_at_one_moment
from farthing.db.embedded import locks
from farthing.db.installation import INSTALLATION_FILE
from farthing.events.checks import end_of_blocks
from farthing.events.log.blanking import REDO_DIR
from farthing.events.log.files import is_finished, list_log_files, sync_directory
from farthing.events.segments.damage import SEGMENT_DAMAGED
from farthing.events.segments.removal import nothing_removed
from farthing.events.store import books as event_rows
from farthing.keeping.copying import compressed, copy_file, make_private, sync_tree
from farthing.keeping.erasing.restored_store import select_kept_erasures
from farthing.keeping.manifest import (
    INCOMPLETE,
    MANIFEST,
    backup_name,
    complete_backups,
    encode_manifest,
    file_path,
    read_manifest,
    table_path,
)
from farthing.keeping.model import (
    FORMAT,
    BackupReport,
    KeptErasure,
    KeptFile,
    KeptMigration,
    KeptTable,
    Manifest,
)
from farthing.kernel.errors import Conflict, Corrupt, InvalidInput

Progress = Callable[[int, int | None, str], object]

NO_TENANT = 0
"""How far the log is sealed is no tenant's."""
LOCK_FILE = "backup.lock"

_EVENT_DIRECTORIES = ("log", "segments", "ids")
# What a running installation makes for itself, each time anew: locks, the server's own files, what it remembers
# of checksums, what it was about to write, what it has put aside as damaged.
_NOT_KEPT = ("tmp", REDO_DIR, "damaged", "postgres", "verified", "cluster.id", INSTALLATION_FILE)


@dataclass(frozen=True, slots=True)
class _InForce:
    """What the books say of the event store at one moment.

    sealed_to: how far each log file is sealed. files: each segment and id run, and its checksum.
    """

    sealed_to: Mapping[str, int]
    files: Mapping[str, str]
    events: int


@dataclass(slots=True)
class _Copy:
    """One backup being made."""

    data_dir: Path
    place: Path
    earlier: Path | None
    progress: Progress
    known: dict[str, KeptFile] = field(default_factory=dict)
    known_at: float = 0.0
    done_bytes: int = 0
    total_bytes: int | None = None
    linked_bytes: int = 0

    def moved(self, size: int) -> None:
        self.done_bytes += size
        self.progress(self.done_bytes, self.total_bytes, "")

    def keep(self, path: str, size_bytes: int, checksum: str | None) -> KeptFile:
        """A file of the data directory: shared with the backup before, where it has it, or copied."""
        before = self.known.get(path)
        same = before and before.size_bytes == size_bytes and checksum in (None, before.checksum)
        if before and same and self._linked(path, size_bytes):
            return before
        written = copy_file(self.data_dir / path, self.place / file_path(path), self.moved, size_bytes)
        if checksum not in (None, written.checksum):
            raise Corrupt(SEGMENT_DAMAGED, f"{path} is not what was written to it: see `farthing doctor`")
        return KeptFile(path, written.size_bytes, written.checksum)

    def _linked(self, path: str, size_bytes: int) -> bool:
        assert self.earlier is not None
        source, target = self.earlier / file_path(path), self.place / file_path(path)
        make_private(target.parent)
        try:
            if source.stat().st_size != size_bytes:
                return False
            os.link(source, target)
        except OSError:  # the file is not there any more, or the file system knows no links
            return False
        self.linked_bytes += size_bytes
        self.moved(size_bytes)
        return True


def take_backup(
    books: Books, data_dir: Path, place: Path, program: str, now: datetime, progress: Progress
) -> BackupReport:
    """Copy everything into a new directory in `place`, sharing what the backup before it has already.

    Raises:
        InvalidInput: `backup_inside_data`.
        Conflict: `backup_running`, `backup_exists` (one was taken in the same second).
        Corrupt: `segment_damaged`, `log_damaged`: damage is not copied into something that looks whole.
    """
    _refuse_inside(place, data_dir)
    make_private(place)
    with _only_backup(place):
        for debris in place.glob(f"*{INCOMPLETE}"):
            shutil.rmtree(debris)
        complete = place / backup_name(now)
        if complete.exists():
            raise Conflict("backup_exists", f"{complete} is there already")
        half = complete.with_name(complete.name + INCOMPLETE)
        half.mkdir(mode=0o700)
        earlier = max(complete_backups(place), default=None)
        copy = _Copy(data_dir, half, earlier, progress)
        if earlier is not None:
            with suppress(Corrupt, Conflict):  # One that is damaged has nothing to share.
                before = read_manifest(earlier)
                copy.known = {file.path: file for file in before.files}
                copy.known_at = before.taken_at.timestamp()
        manifest = _copied(books, copy, program, now)
        (half / MANIFEST).write_bytes(encode_manifest(manifest))
        os.chmod(half / MANIFEST, 0o600)
        with open(half / MANIFEST, "rb") as file:
            os.fsync(file.fileno())
        sync_tree(half)
        half.rename(complete)
        sync_directory(place)
    return BackupReport(complete, manifest, copy.linked_bytes)


def _copied(books: Books, copy: _Copy, program: str, now: datetime) -> Manifest:
    with nothing_removed(copy.data_dir):
        with books_at_one_moment(books.endpoint) as moment:
            tables = tuple(_kept_tables(moment, copy))
            migrations = tuple(KeptMigration(one.number, one.checksum) for one in moment.migrations())
            in_force = _in_force(moment)
            sequences = moment.sequences()
            tenants = len(moment.tenant_ids)
            erasures = tuple(_erasures(moment))
        return Manifest(
            format=FORMAT,
            program=program,
            taken_at=now,
            tenants=tenants,
            events=in_force.events,
            migrations=migrations,
            tables=tables,
            sequences=sequences,
            files=tuple(_kept_files(copy, in_force)),
            erasures=erasures,
        )


def _kept_tables(moment: Moment, copy: _Copy) -> Iterator[KeptTable]:
    for shape in moment.tables():
        copy.progress(copy.done_bytes, None, shape.name)
        with compressed(copy.place / table_path(shape.name)) as file:
            rows = moment.write_rows(shape, file.write)
            written = file.finish()
        yield KeptTable(shape.name, shape.columns, rows, written.size_bytes, written.checksum)


def _erasures(moment: Moment) -> Iterator[KeptErasure]:
    for tenant_id in moment.tenant_ids:
        moment.bind(tenant_id)
        yield from select_kept_erasures(moment.conn, tenant_id)


def _in_force(moment: Moment) -> _InForce:
    files: dict[str, str] = {}
    events = 0
    for tenant_id in moment.tenant_ids:
        moment.bind(tenant_id)
        segments = event_rows.segments(moment.conn, tenant_id, with_voids=False)
        files |= {segment.path: bytes(segment.checksum).hex() for segment in segments}
        files |= {run.path: bytes(run.checksum).hex() for run in event_rows.id_runs(moment.conn, tenant_id)}
        events += sum(segment.events for segment in segments)
    return _InForce(event_rows.cursors(moment.conn), files, events)


def _kept_files(copy: _Copy, in_force: _InForce) -> Iterator[KeptFile]:
    data_dir = copy.data_dir
    # The log first: the sooner it is copied, the less there is to be sealed after restoring.
    log = [
        (name, end_of_blocks(data_dir / "log" / name, in_force.sealed_to.get(name, 0)))
        for name in list_log_files(data_dir / "log")
    ]
    others = list(_other_files(data_dir))
    sizes = {path: _size(data_dir, path) for path in (*in_force.files, *others)}
    copy.total_bytes = sum(end for _, end in log) + sum(sizes.values())
    for name, end in log:
        path = f"log/{name}"
        if not is_finished(data_dir / path) or (data_dir / path).stat().st_mtime >= copy.known_at:
            # It may grow into a size that an earlier backup has, or lines of it were blanked since (an erasure).
            copy.known.pop(path, None)
        yield copy.keep(path, end, None)
    for path in others:
        copy.known.pop(path, None)
        yield copy.keep(path, sizes[path], None)
    for path, checksum in in_force.files.items():
        yield copy.keep(path, sizes[path], checksum)


def _size(data_dir: Path, path: str) -> int:
    try:
        return (data_dir / path).stat().st_size
    except FileNotFoundError:
        raise Corrupt(SEGMENT_DAMAGED, f"{path} is missing: see `farthing doctor`") from None


def _other_files(data_dir: Path) -> Iterator[str]:
    """Whatever else lies in the data directory: the secret of the API keys, and what came since."""
    for path in sorted(data_dir.iterdir()):
        if path.name.split(".")[0] in _NOT_KEPT or path.name in _NOT_KEPT or path.suffix == ".lock":
            continue
        if path.is_file():
            yield path.name
        elif path.is_dir() and path.name not in _EVENT_DIRECTORIES:
            yield from sorted(str(one.relative_to(data_dir)) for one in path.rglob("*") if one.is_file())


def _refuse_inside(place: Path, data_dir: Path) -> None:
    where, data = place.resolve(), data_dir.resolve()
    if where == data or data in where.parents:
        raise InvalidInput(
            "backup_inside_data", f"{place} lies in the data directory, and would be lost with it", path="DIR"
        )


@contextmanager
def _only_backup(place: Path) -> Iterator[None]:
    with locks.held(place / LOCK_FILE, locks.EXCLUSIVE) as alone:
        if not alone:
            raise Conflict("backup_running", f"another backup is being taken into {place}")
        yield
