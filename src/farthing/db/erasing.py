"""What erasing asks of PostgreSQL itself: the one kind of transaction that may replace who somebody was, and tables
written anew, so that what was replaced is in no page and no log of the server any more."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from farthing.db.endpoint import Endpoint, outages_named
from farthing.db.pool import BooksConnection, bind_tenant, exact_json

LOCK_TIMEOUT = "20s"
"""Writing a table anew locks it. Who cannot have it by then lets the traffic behind it go on, and comes again."""
WAL_FILE_BYTES = 16 * 1024 * 1024
_FILLING_BYTES = 1024 * 1024

# Samples of values that the planner keeps: no table of ours.
_SAMPLES = "pg_catalog.pg_statistic"


@contextmanager
def erasing_transaction(endpoint: Endpoint, tenant_id: int) -> Iterator[BooksConnection]:
    """One transaction of the owner, for one tenant, in which the columns that identify somebody may be replaced.

    The database holds it to that: migration 0024. It commits unless an error leaves it.
    """
    endpoint.wake()
    with outages_named(), psycopg.connect(endpoint.owner, row_factory=dict_row, autocommit=True) as conn:
        set_json_loads(exact_json, conn)
        conn.execute("SET search_path = public")
        conn.execute("SET timezone = 'UTC'")
        with conn.transaction():
            conn.execute("SELECT set_config('farthing.erasing', 'on', true)")
            bind_tenant(conn, tenant_id)
            yield conn


def write_anew(endpoint: Endpoint, tables: Sequence[str]) -> str:
    """Write tables anew, with their indexes and the planner's samples; what was deleted or replaced is in none.

    Returns the place in the write-ahead log that PostgreSQL must have checkpointed for what stood in the log before to
    be gone (`is_checkpointed`), and asks for a checkpoint where that is allowed.

    Raises Unavailable `database_unavailable` where a table stays locked by others.
    """
    endpoint.wake()
    with outages_named(), psycopg.connect(endpoint.owner, autocommit=True) as conn:
        conn.execute("SET search_path = public")
        conn.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
        for table in tables:
            conn.execute(sql.SQL("VACUUM (FULL, ANALYZE) {}").format(sql.Identifier(table)))
        _try(conn, f"VACUUM (FULL) {_SAMPLES}")
        # What follows begins in a file of its own, so that no file which is kept has what went before.
        for _ in range(WAL_FILE_BYTES // _FILLING_BYTES + 1):
            conn.execute(
                "SELECT pg_logical_emit_message(false, 'farthing', repeat('0', %s))", [_FILLING_BYTES]
            )
        row = conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert row is not None
        _try(conn, "CHECKPOINT")
        return str(row[0])


def is_checkpointed(endpoint: Endpoint, place: str) -> bool | None:
    """Whether the server has checkpointed what stood before a place in its log; None: it has no such place.

    That is another server, to which rows were copied that had been written elsewhere.
    """
    endpoint.wake()
    with outages_named(), psycopg.connect(endpoint.owner, autocommit=True) as conn:
        _try(conn, "CHECKPOINT")
        row = conn.execute(
            "SELECT %(place)s::pg_lsn <= redo_lsn AS done, %(place)s::pg_lsn <= pg_current_wal_insert_lsn() AS known"
            "  FROM pg_control_checkpoint()",
            {"place": place},
        ).fetchone()
    assert row is not None
    done, known = row
    return bool(done) if known else None


def _try(conn: psycopg.Connection[tuple[object, ...]], statement: str) -> None:
    """What an owner may do in a server of ours, and perhaps not in another's."""
    with suppress(psycopg.errors.InsufficientPrivilege):
        conn.execute(statement.encode())
