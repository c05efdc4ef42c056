"""Bringing a backup back, into a place where nothing is.

Everything is put together beside the place and moved there when it is complete: a restore that is killed leaves no
data directory that looks like one.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from farthing.db import OnWait
from farthing.db.dump import AppliedMigration, TableShape
from farthing.db.embedded import locks
from farthing.db.endpoint import Endpoint
from farthing.db.external import given_postgres
from farthing.db.installation import new_installation_id, write_installation
from farthing.db.load import load_books
from farthing.events.log.files import sync_directory
from farthing.keeping.copying import Written, checksum_of, copy_file, decompressed, sync_tree
from farthing.keeping.erasing.restored import apply_erasures, erasures_since
from farthing.keeping.manifest import (
    BACKUP_DAMAGED,
    contents,
    file_path,
    find_backup,
    read_manifest,
    rows_of,
    table_path,
)
from farthing.keeping.model import KeptErasure, Manifest
from farthing.kernel.errors import Conflict, Corrupt, FarthingError

Progress = Callable[[int, int | None, str], object]

HALF = ".restoring"


class _Moved:
    """Bytes dealt with, as a bar is told of them."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def __call__(self, size: int) -> None:
        self._done += size
        self._progress(self._done, self._total, "")


def check_backup(given: Path, progress: Progress) -> tuple[Path, Manifest]:
    """Read all of a backup and compare it with what was written.

    Raises:
        NotFound: `backup_not_found`.
        Corrupt: `backup_incomplete`; `backup_damaged`, the first file that is not what was written.
        Conflict: `backup_of_another_program`.
    """
    backup = find_backup(given)
    manifest = read_manifest(backup)
    moved = _Moved(manifest.size_bytes, progress)
    for path, size_bytes, checksum in contents(manifest):
        with _named(backup, path):
            _refuse_damage(backup / path, checksum_of(backup / path, moved), size_bytes, checksum)
    return backup, manifest


def restore(
    given: Path,
    data_dir: Path,
    database_url: str | None,
    now: datetime,
    progress: Progress,
    on_wait: OnWait,
    erasures: Sequence[KeptErasure] = (),
) -> tuple[Path, Manifest]:
    """Bring a backup back as a new data directory, with its books embedded or in an empty database.

    Customers that were erased after it was taken, as newer backups beside it or `erasures` say, are under erasure from
    the first moment on (`carry_on`).

    Raises what `check_backup` raises, and Conflict: `data_directory_not_empty`, `books_not_empty`,
        `restore_running`.
    """
    backup = find_backup(given)
    manifest = read_manifest(backup)
    if data_dir.exists() and any(data_dir.iterdir()):
        raise Conflict(
            "data_directory_not_empty", f"{data_dir} is not empty: nothing is restored over what is there"
        )
    with _half_made(data_dir) as half:
        moved = _Moved(manifest.size_bytes, progress)
        for file in manifest.files:
            with _named(backup, file_path(file.path)):
                written = copy_file(backup / file_path(file.path), half / file.path, moved)
                _refuse_damage(backup / file_path(file.path), written, file.size_bytes, file.checksum)
        for table in manifest.tables:
            with _named(backup, table_path(table.name)):
                _refuse_damage(
                    rows_of(backup, table),
                    checksum_of(rows_of(backup, table), lambda _: None),
                    table.size_bytes,
                    table.checksum,
                )
        installation_id = new_installation_id()
        write_installation(half, installation_id)
        sync_tree(half)
        with _empty_books(half, database_url, on_wait) as endpoint:
            load_books(
                endpoint,
                now,
                [AppliedMigration(one.number, one.checksum) for one in manifest.migrations],
                {
                    TableShape(table.name, table.columns, of_tenants=False): decompressed(
                        rows_of(backup, table), moved
                    )
                    for table in manifest.tables
                },
                manifest.sequences,
                installation_id,
            )
            apply_erasures(endpoint, half, [*erasures_since(backup, manifest), *erasures])
        half.rename(data_dir)
        sync_directory(data_dir.parent)
    return backup, manifest


@contextmanager
def _empty_books(half: Path, database_url: str | None, on_wait: OnWait) -> Iterator[Endpoint]:
    if database_url is not None:
        yield given_postgres(database_url)
        return
    # Imported here because file locks and system users exist on POSIX systems only.
    from farthing.db.embedded import embedded_postgres

    with embedded_postgres(half, on_wait) as endpoint:
        yield endpoint


@contextmanager
def _half_made(data_dir: Path) -> Iterator[Path]:
    """A directory beside the place, this process's alone; gone if what was to be made in it was not finished."""
    from farthing.db.embedded.place import make_data_dir

    half = make_data_dir(data_dir.with_name(data_dir.name + HALF))
    descriptor = os.open(half, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not locks.takes(descriptor, locks.EXCLUSIVE):
            raise Conflict("restore_running", f"another process restores into {data_dir}")
        _empty(half)
        try:
            yield half
        except BaseException:
            _empty(half)
            half.rmdir()
            raise
    finally:
        os.close(descriptor)


def _empty(half: Path) -> None:
    """Remove what a restore that was cut short has left: its server, its books, its files."""
    from farthing.db.embedded.discard import discard_books

    with suppress(FarthingError):
        discard_books(half)
    for path in half.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def _named(backup: Path, path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if error.filename == str(backup / path) or error.filename == backup / path:
            raise Corrupt(BACKUP_DAMAGED, f"{backup / path} is missing") from None
        raise


def _refuse_damage(path: Path, found: Written, size_bytes: int, checksum: str) -> None:
    if (found.size_bytes, found.checksum) != (size_bytes, checksum):
        raise Corrupt(BACKUP_DAMAGED, f"{path} is not what was written to it: its checksum differs")
