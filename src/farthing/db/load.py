"""Filling empty books with the rows of a dump, whole or not at all.

The rows were checked when they were first written, so triggers need not run again; foreign keys are checked for all
rows at once when they are put back.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from farthing.db import store
from farthing.db.dump import AppliedMigration, TableShape, set_text_form
from farthing.db.endpoint import Endpoint, outages_named
from farthing.db.migration import Migration, bundled_migrations, migrate
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Conflict

Rows = Mapping[TableShape, Iterator[bytes]]
"""The rows of each table, as `Moment.write_rows` gave them."""


def load_books(
    endpoint: Endpoint,
    now: datetime,
    migrations: Sequence[AppliedMigration],
    rows: Rows,
    sequences: Mapping[str, int],
    installation_id: str,
) -> None:
    """Bring books back: the schema as it was, every row, then the migrations that came since.

    installation_id: of the data directory that they belong to from now on.

    Raises:
        Conflict: `backup_of_another_program` (a migration is not known here, or not the one that was applied),
            `books_not_empty`.
    """
    migrate(endpoint, now, _those_applied(migrations))
    with outages_named(), psycopg.connect(endpoint.owner, row_factory=dict_row) as conn:
        set_text_form(conn)
        forced = store.select_forced_tables(conn)
        for table in forced:
            _alter(conn, table, "NO FORCE ROW LEVEL SECURITY")
        if store.any_tenant(conn):
            raise Conflict("books_not_empty", "the database has books already: give an empty one")
        _fill(conn, rows)
        for name, last_value in sequences.items():
            store.set_sequence(conn, name, last_value)
        store.rebind_installation(conn, installation_id)
        for table in forced:
            _alter(conn, table, "FORCE ROW LEVEL SECURITY")
    migrate(endpoint, now)
    with outages_named(), psycopg.connect(endpoint.owner, autocommit=True) as analysing:
        analysing.execute("ANALYZE")


def _those_applied(migrations: Sequence[AppliedMigration]) -> tuple[Migration, ...]:
    bundled = bundled_migrations()
    known = [AppliedMigration(one.number, one.checksum) for one in bundled[: len(migrations)]]
    if known != list(migrations):
        raise Conflict(
            "backup_of_another_program",
            f"the backup's books are at migration {len(migrations)}, and this program's first "
            f"{len(known)} are not those that made them: use the Farthing that made it, or a newer one",
        )
    return bundled[: len(migrations)]


def _fill(conn: BooksConnection, rows: Rows) -> None:
    keys = store.select_foreign_keys(conn)
    for key in keys:
        _alter(conn, key["table"], "DROP CONSTRAINT {}", sql.Identifier(key["name"]))
    for table in rows:
        _alter(conn, table.name, "DISABLE TRIGGER USER")
    # What migrations put in is among the rows that come.
    conn.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(sql.Identifier(one.name) for one in rows)))
    for table, pieces in rows.items():
        columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.name), columns)
        with conn.cursor() as cursor, cursor.copy(statement) as copy:
            for piece in pieces:
                copy.write(piece)
    for key in keys:
        _alter(
            conn,
            key["table"],
            "ADD CONSTRAINT {} {}",
            sql.Identifier(key["name"]),
            sql.SQL(key["definition"]),
        )
    for table in rows:
        _alter(conn, table.name, "ENABLE TRIGGER USER")


def _alter(conn: BooksConnection, table: str, what: str, *parts: sql.Composable) -> None:
    conn.execute(sql.SQL("ALTER TABLE {} ").format(sql.Identifier(table)) + sql.SQL(what).format(*parts))
