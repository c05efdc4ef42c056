"""What a backup is made of."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

FORMAT = 1
"""Raised when a program of before could not restore what this one writes."""


class KeptFile(msgspec.Struct, frozen=True):
    """A file of a backup. path: as in the data directory. checksum: blake2b, 128 bits, hexadecimal."""

    path: str
    size_bytes: int
    checksum: str


class KeptTable(msgspec.Struct, frozen=True):
    """The rows of one table of the books, in PostgreSQL's text form, compressed."""

    name: str
    columns: tuple[str, ...]
    rows: int
    size_bytes: int
    checksum: str


class KeptMigration(msgspec.Struct, frozen=True):
    """A migration that the books had."""

    number: int
    checksum: str


class KeptErasure(msgspec.Struct, frozen=True):
    """A customer that was erased, by its number in the books and when it was made: it names nobody.

    subject_hashes: hexadecimal, by what its subjects are known.
    """

    tenant_id: int
    customer_id: int
    created_at: datetime
    pseudonym: str
    documents_from: datetime
    requested_at: datetime
    subject_hashes: tuple[str, ...]


class Manifest(msgspec.Struct, frozen=True):
    """Everything that is in a backup, written last.

    events: how many are counted in it. erasures: which customers had been erased, for older backups to be restored
        without them.
    """

    format: int
    program: str
    taken_at: datetime
    tenants: int
    events: int
    migrations: tuple[KeptMigration, ...]
    tables: tuple[KeptTable, ...]
    sequences: dict[str, int]
    files: tuple[KeptFile, ...]
    erasures: tuple[KeptErasure, ...] = ()

    @property
    def size_bytes(self) -> int:
        """All of it on disk, what it shares with earlier backups included."""
        return sum(file.size_bytes for file in self.files) + sum(table.size_bytes for table in self.tables)

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables)


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A backup that is complete.

    linked_bytes: what it shares with earlier backups of the same place, and did not copy.
    """

    path: Path
    manifest: Manifest
    linked_bytes: int
