"""The only doors to the books: every door is one transaction with its tenant already set."""

import json
import select
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_loads
from psycopg_pool import ConnectionPool

from farthing.db.endpoint import Endpoint, outages_named
from farthing.kernel.errors import InvalidInput

POOL_SIZE = 10
CONNECTION_WAIT_SECONDS = 30.0

NO_SETTINGS: Mapping[str, str] = {}

BooksConnection = psycopg.Connection[DictRow]

exact_json = partial(json.loads, parse_float=Decimal)
"""How jsonb is read: its numbers exactly."""


def check_unless_quiet(conn: psycopg.Connection[Any]) -> None:
    """Whether a connection still works. One that its server has ended has something to read: the end of it.

    That is seen without asking the server, which every transaction would wait for. Only where there is something to
    read the server is asked. Raises psycopg.Error where the connection is of no use.
    """
    looking = select.poll()
    looking.register(conn.fileno(), select.POLLIN)
    if looking.poll(0):
        ConnectionPool.check_connection(conn)


_BEGIN = "BEGIN"
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class _Connection(psycopg.Connection[DictRow]):
    """One of the pool. Its transactions begin, bound to their tenant, in one message to the server and not in two."""

    _under_way = False

    @contextmanager
    def begun(self, begin: str, values: Sequence[object]) -> Iterator[None]:
        """A transaction that statements of one message begin. An error that leaves it is left to the pool, which rolls
        back."""
        # Several statements can be one message only where values are bound before it is sent.
        psycopg.ClientCursor(self).execute(begin, values)
        self._under_way = True
        try:
            yield
        finally:
            self._under_way = False
        self.commit()

    def commit(self) -> None:
        if self._under_way:
            raise psycopg.ProgrammingError("nobody may commit half of a transaction")
        super().commit()


def bind_tenant(conn: BooksConnection, tenant_id: int) -> None:
    """From here on, until the transaction ends, it sees and writes the rows of this tenant."""
    conn.execute("SELECT set_config('farthing.tenant', %s, true)", [str(tenant_id)])


def _bound_to(tenant_id: int) -> dict[str, str]:
    return {"farthing.tenant": str(tenant_id)}


class Books:
    """A pool of connections that cannot bypass row-level security. Safe to share between threads."""

    def __init__(self, endpoint: Endpoint, pool_size: int = POOL_SIZE) -> None:
        self._endpoint = endpoint
        self._pool: ConnectionPool[_Connection] = ConnectionPool(
            self._reach,
            connection_class=_Connection,
            kwargs={"row_factory": dict_row, "autocommit": True},
            min_size=1,
            max_size=pool_size,
            timeout=CONNECTION_WAIT_SECONDS,
            configure=self._configure,
            check=check_unless_quiet,
            open=False,
        )
        self._pool.open()
        try:
            self._refuse_a_role_above_the_policies()
        except BaseException:
            self._pool.close()
            raise

    @contextmanager
    def transaction(self, tenant_id: int) -> Iterator[BooksConnection]:
        """One transaction that sees and writes one tenant's rows; it commits unless an error leaves it."""
        with self._transaction(_bound_to(tenant_id)) as conn:
            yield conn

    @contextmanager
    def in_turn(
        self, tenant_id: int, what: str, settings: Mapping[str, str] = NO_SETTINGS
    ) -> Iterator[BooksConnection]:
        """The same with PostgreSQL's settings for it, and of a tenant only one at a time of those that do `what`."""
        turn = (f"farthing.{what}", tenant_id)
        with self._transaction({**_bound_to(tenant_id), **settings}, turn=turn) as conn:
            yield conn

    @contextmanager
    def operator_transaction(self) -> Iterator[BooksConnection]:
        """One transaction that may list and create tenants, and sees no tenant's rows."""
        with self._transaction({"farthing.operator": "on"}) as conn:
            yield conn

    @contextmanager
    def read_only(self, tenant_id: int) -> Iterator[BooksConnection]:
        """One transaction that only reads: all its queries see the rows of one tenant at one moment."""
        with self._transaction(_bound_to(tenant_id), begin=_BEGIN_READING) as conn:
            yield conn

    @property
    def endpoint(self) -> Endpoint:
        """Where these books are reached, for whoever copies all of them."""
        return self._endpoint

    def close(self) -> None:
        """Close every connection; transactions that are open are rolled back."""
        self._pool.close()

    @contextmanager
    def _transaction(
        self, settings: Mapping[str, str], *, begin: str = _BEGIN, turn: tuple[str, int] | tuple[()] = ()
    ) -> Iterator[BooksConnection]:
        asked = ["set_config(%s, %s, true)"] * len(settings)
        values = [part for pair in settings.items() for part in pair]
        if turn:
            asked.append("pg_advisory_xact_lock(hashtextextended(%s, %s))")
        # Whoever raises Rollback wants the transaction undone, and nothing else.
        with (
            outages_named(),
            suppress(psycopg.Rollback),
            self._pool.connection() as conn,
            conn.begun(f"{begin}; SELECT {', '.join(asked)}", [*values, *turn]),
        ):
            yield conn

    def _reach(self) -> str:
        self._endpoint.wake()
        return self._endpoint.app

    def _configure(self, conn: psycopg.Connection[Any]) -> None:
        set_json_loads(exact_json, conn)  # numbers in jsonb are read exactly, never as float
        if self._endpoint.app_role is not None:
            conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self._endpoint.app_role)))
        conn.execute("SET search_path = public")
        conn.execute("SET timezone = 'UTC'")

    def _refuse_a_role_above_the_policies(self) -> None:
        with self._transaction(NO_SETTINGS) as conn:
            role = conn.execute(
                "SELECT rolname, rolsuper OR rolbypassrls AS unbound FROM pg_roles"
                " WHERE rolname = current_user"
            ).fetchone()
        assert role is not None, "the current user is a role"
        if role["unbound"]:
            raise InvalidInput(
                "database_role_unbound",
                f"the role {role['rolname']} is a superuser or has BYPASSRLS: tenants would not be apart",
            )
