"""SQL of the tenants, the installation and the outbox."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection
from farthing.db.rowset import rowset


def insert_tenant(conn: BooksConnection, key: str, name: str, now: datetime) -> int | None:
    """The new tenant's id, or None if the key stands already."""
    row = conn.execute(
        "INSERT INTO tenants (key, name, created_at) VALUES (%s, %s, %s) ON CONFLICT (key) DO NOTHING"
        " RETURNING tenant_id",
        [key, name, now],
    ).fetchone()
    return None if row is None else int(row["tenant_id"])


def insert_default_tenant(conn: BooksConnection, tenant_id: int, key: str, name: str, now: datetime) -> None:
    """The tenant with a fixed id; nothing happens if it stands already."""
    conn.execute(
        "INSERT INTO tenants (tenant_id, key, name, created_at) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        [tenant_id, key, name, now],
    )


def select_tenant_id(conn: BooksConnection, key: str) -> int | None:
    """The id behind a tenant's key."""
    row = conn.execute("SELECT tenant_id FROM tenants WHERE key = %s", [key]).fetchone()
    return None if row is None else int(row["tenant_id"])


def select_tenant_ids(conn: BooksConnection, keys: Sequence[str]) -> dict[str, int]:
    """The ids behind these keys, of the tenants that there are."""
    rows = conn.execute("SELECT key, tenant_id FROM tenants WHERE key = ANY(%s)", [list(keys)]).fetchall()
    return {row["key"]: row["tenant_id"] for row in rows}


def select_tenant_key(conn: BooksConnection, tenant_id: int) -> str | None:
    """The key of a tenant."""
    row = conn.execute("SELECT key FROM tenants WHERE tenant_id = %s", [tenant_id]).fetchone()
    return None if row is None else str(row["key"])


def select_tenants(conn: BooksConnection) -> list[tuple[int, str, str, datetime]]:
    """Every tenant as (id, key, name, created_at), oldest first."""
    rows = conn.execute("SELECT tenant_id, key, name, created_at FROM tenants ORDER BY tenant_id").fetchall()
    return [(row["tenant_id"], row["key"], row["name"], row["created_at"]) for row in rows]


def select_tenant_tables(conn: BooksConnection) -> list[DictRow]:
    """Every table with rows of tenants, and how row-level security stands on it."""
    return conn.execute(
        """
        SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
               EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
          FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
           AND a.attname = 'tenant_id' AND NOT a.attisdropped
         ORDER BY c.relname
        """
    ).fetchall()


def select_installation(conn: BooksConnection) -> str | None:
    """The id of the data directory that these books belong to. Nobody else binds it until the transaction ends."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtext('farthing.installation'))")
    row = conn.execute("SELECT installation_id FROM installation").fetchone()
    return None if row is None else str(row["installation_id"])


def insert_installation(conn: BooksConnection, installation_id: str) -> None:
    """Bind these books to a data directory."""
    conn.execute("INSERT INTO installation (installation_id) VALUES (%s)", [installation_id])


def insert_facts(conn: BooksConnection, tenant_id: int, facts: Sequence[Mapping[str, Any]]) -> None:
    """Facts of a tenant for the outbox, in order: kind, subject, body, occurred_at each."""
    conn.execute(
        """
        INSERT INTO outbox (tenant_id, kind, subject, body, occurred_at)
        SELECT %s, g.kind, g.subject, g.body, g.occurred_at
          FROM json_to_recordset(%s::json) AS g (kind text, subject text, body jsonb, occurred_at timestamptz)
        """,
        [tenant_id, rowset(facts)],
    )


def place_facts(conn: BooksConnection, tenant_id: int) -> None:
    """Give the committed facts that have no position theirs, in the order they were written."""
    if conn.execute(
        "SELECT FROM outbox WHERE tenant_id = %s AND position IS NULL LIMIT 1", [tenant_id]
    ).rowcount:
        # One reader at a time: two would begin at the same position.
        conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('outbox', %s))", [tenant_id])
        conn.execute(
            """
            UPDATE outbox SET position = placed.position
              FROM (SELECT fact_id, row_number() OVER (ORDER BY fact_id)
                           + (SELECT coalesce(max(position), 0) FROM outbox WHERE tenant_id = %(tenant)s) AS position
                      FROM outbox WHERE tenant_id = %(tenant)s AND position IS NULL) AS placed
             WHERE outbox.tenant_id = %(tenant)s AND outbox.fact_id = placed.fact_id
            """,
            {"tenant": tenant_id},
        )


def select_facts(
    conn: BooksConnection, tenant_id: int, after: int, limit: int, kind: str | None
) -> list[DictRow]:
    """The facts behind a position, in order: of a kind, of a room (`wallet.*`), or all."""
    return conn.execute(
        """
        SELECT position, kind, subject, body, occurred_at FROM outbox
         WHERE tenant_id = %(tenant)s AND position > %(after)s
           AND (%(kind)s::text IS NULL OR kind = %(kind)s
                OR (right(%(kind)s, 2) = '.*' AND starts_with(kind, left(%(kind)s, -1))))
         ORDER BY position LIMIT %(limit)s
        """,
        {"tenant": tenant_id, "after": after, "limit": limit, "kind": kind},
    ).fetchall()


def select_tables(conn: BooksConnection) -> list[DictRow]:
    """Every table of the schema with its stored columns, and whether its rows are tenants'."""
    return conn.execute(
        """
        SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns,
               bool_or(a.attname = 'tenant_id') AS of_tenants
          FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
           AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
         GROUP BY c.relname ORDER BY c.relname
        """
    ).fetchall()


def select_migrations(conn: BooksConnection) -> list[DictRow]:
    """What was applied, in order."""
    return conn.execute("SELECT number, checksum FROM schema_migrations ORDER BY number").fetchall()


def select_sequences(conn: BooksConnection) -> dict[str, int]:
    """The last value of each sequence that was used."""
    rows = conn.execute(
        "SELECT sequencename AS name, last_value FROM pg_sequences"
        " WHERE schemaname = 'public' AND last_value IS NOT NULL ORDER BY sequencename"
    ).fetchall()
    return {row["name"]: row["last_value"] for row in rows}


def select_foreign_keys(conn: BooksConnection) -> list[DictRow]:
    """Every foreign key: its table, its name, and the words that make it anew."""
    return conn.execute(
        """
        SELECT c.relname AS table, k.conname AS name, pg_get_constraintdef(k.oid) AS definition
          FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
         WHERE k.contype = 'f' AND c.relnamespace = 'public'::regnamespace ORDER BY c.relname, k.conname
        """
    ).fetchall()


def select_forced_tables(conn: BooksConnection) -> list[str]:
    """The tables on which row-level security binds their owner, too."""
    rows = conn.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        " AND relforcerowsecurity ORDER BY relname"
    ).fetchall()
    return [row["relname"] for row in rows]


def any_tenant(conn: BooksConnection) -> bool:
    """Whether these books have a tenant, which all that were ever opened do."""
    return conn.execute("SELECT FROM tenants LIMIT 1").rowcount > 0


def set_sequence(conn: BooksConnection, name: str, last_value: int) -> None:
    """Let a sequence go on behind a value."""
    conn.execute("SELECT setval(quote_ident(%s)::regclass, %s)", [name, last_value])


def rebind_installation(conn: BooksConnection, installation_id: str) -> None:
    """Books that were brought back belong to another data directory than those they were copied from."""
    conn.execute("UPDATE installation SET installation_id = %s", [installation_id])
