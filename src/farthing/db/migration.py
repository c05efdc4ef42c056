"""Migrations: numbered SQL files, applied once, in order, only forward, never edited afterwards."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

import psycopg
from psycopg.rows import TupleRow

from farthing.db.endpoint import APP_ROLE, Endpoint, outages_named
from farthing.kernel.errors import Conflict, InvalidInput

LOCK_TIMEOUT = "10s"
"""A migration that cannot get its locks gives up, so that it never blocks the traffic behind it."""

_ADVISORY_LOCK = 0x6661_7274_6869  # "farthi": one migration run at a time
_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name, what it does, and the checksum of that."""

    number: int
    name: str
    statements: bytes

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.statements).hexdigest()


def bundled_migrations() -> tuple[Migration, ...]:
    """The migrations that came with this program, in order."""
    found = [
        Migration(int(match[1]), match[2], file.read_bytes())
        for file in files("farthing.db").joinpath("migrations").iterdir()
        if (match := _FILE_NAME.fullmatch(file.name))
    ]
    found.sort(key=lambda migration: migration.number)
    numbers = [migration.number for migration in found]
    assert numbers == list(range(1, len(found) + 1)), f"migrations are numbered without gaps: {numbers}"
    return tuple(found)


def migrate(
    endpoint: Endpoint, now: datetime, migrations: tuple[Migration, ...] | None = None
) -> list[Migration]:
    """Apply what is missing and say what was applied. The application's role exists already."""
    wanted = bundled_migrations() if migrations is None else migrations
    with outages_named(), psycopg.connect(endpoint.owner, autocommit=True) as conn:
        conn.execute("SET search_path = public")
        if not _missing(conn, wanted):
            return []
        conn.execute("SELECT pg_advisory_lock(%s)", [_ADVISORY_LOCK])  # let go when the connection closes
        missing = _missing(conn, wanted)  # another process may have applied them meanwhile
        if len(missing) == len(wanted):
            _refuse_foreign_tables(conn)
        for migration in missing:
            _apply(conn, migration, now)
        return missing


def _missing(conn: psycopg.Connection[TupleRow], wanted: tuple[Migration, ...]) -> list[Migration]:
    """What is still to be applied; refuses a history that is not the beginning of ours."""
    known = conn.execute("SELECT to_regclass('public.schema_migrations') IS NOT NULL").fetchone()
    if known is None or not known[0]:
        return list(wanted)
    applied: dict[int, str] = dict(conn.execute("SELECT number, checksum FROM schema_migrations").fetchall())
    newest = max(applied, default=0)
    if newest > len(wanted):
        raise Conflict(
            "database_newer_than_program",
            f"the database is at migration {newest}, this program knows {len(wanted)}: use a newer Farthing",
        )
    for migration in wanted:
        if migration.number in applied and applied[migration.number] != migration.checksum:
            raise Conflict(
                "migration_changed",
                f"migration {migration.number:04} ({migration.name}) is not the file that was applied here",
            )
    return [migration for migration in wanted if migration.number not in applied]


def _refuse_foreign_tables(conn: psycopg.Connection[TupleRow]) -> None:
    """The first migration grants rights on whole schemas: it must not find anybody else's tables there."""
    foreign = conn.execute(
        """
        SELECT relname FROM pg_class c
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
         LIMIT 1
        """
    ).fetchone()
    if foreign is not None:
        raise InvalidInput(
            "database_not_empty",
            f"the database holds another program's table {foreign[0]}: give Farthing a database of its own",
        )


def _apply(conn: psycopg.Connection[TupleRow], migration: Migration, now: datetime) -> None:
    try:
        with conn.transaction():
            conn.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            conn.execute(
                """
                CREATE TABLE IF NOT EXISTS schema_migrations (
                    number     integer PRIMARY KEY,
                    name       text NOT NULL,
                    checksum   text NOT NULL,
                    applied_at timestamptz NOT NULL
                )
                """
            )
            conn.execute(migration.statements)
            conn.execute(
                "INSERT INTO schema_migrations (number, name, checksum, applied_at) VALUES (%s, %s, %s, %s)",
                [migration.number, migration.name, migration.checksum, now],
            )
            # A migration may grant rights on all tables; the history is for the owner to write.
            conn.execute(f"REVOKE INSERT, UPDATE, DELETE ON schema_migrations FROM {APP_ROLE}")
    except psycopg.errors.InsufficientPrivilege as error:
        raise InvalidInput(
            "database_rights_missing",
            f"migration {migration.number:04} needs more rights in this database: {error}",
        ) from error
