"""A backup as a directory: where it is, whether it is whole, and what is wrong with it if not.

    DIR/20261130T092400Z/             one backup; while it is made, or if that was cut short: NAME.incomplete
        MANIFEST                      everything below, with checksums; the last line is its own
        books/invoices.copy.zst       the rows of a table
        files/segments/1/seg_....     a file, as in the data directory

Backups of one place share the files that never change, as hard links.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath

import msgspec

from farthing.keeping.model import FORMAT, KeptTable, Manifest
from farthing.kernel.errors import Conflict, Corrupt, NotFound

MANIFEST = "MANIFEST"
INCOMPLETE = ".incomplete"
BACKUP_DAMAGED = "backup_damaged"

_NAME = "%Y%m%dT%H%M%SZ"


def backup_name(now: datetime) -> str:
    """The name of a backup that is taken at a moment (UTC)."""
    return now.strftime(_NAME)


def table_path(table: str) -> str:
    """Where the rows of a table lie in a backup."""
    return f"books/{table}.copy.zst"


def file_path(path: str) -> str:
    """Where a file of the data directory lies in a backup."""
    return f"files/{path}"


def contents(manifest: Manifest) -> Iterator[tuple[str, int, str]]:
    """Everything in a backup as (path in it, size in bytes, checksum)."""
    for table in manifest.tables:
        yield table_path(table.name), table.size_bytes, table.checksum
    for file in manifest.files:
        yield file_path(file.path), file.size_bytes, file.checksum


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest's bytes, with their checksum behind them."""
    return _with_checksum(msgspec.json.format(msgspec.json.encode(manifest), indent=1))


def read_manifest(backup: Path) -> Manifest:
    """What a backup says is in it.

    Raises:
        Corrupt: `backup_incomplete`, `backup_damaged`.
        Conflict: `backup_of_another_program`, its format is newer than this program.
    """
    if backup.name.endswith(INCOMPLETE):
        raise Corrupt("backup_incomplete", f"{backup} was never finished: take another one")
    try:
        whole = (backup / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise Corrupt("backup_incomplete", f"{backup} has no {MANIFEST}, the last file of a backup") from None
    document, _, _ = whole.removesuffix(b"\n").rpartition(b"\n")
    if whole != _with_checksum(document):
        raise Corrupt(BACKUP_DAMAGED, f"{backup / MANIFEST} is not what was written to it")
    found = msgspec.json.decode(document)
    if found.get("format") != FORMAT:
        raise Conflict(
            "backup_of_another_program",
            f"{backup} has the format {found.get('format')}, this program reads {FORMAT}: use a newer Farthing",
        )
    manifest = msgspec.convert(found, Manifest, strict=False)
    for path, _, _ in contents(manifest):
        parts = PurePosixPath(path).parts
        if ".." in parts or PurePosixPath(path).is_absolute():
            raise Corrupt(
                BACKUP_DAMAGED, f"{backup / MANIFEST} names {path!r}, which is outside of the backup"
            )
    return manifest


def complete_backups(place: Path) -> list[Path]:
    """The complete backups in a place, oldest first."""
    if not place.is_dir():
        return []
    return sorted(
        path for path in place.iterdir() if (path / MANIFEST).is_file() and not path.name.endswith(INCOMPLETE)
    )


def find_backup(given: Path) -> Path:
    """The backup that was named: itself, or the newest of the place that was named.

    Raises NotFound `backup_not_found`; Corrupt `backup_incomplete`.
    """
    if (given / MANIFEST).is_file() or (given / "books").is_dir() or given.name.endswith(INCOMPLETE):
        if not given.is_dir():
            raise NotFound("backup_not_found", f"there is no backup {given}")
        return given
    backups = complete_backups(given)
    if backups:
        return backups[-1]
    if given.is_dir() and any(path.name.endswith(INCOMPLETE) for path in given.iterdir()):
        raise Corrupt("backup_incomplete", f"{given} holds a backup that was never finished, and no other")
    raise NotFound("backup_not_found", f"there is no backup in {given}")


def rows_of(backup: Path, table: KeptTable) -> Path:
    """The file that holds a table's rows."""
    return backup / table_path(table.name)


def _with_checksum(document: bytes) -> bytes:
    checksum = hashlib.blake2b(document, digest_size=16).hexdigest()
    return b"%s\n%s\n" % (document, checksum.encode())
