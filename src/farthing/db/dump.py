"""The books as they stood at one moment, as rows that any PostgreSQL takes.

Rows are read, not pages: what was deleted or replaced before is not among them, and they may go into another
version of PostgreSQL. Whoever reads them is bound by row-level security, so they are read tenant by tenant; all of
them in one transaction, which sees one moment.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from farthing.db import store
from farthing.db.endpoint import Endpoint, outages_named
from farthing.db.pool import BooksConnection, bind_tenant

Sink = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table and the columns that are stored in it, in their order."""

    name: str
    columns: tuple[str, ...]
    of_tenants: bool


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """How far the schema was: a migration and the checksum of its file."""

    number: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Moment:
    """All rows of the books at one moment. Valid inside `books_at_one_moment`."""

    conn: BooksConnection
    tenant_ids: Sequence[int]

    def bind(self, tenant_id: int) -> None:
        """The next questions are about this tenant."""
        bind_tenant(self.conn, tenant_id)

    def tables(self) -> list[TableShape]:
        """Every table, with its columns."""
        return [
            TableShape(row["name"], tuple(row["columns"]), row["of_tenants"])
            for row in store.select_tables(self.conn)
        ]

    def migrations(self) -> list[AppliedMigration]:
        """What was applied to the schema, in order."""
        return [
            AppliedMigration(row["number"], row["checksum"]) for row in store.select_migrations(self.conn)
        ]

    def sequences(self) -> dict[str, int]:
        """The last value of each sequence that was used. May be ahead of the rows, never behind them."""
        return store.select_sequences(self.conn)

    def write_rows(self, table: TableShape, sink: Sink) -> int:
        """Give every row of a table, in PostgreSQL's text form, to `sink`. Returns how many there are."""
        if not table.of_tenants:
            return self._copy(table, sql.SQL(""), sink)
        rows = 0
        for tenant_id in self.tenant_ids:
            self.bind(tenant_id)
            # An owner above row-level security (somebody else's PostgreSQL) would see every tenant each time.
            rows += self._copy(table, sql.SQL(" WHERE tenant_id = {}").format(tenant_id), sink)
        return rows

    def _copy(self, table: TableShape, where: sql.Composable, sink: Sink) -> int:
        columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        statement = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT").format(
            columns, sql.Identifier(table.name), where
        )
        with self.conn.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for data in copy:
                    sink(bytes(data))
            return cursor.rowcount


@contextmanager
def books_at_one_moment(endpoint: Endpoint) -> Iterator[Moment]:
    """One moment of the books, for as long as the block lasts. Others go on reading and writing."""
    endpoint.wake()
    with outages_named(), psycopg.connect(endpoint.owner, row_factory=dict_row) as conn:
        set_text_form(conn)
        conn.commit()
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        conn.execute("SELECT set_config('farthing.operator', 'on', true)")
        tenant_ids = [tenant_id for tenant_id, *_ in store.select_tenants(conn)]
        yield Moment(conn, tenant_ids)


def set_text_form(conn: BooksConnection) -> None:
    """Times, bytes and names in a form that does not depend on how a server was set up."""
    conn.execute("SET search_path = public")
    conn.execute("SET timezone = 'UTC'")
    conn.execute("SET datestyle = 'ISO, YMD'")
    conn.execute("SET bytea_output = 'hex'")
    conn.execute("SET client_encoding = 'UTF8'")
